"""Emptying nodes pod by pod: evictions under budgets, replacements placed, started and, where they stand badly, evicted
again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import Pod, PodDisruptionBudget
from rollout.domain.plan import NodePlan
from rollout.domain.policy import Policy
from rollout.domain.step import StepKind
from rollout.planning.drain import Fate, decide_fate
from rollout.planning.proof.kinds import Kind, KindBook
from rollout.planning.proof.places import Places
from rollout.planning.simulate.durations import Durations
from rollout.planning.simulate.timeline import Timeline, WaveRun
from rollout.planning.simulate.values import Busy, Simulation

BUSIEST = 10


@dataclass(eq=False)
class _Budget:
    """A budget's account, as the disruption controller keeps it."""

    name: str
    healthy: int
    desired: int
    waiting: deque[tuple[_Pod, int]] = field(default_factory=deque)
    """Refused ones with when they were refused last, the longest first."""

    def __post_init__(self) -> None:
        self.allowed_at_first = max(1, self.healthy - self.desired)

    @property
    def allows(self) -> bool:
        return self.healthy > self.desired


@dataclass(eq=False)
class _Pod:
    """A pod and all that replaced it."""

    number: int
    node: int
    kind: Kind
    budgets: tuple[_Budget, ...]
    ends_s: int
    comes_back: bool
    after_end: bool
    """Whether its controller waits for the old one's end (StatefulSet)."""
    moves: int = 0
    ready: bool = True
    life: int = 0
    asked_at: int = -1
    """When this incarnation was first asked to go."""


@dataclass
class _NodeRun:
    """One planned node's own figures."""

    left: set[_Pod] = field(default_factory=set)
    standing: dict[int, _Pod] = field(default_factory=dict)
    alone_s: int = 0
    kept_by: str = ""
    evicted: int = 0
    again: int = 0
    landed: int = 0


