"""Plans of made-up fleets, for tests of what is shown and compared."""

from __future__ import annotations

from functools import cache

from rollout.domain.node import DatapathMode
from rollout.domain.plan import Plan
from rollout.domain.policy import Policy
from rollout.planning.planner import PlanRequest, make_plan
from tests.support.fleet import make_fleet, sixty_nodes


@cache
def sixty_plan(max_unavailable: str = "10%") -> Plan:
    """The plan of the 60-node fleet."""
    policy = Policy(target=DatapathMode.NETKIT, max_unavailable=max_unavailable)
    return make_plan(sixty_nodes().inventory(), policy, PlanRequest(serial=1, program="golden"))


@cache
def big_plan(nodes: int, pods: int, budgets: int) -> Plan:
    """The plan of a fleet of any size."""
    policy = Policy(target=DatapathMode.NETKIT, max_unavailable="2%")
    return make_plan(make_fleet(nodes, pods, budgets).inventory(), policy, PlanRequest(serial=1, program="big"))
