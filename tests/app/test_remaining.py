"""How much longer a rollout takes."""

from __future__ import annotations

from dataclasses import replace

from rollout.app.remaining import Remaining, remaining
from rollout.app.status import status
from rollout.domain.journal import Body, Entry, GateDecided, NodeDecided, RolloutDecided, RolloutState, fold
from rollout.domain.lifecycle import NodeEvent, RolloutEvent
from rollout.domain.node import DatapathMode
from rollout.domain.plan import Estimate, Plan, WaveEstimate
from rollout.domain.policy import Policy
from tests.builders import at, plan_of
from tests.support.world import Model, quick

NAMES = ("n1", "n2", "n3")


def row(wave: int, low: int, high: int) -> WaveEstimate:
    return WaveEstimate(wave, low, high, 0, 0, 0, 1, -1, -1, f"limit {wave}")


def planned() -> Plan:
    """One node, then two."""
    plan = plan_of(NAMES, Policy(target=DatapathMode.NETKIT))
    estimate = Estimate(300, 900, "limit 1", "test", (row(0, 100, 300), row(1, 200, 600)))
    return replace(plan, estimate=estimate)


def after(*bodies: Body) -> RolloutState:
    start = (RolloutDecided(RolloutEvent.APPROVE), RolloutDecided(RolloutEvent.START))
    return fold(Entry(n, at(n), body) for n, body in enumerate((*start, *bodies), 1))


def done(name: str) -> tuple[Body, ...]:
    return NodeDecided(name, NodeEvent.START), NodeDecided(name, NodeEvent.FINISH)


def test_it_shrinks_with_each_node_and_names_what_binds_now() -> None:
    plan = planned()
    assert [len(wave.nodes) for wave in plan.waves] == [1, 2]
    first, second = plan.waves[0].nodes[0], plan.waves[1].nodes[0]
    assert remaining(plan, RolloutState()) == Remaining(300, 900, "limit 0")
    assert remaining(plan, after(*done(first))) == Remaining(300, 900, "limit 0")  # its soak and gate are to come
    gated = (*done(first), GateDecided(0, "proceed"))
    assert remaining(plan, after(*gated)) == Remaining(200, 600, "limit 1")
    assert remaining(plan, after(*gated, *done(second))) == Remaining(100, 300, "limit 1")


def test_nothing_is_left_of_what_has_ended_or_was_never_estimated() -> None:
    plan = planned()
    gates = (GateDecided(0, "proceed"), GateDecided(1, "proceed"))
    assert remaining(plan, after(*gates)) is None
    assert remaining(plan, after(RolloutDecided(RolloutEvent.ABORT))) is None
    assert remaining(replace(plan, estimate=None), after()) is None


def test_a_real_plan_says_it() -> None:
    model = Model(NAMES)
    made = model.planned(quick())
    found = status(model.world(), made.record.id).remaining
    assert found is not None
    assert made.plan.estimate is not None
    assert (found.low_s, found.high_s) == (made.plan.estimate.low_s, made.plan.estimate.high_s)
