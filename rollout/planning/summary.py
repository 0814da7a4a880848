"""A plan in numbers: what its reviewers look at first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from rollout.domain.node import DatapathMode, Method
from rollout.domain.plan import Going, NodePlan, Plan, PlannedPod


@dataclass(frozen=True, slots=True)
class Move:
    """Nodes that go from one mode to another."""

    source: DatapathMode
    target: DatapathMode
    nodes: int
    reboots: int
    replaced: int = 0
    """Nodes that their pool replaces; none of them is restarted or rebooted."""


@dataclass(frozen=True, slots=True)
class BudgetWaits:
    """Pods of one PodDisruptionBudget whose evictions wait for something."""

    budget: str
    waits: int
    pods: int
    """All pods under it that are evicted."""


class PlanSummary:
    """Counts over a whole plan, each made once and when it is first asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    @cached_property
    def moves(self) -> tuple[Move, ...]:
        """Modes left and moved to, in the order of their names."""
        nodes = Counter((n.source, n.target) for n in self._plan.nodes)
        reboots = Counter((n.source, n.target) for n in self._plan.nodes if n.method is Method.REBOOT)
        replaced = Counter((n.source, n.target) for n in self._plan.nodes if n.method is Method.REPLACE)
        order = sorted(nodes, key=lambda pair: (pair[0].value, pair[1].value))
        return tuple(Move(*pair, nodes[pair], reboots[pair], replaced[pair]) for pair in order)

    @property
    def nodes(self) -> int:
        """Nodes that move."""
        return len(self._plan.nodes)

    @property
    def reboots(self) -> int:
        """Nodes that are rebooted."""
        return sum(move.reboots for move in self.moves)

    @property
    def excluded(self) -> int:
        """Nodes that are left out."""
        return len(self._plan.excluded)

    @cached_property
    def evictions(self) -> int:
        """Pods that are evicted once at least."""
        return sum(len(node.evictions) for node in self._plan.nodes)

    @cached_property
    def going(self) -> Mapping[Going, int]:
        """Pods to evict by what the drain proof says of them."""
        found = Counter(pod.going for node in self._plan.nodes for pod in node.evictions)
        return {each: found[each] for each in Going}

    @cached_property
    def bounded(self) -> int:
        """Pods to evict that are under a budget."""
        return sum(1 for pod in self._evicted() if pod.budgets)

    @cached_property
    def single(self) -> int:
        """Pods to evict that are all their workload has."""
        return sum(1 for pod in self._evicted() if pod.replicas == 1)

    @cached_property
    def unowned(self) -> int:
        """Pods to evict that nothing replaces."""
        return sum(1 for pod in self._evicted() if not pod.owner)

    @cached_property
    def scratch(self) -> int:
        """Pods to evict whose emptyDir data ends with them."""
        return sum(1 for pod in self._evicted() if "emptyDir" in pod.note)

    @cached_property
    def daemon_pods(self) -> int:
        """DaemonSet pods that stop and come back on their own nodes."""
        return sum(len(node.daemon_pods) for node in self._plan.nodes)

    @cached_property
    def stragglers(self) -> int:
        """Pods that tolerate every taint."""
        return sum(len(node.stragglers) for node in self._plan.nodes)

    @cached_property
    def statuses(self) -> Mapping[str, int]:
        """Findings by status; one that stands for many nodes counts as many."""
        found: Counter[str] = Counter()
        for finding in self._plan.findings:
            found[finding.status] += max(1, finding.count)
        return found

    @cached_property
    def budget_waits(self) -> tuple[BudgetWaits, ...]:
        """Budgets under which evictions wait, most waiting first, then by name."""
        waits: Counter[str] = Counter()
        pods: Counter[str] = Counter()
        for pod in self._evicted():
            pods.update(pod.budgets)
            if pod.going is Going.WAITS:
                waits.update(pod.budgets)
        rows = (BudgetWaits(name, count, pods[name]) for name, count in waits.items())
        return tuple(sorted(rows, key=lambda row: (-row.waits, row.budget)))

    @cached_property
    def reasons_to_wait(self) -> tuple[tuple[str, str, int], ...]:
        """Why pods wait, what shortens it, and how many: most first. Those with one remedy count as one, told once."""
        found: Counter[tuple[str, str]] = Counter()
        example: dict[tuple[str, str], str] = {}
        for pod in self._evicted():
            if pod.going is not Going.NOW:
                key = ("", pod.remedy) if pod.remedy else (pod.why, "")
                found[key] += 1
                example.setdefault(key, pod.why)
        rows = ((example[key], key[1], count) for key, count in found.items())
        return tuple(sorted(rows, key=lambda row: (-row[2], row[:2])))

    @cached_property
    def namespaces(self) -> tuple[tuple[str, int, int, int], ...]:
        """Namespace, pods evicted, of them waiting, of them the only one of their workload: most evicted first."""
        evicted: Counter[str] = Counter()
        waiting: Counter[str] = Counter()
        single: Counter[str] = Counter()
        for pod in self._evicted():
            evicted[pod.ref.namespace] += 1
            waiting[pod.ref.namespace] += pod.going is Going.WAITS
            single[pod.ref.namespace] += pod.replicas == 1
        rows = ((name, count, waiting[name], single[name]) for name, count in evicted.items())
        return tuple(sorted(rows, key=lambda row: (-row[1], row[0])))

    def _evicted(self) -> Iterable[PlannedPod]:
        return (pod for node in self._plan.nodes for pod in node.evictions)


def waiting(node: NodePlan) -> int:
    """Pods of a node whose eviction waits for something."""
    return sum(1 for pod in node.evictions if pod.going is Going.WAITS)