class PodDrains:
    """See the module."""

    def __init__(
        self, cluster: ClusterSnapshot, policy: Policy, nodes: Sequence[NodePlan], durations: Durations
    ) -> None:
        self._durations = durations
        self._retry_s = max(1, policy.drain.retry_s)
        self._nodes = sorted(cluster.nodes, key=lambda node: node.name)
        self._number = {node.name: n for n, node in enumerate(self._nodes)}
        drained = [n for n in nodes if any(step.kind is StepKind.DRAIN for step in n.steps)]
        self._runs = {self._number[n.name]: _NodeRun() for n in drained if n.name in self._number}
        self._pods: list[_Pod] = []
        self._homeless: dict[int, _Pod] = {}
        self._budgets = _Index(cluster.budgets)
        book = KindBook(cluster)
        self._stand(cluster, policy, book)
        waiting = [policy.soft_taint and n in self._runs for n in range(len(self._nodes))]
        self._places = Places(cluster, self._nodes, book, waiting)

    @property
    def moved(self) -> int:
        """Pods that were evicted at least once."""
        return sum(1 for pod in self._pods if pod.moves)

    def _stand(self, cluster: ClusterSnapshot, policy: Policy, book: KindBook) -> None:
        """Every pod where it is; those that a drain evicts are followed."""
        for pod in sorted(cluster.pods, key=lambda p: p.ref):
            if pod.finished or pod.node not in self._number:
                continue
            node, kind = self._number[pod.node], book.kind_of(pod)
            kind.at[node] = kind.at.get(node, 0) + 1
            run = self._runs.get(node)
            if run is not None and decide_fate(pod, policy.drain).fate is Fate.EVICT:
                each = self._pod(pod, node, kind)
                self._pods.append(each)
                run.standing[each.number] = each

    def _pod(self, pod: Pod, node: int, kind: Kind) -> _Pod:
        return _Pod(
            number=len(self._pods),
            node=node,
            kind=kind,
            budgets=self._budgets.of(pod),
            ends_s=self._durations.pod_ends_s(pod),
            comes_back=bool(pod.owner_kind),
            after_end=pod.owner_kind == "StatefulSet",
            ready=pod.ready,
        )

    # -- the drain of one node ---------------------------------------------------------------------------------------

    def begin(self, timeline: Timeline, node: str) -> None:
        """Ask for every pod, in the order of the drain."""
        number = self._number[node]
        run = self._runs.get(number)
        if run is None:  # its way has no drain
            timeline.drained(node, 0)
            return
        self._places.cordon(number)
        pods = list(run.standing.values())
        run.left = set(pods)
        run.alone_s = self._alone_s(pods, timeline.wave)
        for pod in pods:
            self._ask(timeline, pod)
        if not pods:
            timeline.drained(node, 0)

    def returned(self, timeline: Timeline, node: str) -> None:
        """It takes pods again, first of all those that found no place."""
        number = self._number[node]
        if number in self._runs and not self._nodes[number].unschedulable:
            self._places.uncordon(number, done=True)
        self._place_homeless(timeline)

    def _alone_s(self, pods: Sequence[_Pod], wave: WaveRun) -> int:
        """Without other nodes in the way: pods of one budget still go one batch behind the other."""
        shares = Counter(b for p in pods if p.ready for b in p.budgets)
        batches = max((-(-count // b.allowed_at_first) for b, count in shares.items()), default=1)
        for budget, count in shares.items():
            wave.queue(budget.name, count, budget.allowed_at_first)
        ready = -(-self._durations.pod_ready_s // self._retry_s) * self._retry_s
        return max((p.ends_s for p in pods), default=0) + (batches - 1) * ready

    def _ask(self, timeline: Timeline, pod: _Pod) -> None:
        """One try of one eviction. A pod that is not ready takes nothing from a budget."""
        wave = timeline.wave
        short = next((b for b in pod.budgets if not b.allows), None) if pod.ready else None
        if short is not None:
            wave.refusals += 1
            if pod.asked_at < 0:
                pod.asked_at = timeline.now
                wave.refused += 1
            self._runs[pod.node].kept_by = short.name
            short.waiting.append((pod, timeline.now))
            return
        self._evict(timeline, pod)

    def _evict(self, timeline: Timeline, pod: _Pod) -> None:
        run, wave = self._runs[pod.node], timeline.wave
        if pod.ready:
            for budget in pod.budgets:
                budget.healthy -= 1
        pod.moves, pod.ready, pod.asked_at, pod.life = pod.moves + 1, False, -1, pod.life + 1
        wave.evictions += 1
        wave.moved_again += pod.moves > 1
        run.evicted += 1
        run.again += pod.moves > 1
        run.standing.pop(pod.number, None)
        old = pod.node
        timeline.at(timeline.now + pod.ends_s, lambda: self._ended(timeline, pod, old))
        if pod.comes_back and not pod.after_end:
            self._place(timeline, pod)

    def _ended(self, timeline: Timeline, pod: _Pod, old: int) -> None:
        run = self._runs[old]
        self._places.leave(pod.kind, old)
        if pod.comes_back and pod.after_end:
            self._place(timeline, pod)
        self._places.emptier(old)
        if self._homeless:
            self._place_homeless(timeline)
        run.left.discard(pod)
        if not run.left:
            self._empty(timeline, old)

    def _empty(self, timeline: Timeline, number: int) -> None:
        run = self._runs[number]
        timeline.drained(self._nodes[number].name, run.alone_s, kept_by=run.kept_by)

    # -- replacements ------------------------------------------------------------------------------------------------

    def _place(self, timeline: Timeline, pod: _Pod) -> None:
        node = self._places.find(pod.kind)
        if node is None:
            self._homeless[pod.number] = pod
            return
        self._homeless.pop(pod.number, None)
        self._places.enter(pod.kind, node)
        pod.node, life = node, pod.life
        run = self._runs.get(node)
        if run is not None:
            run.standing[pod.number] = pod
            run.landed += self._nodes[node].name not in timeline.done
        timeline.at(timeline.now + self._durations.pod_ready_s, lambda: self._ready(timeline, pod, life))

    def _place_homeless(self, timeline: Timeline) -> None:
        """Try again what found no place; a class for which one pod finds none is asked only once."""
        hopeless: set[int] = set()
        for pod in list(self._homeless.values()):
            if pod.kind.number not in hopeless:
                self._place(timeline, pod)
                if pod.number in self._homeless:
                    hopeless.add(pod.kind.number)

    def _ready(self, timeline: Timeline, pod: _Pod, life: int) -> None:
        """It counts for its budgets again, and one that waits for them may try when its time comes."""
        if pod.life != life:
            return
        pod.ready = True
        for budget in pod.budgets:
            budget.healthy += 1
            if budget.waiting:
                self._wake(timeline, budget)

    def _wake(self, timeline: Timeline, budget: _Budget) -> None:
        waiter, since = budget.waiting.popleft()
        tries = max(1, -(-(timeline.now - since) // self._retry_s))
        timeline.wave.refusals += tries - 1
        timeline.at(since + tries * self._retry_s, lambda: self._ask(timeline, waiter))

    # -- the end -----------------------------------------------------------------------------------------------------

    def tell(self, simulation: Simulation) -> Simulation:
        """The figures that only following each pod gives."""
        moves = Counter(pod.moves for pod in self._pods if pod.moves)
        rows = [Busy(self._nodes[n].name, r.evicted, r.again, r.landed) for n, r in self._runs.items()]
        rows.sort(key=lambda row: (-row.moved_again, -row.evicted, row.node))
        return replace(
            simulation,
            moves=dict(sorted(moves.items())),
            busiest=tuple(rows[:BUSIEST]),
            homeless=len(self._homeless),
        )


class _Index:
    """Budgets by namespace, asked once for each set of labels."""

    def __init__(self, budgets: Sequence[PodDisruptionBudget]) -> None:
        self._by_namespace: dict[str, list[tuple[PodDisruptionBudget, _Budget]]] = {}
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[_Budget, ...]] = {}
        for b in sorted(budgets, key=lambda b: (b.namespace, b.name)):
            account = _Budget(f"{b.namespace}/{b.name}", b.current_healthy, b.desired_healthy)
            self._by_namespace.setdefault(b.namespace, []).append((b, account))

    def of(self, pod: Pod) -> tuple[_Budget, ...]:
        """Those that bound a pod."""
        key = (pod.ref.namespace, tuple(sorted(pod.labels.items())))
        if key not in self._known:
            rows = self._by_namespace.get(pod.ref.namespace, ())
            self._known[key] = tuple(account for budget, account in rows if budget.matches(pod))
        return self._known[key]
