"""A plan in numbers, and where they come from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollout.cli.render.plan_risks import risks
from rollout.cli.render.plan_view import PlanView
from rollout.domain.fleet import Workload
from rollout.domain.node import DatapathMode
from rollout.domain.plan import Going
from rollout.domain.policy import Freeze, MethodChoice, Policy
from rollout.domain.step import StepKind
from rollout.domain.times import StepTime
from rollout.planning.simulate.openings import closed_spans
from rollout.planning.sources import replicas_of, sources
from rollout.planning.summary import BudgetWaits, PlanSummary
from tests import builders
from tests.cli.plan_examples import full_plan, full_view
from tests.support.plans import sixty_plan

NETKIT = Policy(target=DatapathMode.NETKIT)


def test_every_count_is_that_of_the_plan() -> None:
    plan = full_plan()
    found = PlanSummary(plan)
    assert (found.nodes, found.reboots, found.excluded) == (3, 1, 2)
    assert (found.evictions, found.bounded, found.single, found.unowned, found.scratch) == (3, 3, 1, 1, 0)
    assert found.going == {Going.NOW: 1, Going.WAITS: 2, Going.NEVER: 0}
    assert (found.daemon_pods, found.stragglers) == (1, 1)
    assert found.budget_waits == (BudgetWaits("shop/web", 2, 3), BudgetWaits("plain", 1, 1))
    assert found.reasons_to_wait == (("a pod to be ready", "", 1), ("plain", "plain", 1))
    assert found.namespaces == (("shop", 2, 1, 0), ("plain", 1, 1, 1))
    assert [(m.source.value, m.target.value, m.nodes, m.reboots) for m in found.moves] == [("veth", "netkit", 3, 1)]
    assert dict(found.statuses) == {"pass": 1, "warn": 2, "waived": 1}


def test_counts_of_a_real_fleet_add_up() -> None:
    plan = sixty_plan()
    found = PlanSummary(plan)
    assert sum(found.going.values()) == found.evictions == sum(row[1] for row in found.namespaces)
    assert found.nodes + found.excluded == plan.cluster.fleet
    assert found.scratch > 0 and found.stragglers > 0 and found.bounded > 0


def test_every_number_on_top_has_a_source() -> None:
    plan = sixty_plan()
    shown = risks(PlanView(plan, plan.digest)).rows + risks(full_view()).rows
    assert {tile.source for tile in shown} <= set(plan.sources)
    assert all(plan.sources.values())


def test_sources_say_what_is_true_of_this_plan() -> None:
    inventory = builders.inventory((builders.node("n1"),), unreadable={"Job": "403"})
    told = sources(inventory, NETKIT, ())
    assert "every node" in told["nodes"] and "no start-up guard" in told["reboots"]
    assert told["unread"].endswith("Job") and "default times" in told["estimate"] and "freezes" not in told
    policy = replace(
        NETKIT,
        nodes=("n1",),
        method=MethodChoice.REBOOT,
        deadlines_s={"drain": 60},
        freezes=(Freeze("x", "2026-12-20T00:00:00+00:00", "2026-12-21T00:00:00+00:00", "a.ics"),),
        calendars=("a.ics",),
    )
    history = (StepTime("", StepKind.DRAIN, 7, 10, 20), StepTime("zone a", StepKind.DRAIN, 7, 10, 20))
    told = sources(builders.inventory((builders.node("n1"),)), policy, history, takes_back=True)
    assert "named in the policy: 1" in told["nodes"] and told["reboots"].endswith("reboot")
    assert "drain 60 s" in told["deadlines"] and "7 finished steps" in told["estimate"]
    assert "a.ics" in told["freezes"] and "taken back" in told["modes"] and "unread" not in told
    selecting = sources(builders.inventory((builders.node("n1"),)), replace(NETKIT, selector={"pool": "web"}), ())
    assert "pool=web" in selecting["nodes"]


@pytest.mark.parametrize(("kind", "expected"), [("ReplicaSet", 3), ("StatefulSet", 3), ("Job", 0), ("", 0)])
def test_replicas_are_those_of_the_owner(kind: str, expected: int) -> None:
    workload = Workload(kind or "ReplicaSet", "default", "web-1", "rs-web-1", 3, 3)
    inventory = builders.inventory((builders.node("n1"),), workloads=(workload,))
    assert replicas_of(inventory, builders.pod("web", "n1", owner_kind=kind)) == expected
    assert replicas_of(inventory, builders.pod("web", "n1", owner_kind=kind, owner_uid="gone")) == 0


def test_closed_times_follow_the_windows() -> None:
    policy = full_plan().policy
    assert closed_spans(NETKIT, 10_000) == ()
    week = 7 * 86_400
    assert closed_spans(policy, 8 * 3600) == ()
    assert closed_spans(policy, week + 3600) == ((8 * 3600, week),)
