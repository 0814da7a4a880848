"""The engine obeys every limit, every window and every freeze of a plan, and lets go whoever may."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.journal import Intent, NodeDecided, Result
from rollout.domain.lifecycle import NodeEvent, NodePhase, RolloutPhase
from rollout.domain.limits import LimitIndex
from rollout.domain.plan import Limit, Plan
from rollout.domain.policy import AtWindowEnd, Freeze, OnFailure, Window
from rollout.domain.step import StepKind, Track
from rollout.engine.resolver import Begin, Surroundings, decide
from rollout.engine.rules import InvariantBroken, check_invariants, exceeded_with
from tests.builders import NOW, at, plan_of
from tests.engine.drive import NAMES, OUT, Drive, small_policy
from tests.engine.test_resolver import ENDS, GATES, resume, rollout_phase

ZONE_A = Limit("zone a", ("n1", "n2", "n3"), 1, "one at a time", "zone", 1)
ZONE_B = Limit("zone b", ("n4", "n5"), 2, "two at a time", "zone", 1)
QUORUM = Limit("quorum etcd", ("n1", "n4", "n5"), 1, "2 of 3 stay")


@cache
def one_wave() -> Plan:
    return plan_of(NAMES, small_policy(canary=5))


def limited(*limits: Limit, **policy: Any) -> Plan:
    """A plan of one wave with five nodes, under limits."""
    many: dict[str, Any] = {"canary": 5, "max_unavailable": "5", **policy}
    return replace(one_wave(), policy=small_policy(**many), limits=limits)


def running(drive: Drive) -> list[str]:
    return sorted(node.name for node in drive.state.nodes.values() if node.phase is NodePhase.RUNNING)


def finish(drive: Drive, name: str) -> None:
    """Lead one node to its end."""
    while drive.state.node(name).phase is NodePhase.RUNNING:
        drive.step()
        if name in drive.busy:
            drive.end(name)


def test_whoever_may_go_goes_past_those_that_wait() -> None:
    drive = Drive(limited(ZONE_A, ZONE_B))
    drive.step()
    assert running(drive) == ["n1"], "one of zone a, and zone b waits for it"
    drive = Drive(limited(replace(ZONE_A, group="", groups_at_once=0)))
    drive.step()
    assert running(drive) == ["n1", "n4", "n5"]
    finish(drive, "n1")
    drive.step()
    assert running(drive) == ["n2", "n4", "n5"], "the next begins as soon as its limit lets it"


def test_foreign_outages_count_against_every_limit_that_names_them() -> None:
    plan = limited(QUORUM)
    drive = Drive(plan)
    drive.foreign = frozenset({"n4", "elsewhere"})
    drive.step()
    assert running(drive) == ["n2", "n3", "n4"], "n4 is out already and costs nothing more"
    drive = Drive(replace(plan, limits=(replace(QUORUM, nodes=("n1", "n5", "x")),)))
    drive.foreign = frozenset({"x"})
    drive.step()
    told = drive.ask()
    assert running(drive) == ["n2", "n3", "n4"]
    assert told.waiting == "node n1 waits: node(s) x out of service, which uses up quorum etcd"
    assert told.wake_at == at(drive.seconds + 5)
    drive.foreign = frozenset()
    drive.run()
    assert drive.state.phase is RolloutPhase.COMPLETED


def test_a_quarantined_member_is_missing_still() -> None:
    drive = Drive(limited(QUORUM, failure_budget=5))
    bad = {("n1", Track.FORWARD, StepKind.VERIFY): (Result.FAILED, "check-links")}
    drive.run_in(lambda a: bad.get((a.node, a.track, a.step), (Result.DONE, "")))
    assert drive.state.phase is RolloutPhase.HELD
    assert drive.state.reason.startswith("node n4 waits: node(s) n1 quarantined, which uses up quorum etcd")
    assert {n: drive.state.node(n).phase.value for n in NAMES} == {
        "n1": "quarantined", "n2": "done", "n3": "done", "n4": "pending", "n5": "pending",
    }  # fmt: skip


def test_an_exceeded_limit_is_noticed_unless_others_exceed_it() -> None:
    drive = Drive(limited(QUORUM))
    drive.record(NodeDecided("n1", NodeEvent.START))
    check_invariants(drive.plan, drive.state)
    decide(drive.plan, drive.state, Surroundings(at(1), busy=frozenset({"n1"}), foreign_out=frozenset({"n4", "n5"})))
    drive.record(NodeDecided("n4", NodeEvent.START))
    with pytest.raises(InvariantBroken, match="n1, n4 are out, which exceeds quorum etcd"):
        check_invariants(drive.plan, drive.state)


def test_a_wave_that_goes_back_obeys_limits_too() -> None:
    drive = Drive(limited(ZONE_A, on_failure=OnFailure.ROLL_BACK_WAVE, failure_budget=5))
    bad = {("n3", Track.FORWARD, StepKind.VERIFY): (Result.FAILED, "check-links")}
    for _ in range(2000):
        if not drive.step():
            break
        out = {n.name for n in drive.state.nodes.values() if n.phase in OUT}
        assert len(out & set(ZONE_A.nodes)) <= 1
        for name, action in list(drive.busy.items()):
            drive.end(name, *bad.get((name, action.track, action.step), (Result.DONE, "")))
    assert {drive.state.node(n).phase for n in NAMES} == {NodePhase.ROLLED_BACK}


# --- windows -----------------------------------------------------------------------------------------------------
# NOW is Monday 2026-11-23, 12:00 UTC.


def test_none_begins_outside_of_a_window_and_the_wait_has_an_end() -> None:
    drive = Drive(limited(windows=(Window((), "13:00", "14:00"),)))
    drive.step()
    told = drive.ask()
    assert running(drive) == []
    assert not told.finished
    assert told.waiting == "no node begins: outside of every window; next at 2026-11-23 13:00 UTC"
    assert told.wake_at == NOW + timedelta(hours=1)
    drive.seconds = 3600
    drive.step()
    assert running(drive) == list(NAMES)


def test_a_freeze_stops_starts_but_not_what_is_in_flight() -> None:
    freeze = Freeze("peak", (NOW + timedelta(seconds=30)).isoformat(), (NOW + timedelta(days=3)).isoformat())
    drive = Drive(limited(max_unavailable="1", freezes=(freeze,)))
    drive.step()
    assert running(drive) == ["n1"]
    drive.seconds = 60
    finish(drive, "n1")
    drive.step()
    assert drive.state.node("n1").phase is NodePhase.DONE
    assert running(drive) == []
    assert drive.ask().waiting == "no node begins: freeze 'peak'; next at 2026-11-26 12:00 UTC"


def test_a_node_begins_only_when_its_fixed_waits_fit() -> None:
    soak = replace(small_policy(canary=5, windows=(Window((), "12:00", "12:10"),)), soak_fenced_s=480)
    drive = Drive(plan_of(NAMES, soak))
    assert [a.node for a in drive.ask().actions if isinstance(a, Begin)] == ["n1"]
    drive.seconds = 113
    told = drive.ask()
    assert not told.actions
    assert told.waiting == (
        "no node begins: open time ends at 2026-11-23 12:10 UTC, one node takes 488 s at least; "
        "next at 2026-11-24 12:00 UTC"
    )
    assert told.wake_at == NOW + timedelta(days=1)


def test_at_the_end_of_a_window_unarmed_nodes_are_given_back_and_come_again() -> None:
    rules: dict[str, Any] = {"windows": (Window((), "12:00", "12:30"),), "at_window_end": AtWindowEnd.GIVE_BACK}
    drive = Drive(limited(max_unavailable="3", **rules))
    stop = {"n1": StepKind.RESTART_AGENT, "n2": StepKind.DRAIN, "n3": StepKind.BASELINE}
    for _ in range(40):
        drive.step()
        for name, action in list(drive.busy.items()):
            if stop.get(name) is not action.step:
                drive.end(name)
    assert {name: action.step for name, action in drive.busy.items()} == stop
    drive.seconds = 31 * 60
    for name in stop:
        drive.end(name)
    for _ in range(40):
        drive.step()
        for name in list(drive.busy):
            drive.end(name)
    assert drive.state.node("n1").phase is NodePhase.DONE, "it was armed"
    n2 = drive.state.node("n2")
    assert (n2.phase, n2.done, n2.armed, n2.started) == (NodePhase.PENDING, (), False, None)
    assert drive.state.node("n3").phase is NodePhase.PENDING
    backward = [intent for intent in intents(drive) if intent.node == "n2" and intent.track is Track.RETURN]
    assert len(backward) == 2, "the fence was taken back"
    assert rollout_phase(drive) is RolloutPhase.RUNNING, "given back is not failed"
    drive.seconds = 24 * 3600
    drive.run()
    assert rollout_phase(drive) is RolloutPhase.COMPLETED
    assert {drive.state.node(n).phase for n in NAMES} == {NodePhase.DONE}
    begun = [(intent.node, intent.step, intent.attempt, intent.track) for intent in intents(drive)]
    assert len(begun) == len(set(begun)), "no attempt is taken for another"


def intents(drive: Drive) -> list[Intent]:
    return [entry.body for entry in drive.entries if isinstance(entry.body, Intent)]


# --- any story ---------------------------------------------------------------------------------------------------

LIMITS = st.lists(
    st.builds(
        Limit,
        st.sampled_from(["w", "x", "y", "z"]),
        st.lists(st.sampled_from([*NAMES, "other"]), unique=True, min_size=1).map(tuple),
        st.integers(1, 3),
        st.just("why"),
        st.sampled_from(["", "", "zone"]),
        st.integers(0, 2),
    ),
    max_size=4,
)
EVENTS = st.sampled_from(
    ["done"] * 14 + ["failed", "check-failed", "held", "crash", "foreign", "seen", "night", "resume", "gate-hold"]
)


@settings(max_examples=120, deadline=None)
@given(
    LIMITS,
    st.lists(EVENTS, max_size=80),
    st.randoms(use_true_random=False),
    st.sampled_from(["1", "2", "60%"]),
    st.sampled_from(list(AtWindowEnd)),
    st.booleans(),
)
def test_no_start_of_ours_ever_exceeds_a_limit(
    limits: list[Limit], story: list[str], chance: random.Random, unavailable: str, at_end: AtWindowEnd, windowed: bool
) -> None:
    windows = (Window((), "12:00", "20:00"),) if windowed else ()
    plan = limited(*limits, max_unavailable=unavailable, failure_budget=5, windows=windows, at_window_end=at_end)
    index = LimitIndex(limits, unavailable, 5)
    drive = Drive(plan)
    for event in story:
        watched_step(drive, index)
        live(drive, event, chance)
    drive.foreign = frozenset()
    for _ in range(60):
        drive.run_in(lambda _a: (Result.DONE, "")) if windowed is False else through_windows(drive, index)
        if drive.state.phase is not RolloutPhase.HELD or " waits" in drive.state.reason:
            break
        resume(drive)
    stuck = drive.state.phase is RolloutPhase.HELD and " waits" in drive.state.reason
    assert drive.state.phase is RolloutPhase.COMPLETED or stuck


def through_windows(drive: Drive, index: LimitIndex) -> None:
    """To its rest, the clock jumping to the time that the resolver names."""
    for _ in range(2000):
        if not watched_step(drive, index):
            return
        for name in list(drive.busy):
            drive.end(name)
        if drive.gating:
            drive.gate()
        told = drive.ask()
        if not drive.busy and not drive.gating and not told.actions and not told.bodies and told.wake_at:
            drive.seconds = max(drive.seconds, int((told.wake_at - NOW).total_seconds()))
    raise AssertionError("the rollout never came to rest")


def watched_step(drive: Drive, index: LimitIndex) -> bool:
    """One round; whoever begins in it may begin, by the limits and by the clock."""
    before, known = set(running(drive)), len(drive.entries)
    going_on = drive.step()
    moment = at(drive.seconds)
    fenced = {n.name for n in drive.state.nodes.values() if n.phase is NodePhase.QUARANTINED}
    begun = [
        e.body.node
        for e in drive.entries[known:]
        if isinstance(e.body, NodeDecided) and e.body.event is NodeEvent.START
    ]
    ours = {n.name for n in drive.state.nodes.values() if n.phase in OUT}
    for name in begun:
        assert name not in before
        assert index.blocks(name, (ours | (drive.foreign or set())) - fenced, fenced) is None
        assert open_by_hand(drive, moment)
    return going_on


def open_by_hand(drive: Drive, moment: datetime) -> bool:
    return not drive.plan.policy.windows or 12 <= moment.hour < 20


def live(drive: Drive, event: str, chance: random.Random) -> None:
    """One thing that happens, where it can."""
    if event == "night":
        drive.seconds += 6 * 3600
    elif event == "crash":
        drive.crash()
    elif event == "resume":
        resume(drive)
    elif event in ("foreign", "seen"):
        drive.foreign = frozenset({"other", "n5"}) if event == "foreign" else frozenset()
    elif drive.gating and event in GATES:
        drive.gate(GATES[event])
    elif drive.busy and event in ENDS:
        drive.end(chance.choice(sorted(drive.busy)), *ENDS[event])


def test_a_retry_that_would_exceed_a_limit_is_known_before() -> None:
    drive = Drive(limited(QUORUM, max_unavailable="2", failure_budget=5))
    drive.record(NodeDecided("n1", NodeEvent.START), NodeDecided("n1", NodeEvent.QUARANTINE, "broken"))
    assert exceeded_with(drive.plan, drive.state, ("n1",)) == ()
    drive.record(NodeDecided("n2", NodeEvent.START), NodeDecided("n3", NodeEvent.START))
    assert exceeded_with(drive.plan, drive.state, ("n1",)) == ("max_unavailable",)
    assert exceeded_with(drive.plan, drive.state, ("n1", "n4")) == ("max_unavailable", "quorum etcd")
