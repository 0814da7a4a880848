"""Emptying nodes with pods known by number only: quick enough for every plan.

Where pods go is a flow: evicted ones land first where no further move awaits them, as far as there is room (with the
soft taint), or wherever there is least on (without it). What lands on nodes still to do moves again with them. Budgets
are servers in a queue: a pod that may not go yet waits until a replacement before it is ready.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.plan import NodePlan
from rollout.domain.policy import Policy
from rollout.planning.simulate.durations import Durations
from rollout.planning.simulate.timeline import Timeline

USUAL_SLOTS = 110
"""Pods that a node takes when it does not tell: the kubelet's default."""


@dataclass
class _Budget:
    """A budget as a queue: at most `allowed` pods are on their way at once."""

    allowed: int
    free_at: int = 0
    """When all that were asked for so far are through."""


class CountedDrains:
    """See the module."""

    def __init__(
        self, cluster: ClusterSnapshot, policy: Policy, nodes: Sequence[NodePlan], durations: Durations
    ) -> None:
        self._durations = durations
        self._soft = policy.soft_taint
        self._retry_s = max(1, policy.drain.retry_s)
        self._plans = {node.name: node for node in nodes}
        self._own = {node.name: len(node.evictions) for node in nodes}
        self._bounded = {node.name: _by_budget(node) for node in nodes}
        self._budgets = {f"{b.namespace}/{b.name}": _Budget(max(1, b.disruptions_allowed)) for b in cluster.budgets}
        self._ends_s = durations.pods_end_s
        self._cycle_s = -(-durations.pod_ready_s // self._retry_s) * self._retry_s
        """From an eviction to the next one of the same budget: the replacement's start, then the next try."""
        slots = {n.name: n.pod_slots or USUAL_SLOTS for n in cluster.nodes}
        self._room = {
            name: max(0, slots.get(name, USUAL_SLOTS) * (100 - policy.headroom_percent) // 100) for name in self._own
        }
        self._to_do = set(self._own)
        self._to_do_pods = sum(self._own.values())
        self._extra = 0
        """Replacements that stand on nodes still to do."""
        busy = {name: len(pods) for name, pods in cluster.pods_by_node.items()}
        others = [n for n in cluster.nodes if n.name not in self._own and not n.unschedulable and n.ready]
        self._free = sum(max(0, (n.pod_slots or USUAL_SLOTS) - busy.get(n.name, 0)) for n in others)
        """Places on nodes that no move awaits."""
        self._free_nodes = len(others)
        self._on_free = sum(busy.get(n.name, 0) for n in others)

    def begin(self, timeline: Timeline, node: str) -> None:
        """Count what it holds, place it, and say when it is empty."""
        again = self._extra // len(self._to_do)
        self._to_do.discard(node)
        self._extra -= again
        self._to_do_pods -= self._own[node]
        pods = self._own[node] + again
        run = timeline.wave
        run.evictions += pods
        run.moved_again += again
        self._land(pods)
        alone = self._alone_s(node) if pods else 0
        queues = [(self._queue(timeline, *each), each[0]) for each in self._bounded[node].items()]
        end, kept_by = max(queues, default=(0, ""))
        known = self._durations.drain_s(self._plans[node].cohort)
        if known is not None and pods:
            alone, end = known, timeline.now + known
        end = max(end, timeline.now + alone)
        timeline.at(end, lambda: timeline.drained(node, alone, kept_by=kept_by))

    def returned(self, timeline: Timeline, node: str) -> None:
        """Its room is room where nothing moves again."""
        del timeline
        self._free += self._room[node]
        self._free_nodes += 1

    def _land(self, pods: int) -> None:
        """Split evicted pods between nodes that are through and nodes still to do."""
        well = min(pods, self._free) if self._soft else min(pods, self._free, self._least_allocated(pods))
        if not self._to_do:
            well = pods
        self._free -= min(well, self._free)
        self._on_free += well
        self._extra += pods - well

    def _least_allocated(self, pods: int) -> int:
        """How many land on finished nodes when every node is filled to the same level."""
        nodes = self._free_nodes + len(self._to_do)
        if not nodes or not self._free_nodes:
            return 0
        level = (self._on_free + self._to_do_pods + self._extra + pods) // nodes + 1
        return max(0, level * self._free_nodes - self._on_free)

    def _alone_s(self, node: str) -> int:
        """Without other nodes in the way: the pods of one budget still go one batch behind the other."""
        batches = max((-(-n // self._allowed(b)) for b, n in self._bounded[node].items()), default=1)
        return self._ends_s + (batches - 1) * self._cycle_s

    def _allowed(self, budget: str) -> int:
        found = self._budgets.get(budget)
        return found.allowed if found else 1

    def _queue(self, timeline: Timeline, name: str, pods: int) -> int:
        """When the pods of one budget are gone, behind those that asked before."""
        budget = self._budgets.setdefault(name, _Budget(1))
        idle = budget.free_at <= timeline.now
        run = timeline.wave
        run.queue(name, pods, budget.allowed)
        run.refused += max(0, pods - budget.allowed) if idle else pods
        start = max(timeline.now, budget.free_at)
        budget.free_at = start + -(-pods * self._cycle_s // budget.allowed)
        waited = budget.free_at - timeline.now - self._cycle_s
        if waited > 0:
            run.refusals += -(-waited // self._retry_s)
        return max(timeline.now, budget.free_at - self._cycle_s) + self._ends_s


def _by_budget(node: NodePlan) -> Mapping[str, int]:
    return Counter(budget for pod in node.evictions for budget in pod.budgets)
