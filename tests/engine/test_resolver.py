"""The resolver, driven to the end of rollouts under every mix of outcomes, crashes, pauses and aborts."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.journal import (
    Control,
    NodeDecided,
    Result,
    RolloutDecided,
    Verb,
    failed_nodes,
    fold,
)
from rollout.domain.lifecycle import NodeEvent, NodePhase, RolloutEvent, RolloutPhase
from rollout.domain.policy import OnFailure
from rollout.domain.step import StepKind, Track
from rollout.engine.resolver import (
    Begin,
    Surroundings,
    decide,
)
from rollout.engine.rules import InvariantBroken, check_invariants, comes_to_rest
from tests.builders import at, plan_of
from tests.engine.drive import NAMES, Drive, small_policy


def rollout_phase(drive: Drive) -> RolloutPhase:
    return drive.state.phase


def phases(drive: Drive) -> dict[str, NodePhase]:
    return {name: drive.state.node(name).phase for name in NAMES}


def test_all_goes_well() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.COMPLETED
    assert set(phases(drive).values()) == {NodePhase.DONE}
    started = [
        e.body.node for e in drive.entries if isinstance(e.body, NodeDecided) and e.body.event is NodeEvent.START
    ]
    assert started == [name for wave in drive.plan.waves for name in wave.nodes]
    assert [len(w.nodes) for w in drive.plan.waves] == [1, 2, 2]


def test_one_node_out_at_a_time_by_default() -> None:
    drive = Drive(plan_of(NAMES, small_policy(canary=5)))
    drive.step()
    assert list(drive.busy) == ["n1"]
    drive.step()
    assert list(drive.busy) == ["n1"]


def test_three_at_a_time_when_allowed() -> None:
    drive = Drive(plan_of(NAMES, small_policy(canary=5, max_unavailable="3")))
    drive.step()
    assert sorted(drive.busy) == ["n1", "n2", "n3"]


def test_foreign_outages_use_up_the_limit() -> None:
    plan = plan_of(NAMES, small_policy(canary=5, max_unavailable="2"))
    drive = Drive(plan)
    around = Surroundings(at(1), foreign_out=frozenset({"other-1", "other-2"}))
    decision = decide(plan, drive.state, around)
    assert not decision.actions
    assert "other-1, other-2" in decision.waiting
    assert decision.wake_at is not None
    one = decide(plan, drive.state, Surroundings(at(1), foreign_out=frozenset({"other-1"})))
    assert [a.node for a in one.actions if isinstance(a, Begin)] == ["n1"]


def test_a_node_that_is_out_already_costs_nothing_more() -> None:
    plan = plan_of(NAMES, small_policy(canary=5))
    decision = decide(plan, Drive(plan).state, Surroundings(at(1), foreign_out=frozenset({"n2"})))
    assert [a.node for a in decision.actions if isinstance(a, Begin)] == ["n2"]


def test_no_node_is_started_while_the_cluster_cannot_be_seen() -> None:
    plan = plan_of(NAMES, small_policy())
    decision = decide(plan, Drive(plan).state, Surroundings(at(1), foreign_out=None))
    assert not decision.actions
    assert not decision.finished
    assert "cannot be seen" in decision.waiting


def run_until(drive: Drive, step: StepKind) -> str:
    for _ in range(500):
        drive.step()
        for name, action in list(drive.busy.items()):
            if action.step is step:
                return name
            drive.end(name)
        if drive.gating:
            drive.gate()
    raise AssertionError(f"{step} never came")


def test_failure_before_armed_gives_the_node_back_and_holds() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    name = run_until(drive, StepKind.DRAIN)
    drive.end(name, Result.FAILED)
    drive.run()
    assert drive.state.node(name).phase is NodePhase.RETURNED
    assert drive.state.node(name).done[-2:] == (
        (Track.RETURN, StepKind.RELEASE),
        (Track.RETURN, StepKind.UNCORDON),
    )
    assert rollout_phase(drive) is RolloutPhase.HELD
    assert "1 node(s) failed" in drive.state.reason


def test_an_untouched_node_that_fails_is_skipped() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    name = run_until(drive, StepKind.RECHECK)
    drive.end(name, Result.FAILED)
    drive.run()
    assert drive.state.node(name).phase is NodePhase.SKIPPED
    assert rollout_phase(drive) is RolloutPhase.HELD


def test_failure_after_armed_quarantines_by_default() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    name = run_until(drive, StepKind.CONFIRM_MODE)
    drive.end(name, Result.FAILED)
    drive.run()
    assert drive.state.node(name).phase is NodePhase.QUARANTINED
    assert rollout_phase(drive) is RolloutPhase.HELD


def test_failure_after_armed_rolls_back_when_the_policy_says_so() -> None:
    drive = Drive(plan_of(NAMES, small_policy(on_failure=OnFailure.ROLL_BACK)))
    name = run_until(drive, StepKind.CONFIRM_MODE)
    drive.end(name, Result.FAILED)
    drive.run()
    assert drive.state.node(name).phase is NodePhase.ROLLED_BACK
    assert rollout_phase(drive) is RolloutPhase.HELD


def test_a_failure_on_the_way_back_quarantines() -> None:
    drive = Drive(plan_of(NAMES, small_policy(on_failure=OnFailure.ROLL_BACK)))
    name = run_until(drive, StepKind.VERIFY)
    drive.end(name, Result.FAILED)
    drive.step()
    drive.end(name, Result.FAILED)
    drive.run()
    assert drive.state.node(name).phase is NodePhase.QUARANTINED


def test_within_the_budget_the_rollout_goes_on() -> None:
    drive = Drive(plan_of(NAMES, small_policy(failure_budget=1)))
    name = run_until(drive, StepKind.DRAIN)
    drive.end(name, Result.FAILED)
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.COMPLETED
    assert sorted(phases(drive).values(), key=lambda p: p.value).count(NodePhase.DONE) == 4


def test_resume_accepts_what_failed() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    name = run_until(drive, StepKind.DRAIN)
    drive.end(name, Result.FAILED)
    drive.run()
    drive.record(RolloutDecided(RolloutEvent.RESUME))
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.COMPLETED
    assert failed_nodes(drive.state) == frozenset()


def test_a_pause_lets_the_running_node_reach_a_rest_and_starts_none() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    name = run_until(drive, StepKind.EVACUATE)
    drive.record(Control(Verb.PAUSE, "ann"))
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.HELD
    assert drive.state.node(name).done[-1] == (Track.FORWARD, StepKind.RELEASE)
    assert [n for n, p in phases(drive).items() if p is not NodePhase.PENDING] == [name]
    drive.record(Control(Verb.RESUME, "ann"), RolloutDecided(RolloutEvent.RESUME))
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.COMPLETED


def test_a_held_gate_holds_and_is_asked_again() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    while not drive.gating:
        drive.step()
        for name in list(drive.busy):
            drive.end(name)
    drive.gate("hold")
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.HELD
    assert "gate of canary holds" in drive.state.reason
    assert list(phases(drive).values()).count(NodePhase.DONE) == 1
    drive.record(RolloutDecided(RolloutEvent.RESUME))
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.COMPLETED


def test_abort_gives_back_the_unarmed_and_finishes_the_armed() -> None:
    plan = plan_of(NAMES, small_policy(canary=5, max_unavailable="2"))
    drive = Drive(plan)
    for _ in range(200):
        drive.step()
        if "n1" in drive.busy and drive.busy["n1"].step is StepKind.RESTART_AGENT:
            break
        for name in [n for n in drive.busy if n == "n1" or drive.busy[n].step is not StepKind.DRAIN]:
            drive.end(name)
    drive.record(Control(Verb.ABORT, "ann", "enough"))
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.ABORTED
    found = phases(drive)
    assert found["n1"] is NodePhase.DONE
    assert found["n2"] is NodePhase.RETURNED
    assert {found[n] for n in ("n3", "n4", "n5")} == {NodePhase.SKIPPED}


def test_a_held_node_goes_on_from_the_drain_when_continued() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    name = run_until(drive, StepKind.RESTART_AGENT)
    drive.end(name, Result.HELD)
    drive.run()
    assert drive.state.node(name).phase is NodePhase.HELD
    assert rollout_phase(drive) is RolloutPhase.HELD
    drive.record(RolloutDecided(RolloutEvent.RESUME), NodeDecided(name, NodeEvent.CONTINUE))
    drive.step()
    assert drive.busy[name].step is StepKind.DRAIN
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.COMPLETED


def test_another_plan_is_refused() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    with pytest.raises(InvariantBroken, match="not"):
        decide(plan_of(NAMES, small_policy(canary=2)), drive.state, Surroundings(at(1)))


def test_a_node_of_a_later_wave_started_too_early_is_noticed() -> None:
    drive = Drive(plan_of(NAMES, small_policy()))
    drive.record(NodeDecided("n5", NodeEvent.START))
    with pytest.raises(InvariantBroken, match="later wave"):
        check_invariants(drive.plan, drive.state)


def test_too_many_nodes_out_is_noticed() -> None:
    drive = Drive(plan_of(NAMES, small_policy(canary=5)))
    drive.record(NodeDecided("n1", NodeEvent.START), NodeDecided("n2", NodeEvent.START))
    with pytest.raises(InvariantBroken, match="2 nodes are out"):
        check_invariants(drive.plan, drive.state)


ENDS = {
    "done": (Result.DONE, ""),
    "failed": (Result.FAILED, "drain-timeout"),
    "check-failed": (Result.FAILED, "check-links"),
    "gate-failed": (Result.FAILED, "gate-errors"),
    "unreachable": (Result.FAILED, "not-observed"),
    "held": (Result.HELD, "uncordoned-by-other"),
    "undecided": (Result.HELD, "check-links-inconclusive"),
    "lost": (Result.LOST, "node-lost"),
    "interrupted": (Result.INTERRUPTED, "cancelled"),
}
GATES = {"done": "proceed", "gate-hold": "hold", "gate-back": "roll-back"}
OTHERS = ("crash", "pause", "abort", "resume", "foreign", "blind", "seen", "gate-hold", "gate-back")
EVENTS = st.sampled_from(["done"] * 12 + [*ENDS, *OTHERS])


@settings(max_examples=500, deadline=None)
@given(
    st.lists(EVENTS, max_size=90),
    st.randoms(use_true_random=False),
    st.sampled_from(["1", "2", "60%"]),
    st.sampled_from(list(OnFailure)),
    st.sampled_from([None, *OnFailure]),
    st.integers(0, 3),
)
def test_any_story_keeps_the_invariants_and_comes_to_rest(
    story: list[str],
    chance: object,
    unavailable: str,
    on_failure: OnFailure,
    on_links: OnFailure | None,
    allowed: int,
) -> None:
    assert isinstance(chance, random.Random)
    policy = small_policy(
        max_unavailable=unavailable,
        on_failure=on_failure,
        on_check_failure={"links": on_links} if on_links else {},
        failure_budget=allowed,
        canary=3,
    )
    drive = Drive(plan_of(NAMES, policy))
    for event in story:
        drive.step()
        happen(drive, event, chance)
    drive.foreign = frozenset()
    for _ in range(20):
        drive.run()
        if drive.state.phase is not RolloutPhase.HELD:
            break
        resume(drive)
    assert drive.state.phase in (RolloutPhase.COMPLETED, RolloutPhase.ABORTED)
    ended = {
        NodePhase.DONE,
        NodePhase.RETURNED,
        NodePhase.ROLLED_BACK,
        NodePhase.SKIPPED,
        NodePhase.LOST,
        NodePhase.QUARANTINED,
    }
    assert set(phases(drive).values()) <= ended


def happen(drive: Drive, event: str, chance: random.Random) -> None:
    """One thing that the world or a person does, where it can be done."""
    controls = {"pause": Verb.PAUSE, "abort": Verb.ABORT}
    foreign = {"foreign": frozenset({"other-1", "n5"}), "blind": None, "seen": frozenset[str]()}
    if event == "crash":
        drive.crash()
    elif event in controls:
        drive.record(Control(controls[event], "ann"))
    elif event == "resume":
        resume(drive)
    elif event in foreign:
        drive.foreign = foreign[event]
    elif drive.gating and event in GATES:
        drive.gate(GATES[event])
    elif drive.busy and event in ENDS:
        drive.end(chance.choice(sorted(drive.busy)), *ENDS[event])


def resume(drive: Drive) -> None:
    """What a person's resume records: nothing while nodes are still on their way back."""
    state = drive.state
    if state.phase is RolloutPhase.HELD and not comes_to_rest(state):
        held = [NodeDecided(n.name, NodeEvent.CONTINUE) for n in state.nodes.values() if n.phase is NodePhase.HELD]
        drive.record(Control(Verb.RESUME, "ann"), RolloutDecided(RolloutEvent.RESUME), *held)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400))
def test_a_crash_at_any_entry_ends_the_same(cut: int) -> None:
    """Take each prefix of a whole run, kill there, go on: the same nodes end the same way."""
    whole = Drive(plan_of(NAMES, small_policy()))
    whole.run()
    again = Drive(whole.plan)
    again.entries = whole.entries[: max(3, cut % (len(whole.entries) + 1))]
    again.state = fold(again.entries)
    again.seconds = 10**4
    again.run()
    assert again.state.phase is RolloutPhase.COMPLETED
    assert phases(again) == phases(whole)
