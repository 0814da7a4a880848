"""Who may begin when, and how long it takes: figures that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.domain.node import DatapathMode
from rollout.domain.plan import Limit
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind
from rollout.domain.times import StepTime
from rollout.planning.estimate import estimate
from rollout.planning.simulate import Durations, Quantile, forecast, simulate
from rollout.planning.waves import Packing
from tests.planning.simulate.trial import READY_S, cluster, plans, ran, waves

POD_ENDS_S = 3
NODE_S = POD_ENDS_S + READY_S
FORMS = pytest.mark.parametrize("form", [simulate, forecast])


@FORMS
def test_one_after_the_other(form: object) -> None:
    found = ran(cluster(4, 1, 4, allowed=4), 1, soft=True, form=form)  # type: ignore[arg-type]
    assert found.seconds == 4 * NODE_S + 10  # 10: the look at the gate
    assert found.bound_s == found.seconds
    assert found.waves[0].most_out == 1
    assert found.binding == "max_unavailable"


@FORMS
def test_two_at_a_time_take_half_as_long(form: object) -> None:
    found = ran(cluster(4, 1, 4, allowed=4), 2, soft=True, form=form)  # type: ignore[arg-type]
    assert found.seconds == 2 * NODE_S + 10
    assert found.waves[0].most_out == 2


@FORMS
def test_a_limit_that_is_tighter_binds_and_is_named(form: object) -> None:
    inv = cluster(6, 1, 6, allowed=6)
    one = Limit("zone a", tuple(n.name for n in inv.cluster.nodes), 1, "policy")
    found = ran(inv, 3, soft=True, form=form, limits=(one,))  # type: ignore[arg-type]
    assert found.waves[0].most_out == 1
    assert found.binding == "zone a"


@FORMS
def test_a_budget_that_lets_one_go_at_a_time_binds(form: object) -> None:
    inv = cluster(3, 1, 9, allowed=1)
    found = ran(inv, 3, soft=True, form=form)  # type: ignore[arg-type]
    assert found.binding == "budget default/app0"
    assert found.refusals > 0
    assert found.seconds > 2 * NODE_S


@FORMS
def test_a_wave_waits_for_the_one_before_and_its_soak(form: object) -> None:
    inv = cluster(2, 1, 2, allowed=2)
    policy = Policy(target=DatapathMode.NETKIT, max_unavailable="2", soak_fenced_s=7, soak_loaded_s=100)
    times = tuple(StepTime("", kind, 1, 0, 0) for kind in StepKind if kind is not StepKind.DRAIN)
    nodes = plans(inv)
    found = form(inv, policy, nodes, Packing(waves(nodes, (1, 1))), Durations(policy, times, Quantile.P50))  # type: ignore[operator]
    assert [wave.began_s for wave in found.waves] == [0, 3 + 7 + 100 + 10]


@FORMS
def test_nodes_begin_in_windows_only(form: object) -> None:
    inv = cluster(3, 1, 3, allowed=3)
    policy = Policy(target=DatapathMode.NETKIT, max_unavailable="1", soak_fenced_s=0, soak_loaded_s=0)
    nodes = plans(inv)

    def first_ten_seconds_of_an_hour(second: int) -> int:
        return second if second % 3600 < 10 else (second // 3600 + 1) * 3600

    times = tuple(StepTime("", kind, 1, 1, 1) for kind in StepKind if kind is not StepKind.DRAIN)
    found = form(  # type: ignore[operator]
        inv, policy, nodes, Packing(waves(nodes, (3,))), Durations(policy, times, Quantile.P50),
        first_ten_seconds_of_an_hour,
    )  # fmt: skip
    assert 2 * 3600 < found.seconds < 2 * 3600 + 60
    assert found.binding == "windows and freezes"


@FORMS
def test_a_budget_that_never_lets_go_ends_at_a_late_node_not_in_a_loop(form: object) -> None:
    inv = cluster(2, 1, 2, allowed=1)
    shut = tuple(replace(b, current_healthy=1, desired_healthy=2, disruptions_allowed=0) for b in inv.cluster.budgets)
    inv = replace(inv, cluster=replace(inv.cluster, budgets=shut))
    found = ran(inv, 2, soft=True, form=form)  # type: ignore[arg-type]
    assert found.seconds > 0
    if form is simulate:
        assert set(found.late) == {"n000", "n001"}


def test_a_pod_without_a_place_is_told() -> None:
    inv = cluster(2, 1, 4, allowed=4)
    tight = tuple(replace(n, pod_slots=2) for n in inv.cluster.nodes)
    found = ran(replace(inv, cluster=replace(inv.cluster, nodes=tight)), 1, soft=True)
    assert found.homeless == 0  # each waits for the node that comes back
    away = (replace(tight[0], pod_slots=0, cpu_millis=50), tight[1])
    assert ran(replace(inv, cluster=replace(inv.cluster, nodes=away)), 1, soft=True).homeless > 0


def test_headroom_is_what_requests_leave_free() -> None:
    inv = cluster(4, 1, 40, allowed=40)  # 40 x 100m of 4 x 4000m
    wave = ran(inv, 2, soft=True).waves[0]
    assert wave.headroom_cpu_percent == (8000 - 4000) * 100 // 8000
    untold = tuple(replace(n, cpu_millis=0, memory_bytes=0, pod_slots=0) for n in inv.cluster.nodes)
    blind = ran(replace(inv, cluster=replace(inv.cluster, nodes=untold)), 2, soft=True).waves[0]
    assert (blind.headroom_cpu_percent, blind.headroom_memory_percent) == (-1, -1)


@settings(max_examples=40, deadline=None)
@given(
    nodes=st.integers(1, 9), apps=st.integers(1, 4), replicas=st.integers(1, 6), allowed=st.integers(0, 3),
    in_flight=st.integers(1, 9), soft=st.booleans(),
)  # fmt: skip
def test_any_cluster_comes_to_its_end_within_its_limits(
    nodes: int, apps: int, replicas: int, allowed: int, in_flight: int, soft: bool
) -> None:
    inv = cluster(nodes, apps, replicas, allowed)
    full = ran(inv, in_flight, soft=soft)
    assert full.waves[0].most_out <= in_flight
    assert full.seconds >= full.waves[0].nodes and full.evictions >= full.pods
    assert sum(full.moves.values()) == full.pods
    if not full.late:
        assert full.pods == apps * replicas
        assert full.seconds >= full.bound_s
    quick = ran(inv, in_flight, soft=soft, form=forecast)
    assert quick.waves[0].most_out <= in_flight
    assert quick.evictions == apps * replicas + quick.waves[0].moved_again


# -- the estimate of a plan ------------------------------------------------------------------------------------------


def test_the_estimate_is_a_range_that_says_where_it_comes_from() -> None:
    inv, policy = cluster(4, 2, 6, allowed=2), Policy(target=DatapathMode.NETKIT)
    nodes = plans(inv)
    packing = Packing(waves(nodes, (1, 3)))
    assumed = estimate(inv, policy, nodes, packing, ())
    assert assumed is not None
    assert assumed.low_s < assumed.high_s
    assert "assumed" in assumed.basis
    assert len(assumed.waves) == 2
    assert sum(wave.low_s for wave in assumed.waves) == assumed.low_s
    assert assumed.pods == 12 <= assumed.evictions
    known = estimate(inv, policy, nodes, packing, tuple(StepTime("", kind, 9, 1, 2) for kind in StepKind))
    assert known is not None
    assert known.high_s < assumed.low_s
    assert "9 node(s)" in known.basis


def test_a_cohorts_own_history_is_used_before_that_of_all_nodes() -> None:
    inv, policy = cluster(1, 1, 1, allowed=1), Policy(target=DatapathMode.NETKIT, soak_loaded_s=0, soak_fenced_s=0)
    nodes = tuple(replace(one, cohort="big") for one in plans(inv))
    slow = tuple(StepTime("", kind, 3, 100, 100) for kind in StepKind)
    own = tuple(StepTime("big", kind, 3, 1, 1) for kind in StepKind)
    packing = Packing(waves(nodes, (1,)))
    both, general = (estimate(inv, policy, nodes, packing, rows) for rows in ((*slow, *own), slow))
    assert both is not None
    assert general is not None
    assert both.high_s < general.low_s


def test_nothing_to_estimate_is_none_and_strange_waves_do_no_harm() -> None:
    inv, policy = cluster(2, 1, 2, allowed=1), Policy(target=DatapathMode.NETKIT)
    nodes = plans(inv)
    assert estimate(inv, policy, (), Packing(()), ()) is None
    assert estimate(inv, policy, (), Packing(waves(nodes, (2,))), ()) is None
    assert estimate(inv, policy, nodes[:1], Packing(waves(nodes, (1, 1))), ()) is not None
