"""Each pod of each planned node: goes now, waits for something, or never goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.domain.inventory import Inventory
from rollout.domain.node import Method, Node, Pod
from rollout.domain.plan import Going, Limit, Wave
from rollout.domain.policy import Policy
from rollout.planning.drain import Fate, budgets_of, fates


@dataclass(frozen=True, slots=True)
class PodProof:
    """What the proof says of one pod that must be evicted."""

    pod: Pod
    going: Going
    budgets: tuple[str, ...] = ()
    why: str = ""
    remedy: str = ""
    lands_on: str = ""


@dataclass(frozen=True, slots=True)
class DrainProof:
    """The proof for every node of the waves."""

    nodes: Mapping[str, tuple[PodProof, ...]]
    """Pods to evict, in name order, by node."""

    def never(self, node: str) -> tuple[PodProof, ...]:
        """Pods of a node that no waiting sets free."""
        return tuple(p for p in self.nodes.get(node, ()) if p.going is Going.NEVER)


def never_empties(inventory: Inventory, policy: Policy, node: Node, method: Method) -> tuple[str, ...]:
    """Why a node can never be emptied, whatever the order; empty when it can. Each names the pod and the remedy."""
    reasons = []
    for fate in fates(inventory.pods_on(node.name), policy.drain):
        if fate.fate is Fate.BLOCKED and not (fate.pod.mirror and method is Method.REBOOT):
            reasons.append(f"pod {fate.pod.ref}: {fate.reason}")
        budgets = budgets_of(fate.pod, inventory.cluster.budgets)
        if fate.fate is Fate.EVICT and len(budgets) > 1:
            names = " and ".join(b.name for b in budgets)
            reasons.append(f"pod {fate.pod.ref}: PodDisruptionBudgets {names} both match it, so it is never evicted")
    return tuple(reasons)


def prove(inventory: Inventory, policy: Policy, waves: Sequence[Wave], limits: Sequence[Limit]) -> DrainProof:
    """Evict every pod of every wave's nodes in order, in thought, and tell what becomes of each.

    Within a wave nodes are in flight together as `limits` and `max_unavailable` allow.
    """
    del limits
    return DrainProof({name: _of_node(inventory, policy, name) for wave in waves for name in wave.nodes})


def _of_node(inventory: Inventory, policy: Policy, name: str) -> tuple[PodProof, ...]:
    rows = (f.pod for f in fates(inventory.pods_on(name), policy.drain) if f.fate is Fate.EVICT)
    return tuple(
        PodProof(pod, Going.NOW, tuple(f"{b.namespace}/{b.name}" for b in budgets_of(pod, inventory.cluster.budgets)))
        for pod in rows
    )
