"""Which nodes may be replaced by new ones of their pool, and what keeps one pool's replacements apart.

What makes new nodes start in the new mode is our CiliumNodeConfig, which selects our label, and the pool's template,
which carries it. Both are proven before anything is emptied: one node of the pool runs in the new mode already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.domain.inventory import Inventory
from rollout.domain.node import LABEL_MODE, Node
from rollout.domain.plan import Limit, NodePlan, PlannedPod, PlannedPool
from rollout.domain.policy import HandOver, Policy
from rollout.planning.coverage import is_on_target
from rollout.planning.facts import is_ours
from rollout.planning.pools import Pool, pool_of


@dataclass(frozen=True, slots=True)
class PoolNow:
    """A pool as the snapshot shows it."""

    pool: Pool
    proven: str
    """A node of it that carries our label and runs in the new mode; empty when there is none."""


class Pools:
    """Pools of a cluster, each looked at once."""

    def __init__(self, inventory: Inventory, policy: Policy) -> None:
        self._policy = policy
        self._served = any(
            is_ours(c) and c.match_labels.get(LABEL_MODE) == policy.target.value for c in inventory.cluster.node_configs
        )
        nodes: dict[str, list[Node]] = {}
        for node in sorted(inventory.cluster.nodes, key=lambda n: n.name):
            nodes.setdefault(str(pool_of(node) or ""), []).append(node)
        self._nodes: Mapping[str, list[Node]] = nodes
        self._inventory = inventory

    def now(self, node: Node) -> PoolNow | None:
        """The pool of a node; None when it belongs to none."""
        pool = pool_of(node)
        if pool is None:
            return None
        mates = self._nodes[str(pool)]
        return PoolNow(pool, next((each.name for each in mates if self._proves(each)), ""))

    def _proves(self, node: Node) -> bool:
        labelled = node.labels.get(LABEL_MODE) == self._policy.target.value
        seen = self._inventory.observations.get(node.name, {})
        return labelled and bool(node.ready) and is_on_target(seen, self._policy.target) is True

    def not_replaceable(self, node: Node, hook_is_empty: bool) -> tuple[str, ...]:
        """Why a node cannot be replaced; empty when it can."""
        now = self.now(node)
        if now is None:
            return ("it belongs to no pool that would replace it: plan it with method restart or reboot",)
        if not self._served:
            words = f"no CiliumNodeConfig of ours gives {self._policy.target.value} to labelled nodes yet"
            return (f"{words}: move or adopt one node of {now.pool} first",)
        if not now.proven:
            mode = self._policy.target.value
            words = f"no node of {now.pool} runs on {mode} yet, so nothing shows that new ones will"
            return (f"{words}: {now.pool.template_words(mode)}, and let one new node join",)
        if self._policy.replace.hand_over is HandOver.HOOK and hook_is_empty:
            return ("replace.hand_over is hook and hooks/after-node.yml has no tasks: write them, or choose operator",)
        return ()

    def replacing(self, node: NodePlan) -> NodePlan:
        """A node's part of the plan, made that of a node which is replaced: its own label and settings stay."""
        now = self.now(self._inventory.cluster.nodes_by_name[node.name])
        assert now is not None
        return replace(
            node,
            assign=node.assign_back,
            daemon_pods=_ending(node.daemon_pods),
            stragglers=_ending(node.stragglers),
            config_change={},
            config_sources={},
            risks=(*node.risks, f"its machine goes for good: {now.pool} puts another in its place"),
            pool=str(now.pool),
        )

    def planned(self, nodes: Sequence[NodePlan]) -> tuple[PlannedPool, ...]:
        """The pools of planned nodes as they are now, by name."""
        found = []
        for name in sorted({node.pool for node in nodes}):
            mates = self._nodes[name]
            found.append(PlannedPool(name, _in_service(mates), tuple(sorted(mate.uid for mate in mates))))
        return tuple(found)


def _in_service(nodes: Sequence[Node]) -> int:
    return sum(1 for node in nodes if node.ready and not node.unschedulable)


def _ending(pods: tuple[PlannedPod, ...]) -> tuple[PlannedPod, ...]:
    return tuple(replace(pod, note="ends with its machine") for pod in pods)


def pool_limits(nodes: Sequence[NodePlan]) -> tuple[Limit, ...]:
    """One node of a pool at a time: the next waits for what the pool has then."""
    pools: dict[str, list[str]] = {}
    for node in nodes:
        if node.pool:
            pools.setdefault(node.pool, []).append(node.name)
    why = "nodes of one pool are replaced one after the other, each when its pool can do without it"
    return tuple(Limit(f"pool {pool}", tuple(sorted(names)), 1, why) for pool, names in sorted(pools.items()))
