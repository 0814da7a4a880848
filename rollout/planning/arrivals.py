"""Pods that came onto a node between its plan and its turn, where the plan takes the node to be empty."""

from __future__ import annotations

from rollout.domain.node import Pod
from rollout.domain.plan import NodePlan, Plan
from rollout.planning.drain import evictable
from rollout.planning.drift import Drift


def arrivals(plan: Plan, node: NodePlan, pods: tuple[Pod, ...]) -> tuple[Drift, ...]:
    """Pods that came onto a node since it was to be adopted. Adopting evicts nobody, so it is another case now."""
    if not plan.adopts:
        return ()
    found = evictable(pods, plan.policy.drain)
    if not found:
        return ()
    what = f"pods have come onto it, such as {found[0].ref}"
    return (Drift(what, "none", str(len(found)), f"plan it: rollout plan --node {node.name}"),)
