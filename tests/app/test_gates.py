"""Gates and what follows from verdicts, in whole rollouts on the fakes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollout.app.apply import Application
from rollout.app.make_plan import PlanResult
from rollout.app.rollback import plan_rollback
from rollout.app.status import status
from rollout.checks.catalog import CHECKS
from rollout.domain.errors import Cancelled, Refused
from rollout.domain.failures import FailureClass
from rollout.domain.journal import GateDecided, Outcome, WaveTakenBack, failures
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.policy import CheckLevel, ExternalGate, GateScope, GateSource, OnFailure, Policy
from rollout.domain.signal import SignalAnswer, Subjects
from rollout.domain.step import StepKind
from tests.support.faults import Stray
from tests.support.world import Model, quick

THREE = ("n1", "n2", "n3")
ALL_VETH = {name: {"veth"} for name in THREE}
UNASKED = {name: CheckLevel.OFF for name in CHECKS if name not in ("links", "agent-mode", "agent-health")}
"""What gates do does not depend on what is probed: two probes are enough here."""
WAVE_GATE = ExternalGate("slo", GateSource.HTTP, "https://slo.example/", timeout_s=5)
NODE_GATE = ExternalGate(
    "errors", GateSource.PROMETHEUS, "http://prom", GateScope.NODE, "errors{node=$node}", "< 1", "> 5"
)
SAYS = {word: SignalAnswer(200, json.dumps({"decision": word, "reason": f"it says {word}"})) for word in
        ("proceed", "hold", "roll-back")}  # fmt: skip


def vector(value: str) -> SignalAnswer:
    row = {"metric": {}, "value": [1, value]}
    return SignalAnswer(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": [row]}}))


def order(made: PlanResult) -> list[str]:
    """Nodes in the order in which they begin."""
    return [name for wave in made.plan.waves for name in wave.nodes]


def calm(**more: Any) -> Policy:
    return quick(**{"checks": UNASKED, **more})


def wave(**more: Any) -> Policy:
    return calm(canary=3, on_check_failure={"links": OnFailure.ROLL_BACK_WAVE}, failure_budget=3, **more)


def test_a_wave_goes_back_when_its_last_node_fails() -> None:
    model = Model(THREE)
    made = model.planned(wave())
    first, second, last = order(made)
    Stray(model, last)
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert f"is taken back: node {last} failed links: 1 endpoint link(s) are not netkit/l3" in end.reason
    assert {n: s.phase for n, s in end.nodes.items()} == dict.fromkeys(THREE, NodePhase.ROLLED_BACK)
    assert model.kinds() == ALL_VETH
    assert model.leftovers() == []
    assert dict(failures(end)) == {
        first: FailureClass.TAKEN_BACK, second: FailureClass.TAKEN_BACK, last: FailureClass.FAILED,
    }  # fmt: skip


def test_resuming_behind_a_wave_taken_back_goes_on_with_the_next_wave() -> None:
    model = Model(THREE)
    made = model.planned(calm(on_failure=OnFailure.ROLL_BACK_WAVE))
    first, second, last = order(made)
    Stray(model, first)
    assert Application(model.world(), made.record.id).start().phase is RolloutPhase.HELD
    end = Application(model.world(), made.record.id).resume()
    assert end.phase is RolloutPhase.COMPLETED
    assert model.kinds() == {first: {"veth"}, second: {"netkit"}, last: {"netkit"}}
    assert model.leftovers() == []


def test_a_finished_node_that_fails_under_load_takes_its_wave_back() -> None:
    model = Model(THREE)
    policy = calm(canary=2, growth=1, on_check_failure={"links": OnFailure.ROLL_BACK_WAVE})
    made = model.planned(policy)
    assert [len(w.nodes) for w in made.plan.waves] == [2, 1]
    first, second, last = order(made)
    stray = Stray(model, first)
    stray.on = False
    real = model.cluster.uncordon

    def uncordon(name: str, *more: Any) -> None:
        real(name, *more)
        stray.on = stray.on or name == second  # both nodes of the wave are in service again

    model.cluster.uncordon = uncordon  # type: ignore[method-assign,assignment]
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert f"node {first} fails links under load" in end.reason
    assert end.node(last).phase is NodePhase.PENDING
    assert model.kinds() == ALL_VETH
    assert model.leftovers() == []


def test_a_finished_node_that_cannot_be_seen_under_load_holds() -> None:
    model = Model()
    real = model.cluster.uncordon

    def uncordon(name: str, *more: Any) -> None:
        real(name, *more)
        model.blind.add(name)

    model.cluster.uncordon = uncordon  # type: ignore[method-assign,assignment]
    end = model.apply(calm(deadlines_s={"verify": 30}))
    assert end.phase is RolloutPhase.HELD
    assert "could not be told: n1" in end.reason
    assert end.node("n1").phase is NodePhase.DONE
    assert end.node("n2").phase is NodePhase.PENDING


def test_a_wave_gate_of_others_rolls_the_wave_back() -> None:
    model = Model()
    model.signals.answer = lambda _gate, _subjects: SAYS["roll-back"]
    made = model.planned(calm(gates=(WAVE_GATE,)))
    end = Application(model.world(), made.record.id).start()
    first, second = (name for each in made.plan.waves for name in each.nodes)
    assert end.phase is RolloutPhase.HELD
    assert "the gate of canary rolls back: slo: it says roll-back" in end.reason
    assert end.node(first).phase is NodePhase.ROLLED_BACK
    assert end.node(second).phase is NodePhase.PENDING
    assert model.signals.asked == [("slo", Subjects("canary", (first,)))]
    assert model.kinds() == {"n1": {"veth"}, "n2": {"veth"}}
    assert model.leftovers() == []
    taken = [e.body for e in model.world().store.read(made.record.id) if isinstance(e.body, WaveTakenBack)]
    assert [t.nodes for t in taken] == [(first,)]


def test_a_wave_gate_of_others_holds_until_it_proceeds() -> None:
    model = Model()
    says = ["hold"]
    model.signals.answer = lambda _gate, _subjects: SAYS[says[-1]]
    made = model.planned(calm(gates=(WAVE_GATE,)))
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert "the gate of canary holds: slo: it says hold" in end.reason
    assert [s.phase for s in end.nodes.values()] == [NodePhase.DONE]
    says.append("proceed")
    end = Application(model.world(), made.record.id).resume()
    assert end.phase is RolloutPhase.COMPLETED
    gates = [e.body for e in model.world().store.read(made.record.id) if isinstance(e.body, GateDecided)]
    assert [g.decision for g in gates] == ["hold", "proceed", "proceed"]
    assert "slo: it says proceed" in gates[-1].reason


def test_a_gate_that_does_not_answer_is_asked_again_and_then_holds() -> None:
    model = Model()
    model.signals.answer = lambda _gate, _subjects: SignalAnswer(error="slo.example did not answer within 5 s")
    end = model.apply(calm(gates=(WAVE_GATE,)))
    assert end.phase is RolloutPhase.HELD
    assert "slo: no answer: slo.example did not answer within 5 s" in end.reason
    assert len(model.signals.asked) == 3


def test_a_gate_that_was_stopped_has_not_spoken() -> None:
    model = Model()
    made = model.planned(calm(gates=(WAVE_GATE,)))
    application = Application(model.world(), made.record.id)

    def stop(_gate: ExternalGate, _subjects: Subjects) -> SignalAnswer:
        application.rounds.request_stop()
        return SignalAnswer(error="no answer")

    model.signals.answer = stop
    with pytest.raises(Cancelled, match="stopped"):
        application.start()
    entries = model.world().store.read(made.record.id)
    assert not [e for e in entries if isinstance(e.body, GateDecided)]
    model.signals.answer = lambda _gate, _subjects: SAYS["proceed"]
    assert Application(model.world(), made.record.id).resume().phase is RolloutPhase.COMPLETED


def test_one_lost_answer_stops_nothing() -> None:
    model = Model()
    answers = [SignalAnswer(error="connection reset"), SignalAnswer(502, "bad gateway")]
    model.signals.answer = lambda _gate, _subjects: answers.pop() if answers else SAYS["proceed"]
    assert model.apply(calm(gates=(WAVE_GATE,))).phase is RolloutPhase.COMPLETED


def test_a_node_gate_rolls_its_node_back() -> None:
    model = Model()
    model.signals.answer = lambda _gate, subjects: vector("7" if subjects.node == "n1" else "0")
    made = model.planned(calm(gates=(NODE_GATE,), on_failure=OnFailure.HOLD))
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert end.node("n1").phase is NodePhase.ROLLED_BACK
    assert failures(end)["n1"] is FailureClass.FAILED
    assert model.kinds()["n1"] == {"veth"}
    assert model.leftovers() == []
    ended = [e.body for e in model.world().store.read(made.record.id) if isinstance(e.body, Outcome)]
    (failed,) = [body for body in ended if body.code == "gate-errors"]
    assert failed.step is StepKind.VERIFY
    assert failed.reason == "the gate errors rolls back: 7 (> 5 rolls back)"
    assert failed.evidence["gates"] == [{"gate": "errors", "decision": "roll-back", "reason": "7 (> 5 rolls back)"}]


def test_a_node_gate_without_data_holds_the_node_as_undecided() -> None:
    model = Model()
    empty = SignalAnswer(200, '{"status":"success","data":{"resultType":"vector","result":[]}}')
    answers = [empty]
    model.signals.answer = lambda _gate, _subjects: answers[-1]
    made = model.planned(calm(gates=(NODE_GATE,)))
    end = Application(model.world(), made.record.id).start()
    first = made.plan.waves[0].nodes[0]
    assert end.phase is RolloutPhase.HELD
    assert end.reason == f"1 node(s) failed or could not be told (undecided: {first}), the budget is 0"
    assert end.node(first).phase is NodePhase.HELD
    answers.append(vector("0"))
    end = Application(model.world(), made.record.id).resume()
    assert end.phase is RolloutPhase.COMPLETED
    ended = [e.body for e in model.world().store.read(made.record.id) if isinstance(e.body, Outcome)]
    asked = [b.evidence["gates"][0]["decision"] for b in ended if b.step is StepKind.VERIFY and "gates" in b.evidence]
    assert asked == ["hold", "proceed", "proceed"]


@pytest.mark.parametrize("action", list(OnFailure))
def test_a_wave_of_failures_alone_holds_even_within_the_budget(action: OnFailure) -> None:
    model = Model()
    made = model.planned(calm(failure_budget=2, on_failure=action))
    first = made.plan.waves[0].nodes[0]
    Stray(model, first)
    end = Application(model.world(), made.record.id).start()
    assert end.phase is RolloutPhase.HELD
    assert [n for n, s in end.nodes.items() if s.started] == [first]


def test_what_a_stopped_process_left_is_brought_to_rest_before_anything_is_accepted() -> None:
    model = Model(THREE)
    made = model.planned(wave())
    Stray(model, order(made)[-1])
    application = Application(model.world(), made.record.id)
    real = model.cluster.cordon

    def cordon(name: str, *more: Any) -> None:
        real(name, *more)
        if application.rounds.state.phase is RolloutPhase.HELD:
            application.rounds.request_stop()

    model.cluster.cordon = cordon  # type: ignore[method-assign,assignment]
    with pytest.raises(Cancelled, match="stopped"):
        application.start()
    model.cluster.cordon = real  # type: ignore[method-assign]
    shown = status(model.world(), made.record.id)
    assert shown.state.phase is RolloutPhase.HELD
    waiting = [n for n in shown.nodes if n.phase is NodePhase.DONE]
    assert waiting
    assert all("goes back as soon as max_unavailable lets it" in n.reason for n in waiting)
    with pytest.raises(Refused, match="on their way back"):
        plan_rollback(model.world(), made.record.id)
    with pytest.raises(Refused, match="on their way back"):
        Application(model.world(), made.record.id).resume(("n1",))
    end = Application(model.world(), made.record.id).resume()
    assert end.phase is RolloutPhase.HELD
    assert end.accepted == frozenset()
    assert model.kinds() == ALL_VETH
    assert model.leftovers() == []


def test_slots_that_others_use_up_are_said_once() -> None:
    model = Model(THREE)
    made = model.planned(wave())
    first, second, _ = order(made)
    Stray(model, second)
    world = model.world()
    application = Application(world, made.record.id)
    real, polls = model.cluster.out_of_service, [0]

    def out_of_service() -> frozenset[str]:
        back = application.rounds.state.node(second).phase is NodePhase.ROLLED_BACK
        polls[0] += back
        return real() | ({"other"} if back and polls[0] < 4 else frozenset())

    model.cluster.out_of_service = out_of_service  # type: ignore[method-assign]
    end = application.start()
    assert end.node(first).phase is NodePhase.ROLLED_BACK
    notes = [note for note in world.reporter.notes if "other" in note]  # type: ignore[attr-defined]
    waits = [note for note in notes if note.endswith("node(s) other out of service, which uses up max_unavailable")]
    assert (waits, len(notes)) == (notes, 1)
