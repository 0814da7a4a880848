"""A wave's gate: the worst of all it listens to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.checks.gate import GateAnswer, NodeHealth, NodeLook, WaveEvidence, judge_wave, worst
from rollout.domain.node import DatapathMode
from rollout.domain.policy import OnFailure, Policy
from rollout.domain.verdict import GateDecision, Status

WELL = NodeHealth(True, True, True)
FINE = NodeLook(Status.PASS)
PROCEED, HOLD, BACK = GateDecision.PROCEED, GateDecision.HOLD, GateDecision.ROLL_BACK


def policy(**more: object) -> Policy:
    return Policy(target=DatapathMode.NETKIT, **more)  # type: ignore[arg-type]


def evidence(
    health: dict[str, NodeHealth] | None = None,
    looks: dict[str, NodeLook] | None = None,
    failed: str = "",
    answers: tuple[GateAnswer, ...] = (),
) -> WaveEvidence:
    nodes = {"n1": WELL, "n2": WELL} if health is None else health
    return WaveEvidence(nodes, dict.fromkeys(nodes, FINE) | (looks or {}), failed, answers)


@pytest.mark.parametrize(
    ("health", "decision"),
    [
        ({}, PROCEED),
        ({"n1": WELL, "n2": WELL}, PROCEED),
        ({"n1": NodeHealth(True, False, True)}, HOLD),
        ({"n1": NodeHealth(False, True, True)}, HOLD),
        ({"n1": NodeHealth(True, None, True)}, HOLD),
        ({"n1": NodeHealth(None, None, None), "n2": WELL}, HOLD),
        ({"n1": NodeHealth(True, True, False)}, PROCEED),
    ],
)
def test_health(health: dict[str, NodeHealth], decision: GateDecision) -> None:
    assert judge_wave(evidence(health), policy()).decision is decision


def test_a_node_that_nobody_looked_at_holds() -> None:
    said = judge_wave(WaveEvidence({"n1": WELL}, {}, "", ()), policy())
    assert (said.decision, said.nodes) == (HOLD, ())
    assert "nobody looked" in said.reason


def test_an_inconclusive_look_holds_and_says_which_check() -> None:
    said = judge_wave(evidence(looks={"n2": NodeLook(Status.INCONCLUSIVE, "links", "no table")}), policy())
    assert said.decision is HOLD
    assert "n2: links: no table" in said.reason


@pytest.mark.parametrize(
    ("action", "decision", "nodes"),
    [
        (OnFailure.HOLD, HOLD, ()),
        (OnFailure.HOLD_ROLLOUT, HOLD, ()),
        (OnFailure.ROLL_BACK, BACK, ("n2",)),
        (OnFailure.ROLL_BACK_WAVE, BACK, ("n1", "n2")),
    ],
)
def test_a_check_that_fails_under_load_does_what_the_policy_says(
    action: OnFailure, decision: GateDecision, nodes: tuple[str, ...]
) -> None:
    looks = {"n2": NodeLook(Status.FAIL, "links", "a stray")}
    by_default = judge_wave(evidence(looks=looks), policy(on_failure=action))
    by_name = judge_wave(evidence(looks=looks), policy(on_check_failure={"links": action}))
    assert by_default == by_name
    assert (by_default.decision, by_default.nodes) == (decision, nodes)
    assert "node n2 fails links under load: a stray" in by_default.reason


def test_external_gates_are_merged_by_the_worst() -> None:
    fine, waits, back = (GateAnswer(d.value, d, f"said {d.value}") for d in (PROCEED, HOLD, BACK))
    assert judge_wave(evidence(answers=(fine,)), policy()).decision is PROCEED
    held = judge_wave(evidence(answers=(fine, waits)), policy())
    assert (held.decision, held.reason) == (HOLD, "hold: said hold")
    rolled = judge_wave(evidence(answers=(waits, back, fine)), policy())
    assert (rolled.decision, rolled.reason, rolled.nodes) == (BACK, "roll-back: said roll-back", ("n1", "n2"))


def test_a_wave_of_failures_alone_has_proven_nothing() -> None:
    held = judge_wave(evidence({}, failed="failed: n1"), policy())
    assert held.decision is HOLD
    assert "failed: n1" in held.reason
    within = judge_wave(evidence({"n2": WELL}, failed="failed: n1"), policy())
    assert within.decision is PROCEED
    assert "within the failure budget: failed: n1" in within.reason


STATUSES = st.builds(NodeLook, st.sampled_from(list(Status)), st.just("links"), st.just("words"))
HEALTH = st.builds(NodeHealth, *[st.sampled_from([True, False, None])] * 3)
ANSWERS = st.builds(GateAnswer, st.just("gate"), st.sampled_from(list(GateDecision)), st.just("words"))


@given(
    st.dictionaries(st.sampled_from(["n1", "n2", "n3"]), st.tuples(HEALTH, STATUSES), max_size=3),
    st.lists(ANSWERS, max_size=3),
    st.sampled_from(list(OnFailure)),
)
def test_proceeding_needs_every_voice(
    nodes: dict[str, tuple[NodeHealth, NodeLook]], answers: list[GateAnswer], action: OnFailure
) -> None:
    found = WaveEvidence({n: h for n, (h, _) in nodes.items()}, {n: k for n, (_, k) in nodes.items()}, "", (*answers,))
    said = judge_wave(found, policy(on_failure=action))
    sure = all(
        h.ready and h.agent_ready and h.schedulable is not None and k.status is Status.PASS for h, k in nodes.values()
    )
    agreed = all(a.decision is PROCEED for a in answers)
    assert (said.decision is PROCEED) == (sure and agreed)
    assert said.reason
    assert set(said.nodes) <= set(nodes)
    assert said.decision is BACK or not said.nodes


@given(st.lists(st.sampled_from(list(GateDecision))))
def test_another_voice_never_improves_the_whole(decisions: list[GateDecision]) -> None:
    order = [BACK, HOLD, PROCEED]
    for more in GateDecision:
        assert order.index(worst([*decisions, more])) <= order.index(worst(decisions))
