"""Disruption budgets as limits: nodes whose pods one budget bounds would, beyond it, only wait for each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rollout.domain.inventory import Inventory
from rollout.domain.node import Pod, PodDisruptionBudget
from rollout.domain.plan import Limit
from rollout.domain.policy import Policy
from rollout.planning.drain import Fate, decide_fate
from rollout.planning.waves.members import Members, counted


def budget_limits(inventory: Inventory, policy: Policy, planned: frozenset[str], most: int) -> tuple[Limit, ...]:
    """A limit for each budget that binds below `most` nodes out at once. Budgets of the same nodes share one."""
    shared: dict[tuple[tuple[str, ...], int], list[str]] = {}
    for budget, pods in _evicted(inventory, policy):
        limit = _limit(budget, pods, planned, most)
        if limit is not None:
            shared.setdefault(limit, []).append(f"{budget.namespace}/{budget.name}")
    return tuple(
        sorted((_shown(nodes, out, names) for (nodes, out), names in shared.items()), key=lambda limit: limit.name)
    )


def _limit(
    budget: PodDisruptionBudget, pods: Sequence[Pod], planned: frozenset[str], most: int
) -> tuple[tuple[str, ...], int] | None:
    """Nodes and how many may be out; None when the budget binds no more than the fleet's limit does."""
    members = counted(pod.node for pod in pods)
    out = max(1, _turns(members, allowed(budget)))
    if out >= min(most, len(members.by_node)) or len(planned & members.by_node.keys()) < 1:
        return None
    return members.nodes, out


def _turns(members: Members, spare: int) -> int:
    """A node with more pods than the budget lets go takes its turns alone; then one such node at a time."""
    return 1 if members.too_heavy(spare) else members.most_out(spare)


def allowed(budget: PodDisruptionBudget) -> int:
    """Evictions the budget accepts at once when all its pods are well, as its status tells."""
    return max(budget.disruptions_allowed, budget.expected_pods - budget.desired_healthy, 0)


def _shown(nodes: tuple[str, ...], out: int, names: Sequence[str]) -> Limit:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    why = (
        f"PodDisruptionBudget {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}: "
        f"pods on {len(nodes)} nodes; with more than {out} of them out, evictions would only wait"
    )
    return Limit(f"budget {names[0]}{more}", nodes, out, why)


def _evicted(inventory: Inventory, policy: Policy) -> Iterable[tuple[PodDisruptionBudget, Sequence[Pod]]]:
    """Each budget with the pods a drain would evict under it. One pass over the pods."""
    index = inventory.cluster.budget_index
    found: dict[tuple[str, str], list[Pod]] = {}
    budgets: dict[tuple[str, str], PodDisruptionBudget] = {}
    for pod in inventory.cluster.pods:
        bounding = index.of(pod) if pod.node else ()
        if bounding and decide_fate(pod, policy.drain).fate is Fate.EVICT:
            for budget in bounding:
                key = (budget.namespace, budget.name)
                budgets[key] = budget
                found.setdefault(key, []).append(pod)
    return [(budgets[key], found[key]) for key in sorted(found)]
