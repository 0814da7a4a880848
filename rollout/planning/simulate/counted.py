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
from rollout.domain.node import Node
from rollout.domain.plan import NodePlan
from rollout.domain.policy import Policy
from rollout.planning.simulate.durations import Durations
from rollout.planning.simulate.timeline import Timeline, WaveRun

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
        takes = _Takes(cluster)
        room = {node.name: takes.pods(node) * (100 - policy.headroom_percent) // 100 for node in cluster.nodes}
        self._room = {name: room.get(name, USUAL_SLOTS) for name in self._own}
        self._to_do = set(self._own)
        self._to_do_pods = sum(self._own.values())
        self._extra = 0
        """Replacements that stand on nodes still to do."""
        busy = {name: len(pods) for name, pods in cluster.pods_by_node.items()}
        others = [n for n in cluster.nodes if n.name not in self._own and not n.unschedulable and n.ready]
        self._free = sum(max(0, takes.pods(n) - busy.get(n.name, 0)) for n in others)
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
        alone, end, kept_by = self._queue(run, timeline.now, node) if pods else (0, 0, "")
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

    def _queue(self, run: WaveRun, now: int, node: str) -> tuple[int, int, str]:
        """Put the pods of a node behind those that asked their budgets before.

        Gives the seconds it takes a node alone, when the last of its pods has ended, and the budget that is last.
        One loop over budgets and nodes: it is what an estimate spends its time on.
        """
        batches, last, kept_by, cycle = 1, now, "", self._cycle_s
        for name, pods in self._bounded[node].items():
            budget = self._budgets.get(name)
            if budget is None:
                budget = self._budgets[name] = _Budget(1)
            allowed, free_at = budget.allowed, budget.free_at
            run.queue(name, pods, allowed)
            if pods > allowed:
                batches = max(batches, -(-pods // allowed))
            if free_at > now:
                run.refused += pods
            elif pods > allowed:
                run.refused += pods - allowed
            free_at = max(now, free_at) - (-pods * cycle // allowed)
            budget.free_at = free_at
            if free_at - cycle > now:
                run.refusals -= (now - free_at + cycle) // self._retry_s
                if free_at - cycle > last:
                    last, kept_by = free_at - cycle, name
        return self._ends_s + (batches - 1) * cycle, last + self._ends_s, kept_by


def _by_budget(node: NodePlan) -> Mapping[str, int]:
    return Counter(budget for pod in node.evictions for budget in pod.budgets)


class _Takes:
    """How many pods of the usual size a node takes: by slots, CPU and memory."""

    def __init__(self, cluster: ClusterSnapshot) -> None:
        self._count = max(1, len(cluster.pods))
        self._cpu = sum(pod.cpu_millis for pod in cluster.pods)
        self._memory = sum(pod.memory_bytes for pod in cluster.pods)

    def pods(self, node: Node) -> int:
        """Whole pods; what a node or no pod tells does not bound it."""
        bounds = [node.pod_slots or USUAL_SLOTS]
        if node.cpu_millis and self._cpu:
            bounds.append(node.cpu_millis * self._count // self._cpu)
        if node.memory_bytes and self._memory:
            bounds.append(node.memory_bytes * self._count // self._memory)
        return min(bounds)
