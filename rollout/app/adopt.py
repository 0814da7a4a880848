"""Adopt newly joined nodes: plan their labelling; and say how much of the fleet is on target."""

from __future__ import annotations

from rollout.app.collect import collect
from rollout.app.journal import load, load_plan
from rollout.app.make_plan import PlanResult, moved_itself, save_plan
from rollout.app.world import World
from rollout.domain.plan import Plan
from rollout.domain.policy import Policy
from rollout.planning.coverage import Coverage, coverage
from rollout.planning.planner import select_nodes
from rollout.planning.preflight import judge_preflight


def plan_adoption(world: World, policy: Policy) -> PlanResult:
    """Make and save the plan that adopts the policy's nodes; those that hold old endpoints are left out, with why.

    It needs an approval of its own. Raises `UsageError` for an unknown node, `Refused` when none can be adopted.
    """
    return save_plan(world, collect(world, policy.nodes), moved_itself(policy), adopts=True)


def fleet_coverage(world: World, policy: Policy, since: str = "") -> Coverage:
    """Look at every node of the cluster now. `since`: a plan, to say which nodes joined and which vanished after it.

    Changes nothing. Raises `NotFound` for an unknown plan, `UsageError` for an unknown node.
    """
    plan: Plan | None = None
    if since:
        record, _ = load(world.store, since)
        plan = load_plan(world.store, record.id)
    inventory = collect(world)
    chosen = select_nodes(inventory, policy)
    return coverage(inventory, policy, chosen, judge_preflight(inventory, policy, chosen), plan)
