"""What follows from verdicts: actions by check, waves taken back, the failure budget by class."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.failures import FailureClass
from rollout.domain.journal import (
    NodeDecided,
    Result,
    RolloutDecided,
    WaveTakenBack,
    failures,
    fold,
)
from rollout.domain.lifecycle import NodeEvent, NodePhase, RolloutEvent, RolloutPhase
from rollout.domain.policy import OnFailure
from rollout.domain.step import StepKind, Track
from rollout.engine.resolver import Begin, Settle
from rollout.engine.rules import InvariantBroken, check_invariants, comes_to_rest
from tests.builders import plan_of
from tests.engine.drive import NAMES, Drive, World, small_policy

WAVE = OnFailure.ROLL_BACK_WAVE
LINKS = (Result.FAILED, "check-links")


def world(ends: Mapping[tuple[str, Track, StepKind], tuple[Result, str]]) -> World:
    """All goes well but for what is named."""

    def end(action: Begin | Settle) -> tuple[Result, str]:
        return ends.get((action.node, action.track, action.step), (Result.DONE, ""))

    return end


def fails(*names: str, step: StepKind = StepKind.VERIFY, how: tuple[Result, str] = LINKS) -> World:
    return world({(name, Track.FORWARD, step): how for name in names})


def phases(drive: Drive) -> dict[str, str]:
    return {name: drive.state.node(name).phase.value for name in NAMES}


def driven(ends: World, **policy: object) -> Drive:
    drive = Drive(plan_of(NAMES, small_policy(**{"canary": 5, **policy})))
    drive.run_in(ends)
    return drive


@pytest.mark.parametrize(
    ("action", "phase"),
    [
        (OnFailure.HOLD, "quarantined"),
        (OnFailure.HOLD_ROLLOUT, "quarantined"),
        (OnFailure.ROLL_BACK, "rolled-back"),
        (OnFailure.ROLL_BACK_WAVE, "rolled-back"),
    ],
)
def test_the_action_follows_from_the_check(action: OnFailure, phase: str) -> None:
    other = OnFailure.HOLD if action is OnFailure.ROLL_BACK else OnFailure.ROLL_BACK
    policy = {"on_failure": other, "on_check_failure": {"links": action}, "failure_budget": 5}
    drive = driven(fails("n1"), **policy)
    assert drive.state.node("n1").phase.value == phase
    goes_on = action in (OnFailure.HOLD, OnFailure.ROLL_BACK)
    assert drive.state.phase is (RolloutPhase.COMPLETED if goes_on else RolloutPhase.HELD)
    assert phases(drive)["n2"] == ("done" if goes_on else "pending")
    by_another = driven(fails("n1", how=(Result.FAILED, "check-agent-mode")), **policy)
    assert by_another.state.node("n1").phase.value == ("quarantined" if other is OnFailure.HOLD else "rolled-back")
    assert by_another.state.phase is RolloutPhase.COMPLETED


def test_hold_rollout_holds_whatever_the_budget_says() -> None:
    drive = driven(fails("n2"), on_failure=OnFailure.HOLD_ROLLOUT, failure_budget=5)
    assert phases(drive) == {
        "n1": "done", "n2": "quarantined", "n3": "pending", "n4": "pending", "n5": "pending",
    }  # fmt: skip
    assert drive.state.reason == "node n2 failed links: reason"


def test_a_wave_goes_back_node_by_node_and_the_rollout_holds() -> None:
    drive = driven(fails("n3"), on_failure=WAVE, failure_budget=5)
    assert phases(drive) == {
        "n1": "rolled-back", "n2": "rolled-back", "n3": "rolled-back", "n4": "pending", "n5": "pending",
    }  # fmt: skip
    assert drive.state.phase is RolloutPhase.HELD
    assert drive.state.reason.startswith("wave 0 is taken back: node n3 failed links: reason")
    assert drive.state.taking_back == {}
    assert dict(failures(drive.state)) == {
        "n1": FailureClass.TAKEN_BACK, "n2": FailureClass.TAKEN_BACK, "n3": FailureClass.FAILED,
    }  # fmt: skip
    ways = [step for track, step in drive.state.node("n1").done if track is Track.BACK]
    assert ways == [step.kind for step in drive.plan.node("n1").backing]


def test_only_the_wave_of_the_failed_node_goes_back() -> None:
    drive = driven(fails("n3"), canary=1, growth=2, on_failure=WAVE)
    assert [w.nodes for w in drive.plan.waves] == [("n1",), ("n2", "n3"), ("n4", "n5")]
    assert phases(drive) == {
        "n1": "done", "n2": "rolled-back", "n3": "rolled-back", "n4": "pending", "n5": "pending",
    }  # fmt: skip


def test_nodes_in_flight_of_the_wave_are_turned_around_where_they_are() -> None:
    drive = Drive(plan_of(NAMES, small_policy(canary=5, max_unavailable="3", on_failure=WAVE)))
    for _ in range(100):
        drive.step()
        at = {name: action.step for name, action in drive.busy.items()}
        if at.get("n1") is StepKind.VERIFY:
            break
        stop = {"n2": StepKind.DRAIN, "n3": StepKind.CONFIRM_MODE}
        for name in [n for n in at if stop.get(n) is not at[n]]:
            drive.end(name)
    drive.end("n1", *LINKS)
    drive.run()
    assert phases(drive) == {
        "n1": "rolled-back", "n2": "returned", "n3": "rolled-back", "n4": "pending", "n5": "pending",
    }  # fmt: skip
    assert (Track.FORWARD, StepKind.ASSIGN_MODE) not in drive.state.node("n2").done


def test_a_held_node_of_the_wave_is_left_to_the_person_it_waits_for() -> None:
    held = (Result.HELD, "uncordoned-by-other")
    ends = world(
        {("n1", Track.FORWARD, StepKind.VERIFY): held, ("n2", Track.FORWARD, StepKind.VERIFY): LINKS},
    )
    drive = driven(ends, max_unavailable="2", on_failure=WAVE)
    assert phases(drive)["n1"] == "held"
    assert phases(drive)["n2"] == "rolled-back"
    assert drive.state.taking_back == {}


def test_a_way_back_that_fails_quarantines_and_the_others_still_go_back() -> None:
    ends = world(
        {
            ("n3", Track.FORWARD, StepKind.VERIFY): LINKS,
            ("n1", Track.BACK, StepKind.DRAIN): (Result.FAILED, "drain-timeout"),
        }
    )
    drive = driven(ends, on_failure=WAVE)
    assert phases(drive)["n1"] == "quarantined"
    assert phases(drive)["n2"] == "rolled-back"
    assert failures(drive.state)["n1"] is FailureClass.QUARANTINED


def test_finished_nodes_wait_for_a_slot_that_others_use_up() -> None:
    drive = Drive(plan_of(NAMES, small_policy(canary=5, on_failure=WAVE)))
    well = fails("n2")
    while drive.state.node("n2").phase is not NodePhase.ROLLING_BACK:
        drive.step()
        for name in list(drive.busy):
            drive.end(name, *well(drive.busy[name]))
    drive.foreign = frozenset({"other"})
    for _ in range(40):
        drive.step()
        for name in list(drive.busy):
            drive.end(name)
    assert phases(drive)["n1"] == "done"
    assert phases(drive)["n2"] == "rolled-back"
    told = drive.ask()
    assert not told.finished
    assert "other" in told.waiting
    assert told.wake_at is not None
    drive.foreign = None
    assert "cannot be seen" in drive.ask().waiting
    drive.foreign = frozenset({"n1"})  # it is out of service already: that costs nothing more
    drive.run()
    assert phases(drive)["n1"] == "rolled-back"


def test_a_gate_that_rolls_back_takes_back_whom_it_names_else_all() -> None:
    for named, back in (((), {"n1", "n2"}), (("n2",), {"n2"})):
        drive = Drive(plan_of(NAMES[:3], small_policy(canary=2, max_unavailable="2")))
        while not drive.gating:
            drive.step()
            for name in list(drive.busy):
                drive.end(name)
        drive.gate("roll-back", named)
        drive.run()
        assert {n for n, p in phases(drive).items() if p == "rolled-back"} == back
        assert drive.state.phase is RolloutPhase.HELD
        assert "the gate of canary rolls back: said so" in drive.state.reason
        assert drive.state.node("n3").phase is NodePhase.PENDING


def test_a_gate_of_a_node_rolls_that_node_back() -> None:
    drive = driven(fails("n1", how=(Result.FAILED, "gate-errors")), failure_budget=5)
    assert phases(drive)["n1"] == "rolled-back"
    assert drive.state.phase is RolloutPhase.COMPLETED


CLASSES = [
    ((Result.FAILED, "not-observed"), StepKind.BASELINE, "unreachable"),
    ((Result.FAILED, "ssh-timeout"), StepKind.RESTART_AGENT, "unreachable"),
    ((Result.HELD, "ssh-auth"), StepKind.RESTART_AGENT, "unreachable"),
    ((Result.LOST, "node-lost"), StepKind.DRAIN, "lost"),
    ((Result.FAILED, "check-links"), StepKind.VERIFY, "quarantined"),
    ((Result.HELD, "check-links-inconclusive"), StepKind.VERIFY, "undecided"),
    ((Result.HELD, "gate-errors-inconclusive"), StepKind.VERIFY, "undecided"),
    ((Result.FAILED, "drain-timeout"), StepKind.DRAIN, "failed"),
    ((Result.FAILED, "stale-facts"), StepKind.RECHECK, "failed"),
]


@pytest.mark.parametrize(("how", "step", "name"), CLASSES)
def test_every_class_of_failure_counts_and_is_named(how: tuple[Result, str], step: StepKind, name: str) -> None:
    drive = driven(fails("n1", step=step, how=how))
    assert drive.state.phase is RolloutPhase.HELD
    assert drive.state.reason == f"1 node(s) failed or could not be told ({name}: n1), the budget is 0"
    assert phases(drive)["n2"] == "pending"


def test_a_hold_that_waits_for_the_world_is_no_failure() -> None:
    drive = driven(fails("n1", how=(Result.HELD, "uncordoned-by-other")), failure_budget=0, max_unavailable="2")
    assert failures(drive.state) == {}
    assert drive.state.reason == "node n1 is held: reason"


@given(st.lists(st.sampled_from(CLASSES), min_size=5, max_size=5), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_the_budget_is_a_count_over_all_classes(
    rows: list[tuple[tuple[Result, str], StepKind, str]], budget: int
) -> None:
    ends = world(
        {(name, Track.FORWARD, step): how for name, (how, step, _) in zip(NAMES, rows, strict=True)},
    )
    drive = driven(ends, failure_budget=budget, max_unavailable="5")
    held = any(how[0] is Result.HELD for how, _, _ in rows)
    assert drive.state.phase is (RolloutPhase.HELD if budget < 5 or held else RolloutPhase.COMPLETED)
    expected: dict[str, str] = dict(zip(NAMES, (name for _, _, name in rows), strict=True))
    assert {name: each.value for name, each in failures(drive.state).items()} == expected


def test_resuming_accepts_but_what_is_tried_again_counts_again() -> None:
    undecided = fails("n1", how=(Result.HELD, "check-links-inconclusive"))
    drive = driven(undecided)
    drive.record(RolloutDecided(RolloutEvent.RESUME), NodeDecided("n1", NodeEvent.CONTINUE))
    assert drive.state.accepted == frozenset()
    drive.run_in(undecided)
    assert drive.state.phase is RolloutPhase.HELD
    assert "undecided: n1" in drive.state.reason


def test_none_may_start_while_a_wave_is_taken_back() -> None:
    drive = Drive(plan_of(NAMES, small_policy(canary=5)))
    drive.record(NodeDecided("n1", NodeEvent.START), NodeDecided("n1", NodeEvent.FINISH), WaveTakenBack(0, ("n1",)))
    with pytest.raises(InvariantBroken, match="while a wave is taken back"):
        check_invariants(drive.plan, drive.state, frozenset({"n2"}))
    assert comes_to_rest(drive.state)


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["1", "2"]), st.sampled_from(["check", "gate"]))
def test_a_crash_after_any_write_of_a_wave_taken_back_ends_the_same(cut: int, unavailable: str, origin: str) -> None:
    """Take what any number of writes left of a run in which a wave goes back, and go on: the same end."""
    plan = plan_of(NAMES, small_policy(canary=3, on_failure=WAVE, max_unavailable=unavailable))
    ends = fails("n3") if origin == "check" else world({})

    def to_rest(drive: Drive) -> None:
        for _ in range(2000):
            if not drive.step():
                return
            for name in list(drive.busy):
                drive.end(name, *ends(drive.busy[name]))
            if drive.gating:
                drive.gate("roll-back")
        raise AssertionError("it never came to rest")

    whole, again = Drive(plan), Drive(plan)
    to_rest(whole)
    again.entries = whole.entries[: whole.commits[max(1, cut % len(whole.commits))]]
    again.state = fold(again.entries)
    again.seconds = 10**4
    to_rest(again)
    assert phases(again) == phases(whole)
    assert {phases(whole)[n] for n in ("n1", "n2", "n3")} == {"rolled-back"}
    assert (again.state.phase, again.state.reason) == (whole.state.phase, whole.state.reason)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6))
def test_asking_again_without_news_decides_nothing_more(cut: int) -> None:
    """A decision is made once: with its entries recorded and its actions taken up, the resolver soon has no more."""
    drive = Drive(plan_of(NAMES, small_policy(canary=3, on_failure=WAVE, max_unavailable="2")))
    ends = fails("n3")
    for _ in range(cut % 120):
        drive.step()
        for name in list(drive.busy):
            drive.end(name, *ends(drive.busy[name]))
        if drive.gating:
            drive.gate()
    for _ in range(4):
        drive.step()
    length = len(drive.entries)
    for _ in range(3):
        drive.step()
    assert len(drive.entries) == length
