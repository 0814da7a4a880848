"""The pods of a snapshot as replicas that move: each keeps its identity while one pod is replaced by the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import Pod, PodDisruptionBudget, PodRef
from rollout.domain.plan import Going
from rollout.domain.policy import DrainRules
from rollout.planning.drain import Fate, decide_fate
from rollout.planning.proof.budgets import Allowance, count
from rollout.planning.proof.kinds import Kind, KindBook

_OWN_SCHEDULERS = ("default-scheduler", "")


class Replica:
    """One pod and its successors. `node` is the number of the node it is on; None: it waits for a place, or is gone.

    Decision: a replacement is as Ready as the pod it replaces was. That of a broken pod is taken to be broken too, and
    that of a sound one to become Ready once it has a place.
    """

    __slots__ = (
        "allowances",
        "first_refusal",
        "going",
        "home",
        "kind",
        "lands_on",
        "left",
        "made",
        "node",
        "notes",
        "pod",
        "ready",
        "refused_by",
        "remedy",
        "restless",
        "stuck",
        "waits_on",
        "why",
    )

    def __init__(self, pod: Pod, kind: Kind, node: int | None, allowances: tuple[Allowance, ...]) -> None:
        self.pod = pod
        self.kind = kind
        self.home = node
        self.node = node
        self.left = node
        """The node it was evicted from last."""
        self.allowances = allowances
        self.ready = pod.ready or not pod.node
        self.first_refusal: tuple[str, str] | None = None
        """Why, and what shortens it, when its first eviction was refused."""
        self.refused_by: Allowance | None = None
        self.restless = 0
        """How often its replacement came to a node that is being emptied."""
        self.made = node is None and bool(pod.ref.uid)
        """The pod that waits for a place is there already, whatever the order of its StatefulSet."""
        self.stuck: tuple[str, str] | None = None
        """Why it never goes from a node it was moved to, and what to change."""
        self.waits_on: Replica | None = None
        """The member of its StatefulSet that must be Ready first."""
        self.going: Going | None = None
        self.why = self.remedy = self.lands_on = ""
        self.notes: list[str] = []

    @property
    def in_set(self) -> bool:
        """Whether its owner replaces pods in order, and each only when its predecessor is gone."""
        return self.pod.owner_kind == "StatefulSet"

    @property
    def ordinal(self) -> int:
        """Its number in its StatefulSet; 0 for others."""
        number = self.pod.ref.name.rpartition("-")[2]
        return int(number) if self.in_set and number.isdecimal() else 0

    @property
    def placed_by_others(self) -> bool:
        """Another scheduler finds its place: where cannot be told."""
        return self.pod.scheduling.scheduler not in _OWN_SCHEDULERS

    @property
    def is_replaced(self) -> bool:
        """Whether somebody makes a new pod once this one is gone."""
        return bool(self.pod.owner_kind) and not self.pod.terminating

    @property
    def ignores_budgets(self) -> bool:
        """The API evicts pods that have yet to start, or leave already, whatever their budget says."""
        return self.pod.terminating or (self.pod.phase == "Pending" and self.node == self.home)

    def settle(self, going: Going, why: str = "", remedy: str = "") -> None:
        """Say what becomes of it; only a `never` replaces what was said before."""
        if self.going is None or (going is Going.NEVER and self.going is not Going.NEVER):
            self.going, self.why, self.remedy = going, why, remedy

    def never(self, why: str, remedy: str) -> None:
        """Say that it never goes: from its own node, or from one that it was moved to."""
        here = self.left if self.node is None else self.node
        if self.going is None or here == self.home:
            self.settle(Going.NEVER, why, remedy)
        else:
            self.stuck = why, remedy

    @property
    def never_goes(self) -> bool:
        """Whether it has been given up."""
        return self.stuck is not None or self.going is Going.NEVER


class Roster:
    """All replicas that matter: those to evict by node, those without a place, members of StatefulSets."""

    def __init__(
        self, cluster: ClusterSnapshot, rules: DrainRules, planned: Iterable[int], names: Sequence[str]
    ) -> None:
        self.book = KindBook(cluster)
        self.on: dict[int, list[Replica]] = {number: [] for number in planned}
        self.pending: list[Replica] = []
        self.sets: dict[str, list[Replica]] = {}
        self._cluster = cluster
        self._allowances: dict[tuple[str, str], Allowance] = {}
        self._workloads = {work.uid: work for work in cluster.workloads}
        self._by_kind: dict[int, tuple[Allowance, ...]] = {}
        self._unready: dict[str, list[Pod]] | None = None
        number_of = {name: number for number, name in enumerate(names)}
        for pod in cluster.pods:
            self._enlist(pod, number_of.get(pod.node), rules)
        self._add_missing_members()
        for residents in self.on.values():
            residents.sort(key=_by_name)
        self.pending.sort(key=_by_name)
        for members in self.sets.values():
            members.sort(key=lambda replica: replica.ordinal)

    def _enlist(self, pod: Pod, node: int | None, rules: DrainRules) -> None:
        if pod.phase in ("Succeeded", "Failed"):
            return
        kind = self.book.kind_of(pod)
        if node is not None and not pod.terminating:
            kind.at[node] = kind.at.get(node, 0) + 1
        in_set = pod.owner_kind == "StatefulSet"
        moves = node in self.on and decide_fate(pod, rules).fate is Fate.EVICT
        waits = not pod.node and not pod.terminating and bool(pod.owner_kind)
        if not (in_set or moves or waits):
            return
        replica = Replica(pod, kind, node, self._allowances_of(pod, kind))
        if in_set:
            self.sets.setdefault(pod.owner_uid, []).append(replica)
        if moves:
            assert node is not None
            self.on[node].append(replica)
        elif waits:
            self.pending.append(replica)

    def _add_missing_members(self) -> None:
        """A StatefulSet that is short of pods makes them as soon as it can: they want places too."""
        for uid, members in self.sets.items():
            work, pattern = self._workloads.get(uid), members[0]
            present = {member.ordinal for member in members}
            for ordinal in range(work.replicas if work else 0):
                if ordinal not in present:
                    ref = PodRef(pattern.pod.ref.namespace, f"{pattern.pod.owner_name}-{ordinal}", "")
                    pod = replace(pattern.pod, ref=ref, node="", phase="Pending", ready=False, terminating=False)
                    members.append(Replica(pod, pattern.kind, None, pattern.allowances))
                    self.pending.append(members[-1])

    def _allowances_of(self, pod: Pod, kind: Kind) -> tuple[Allowance, ...]:
        found = self._by_kind.get(kind.number)
        if found is None:
            found = tuple(self._allowance(budget) for budget in self._cluster.budget_index.of(pod))
            self._by_kind[kind.number] = found
        return found

    def _allowance(self, budget: PodDisruptionBudget) -> Allowance:
        key = budget.namespace, budget.name
        found = self._allowances.get(key)
        if found is None:
            found = self._allowances[key] = self._open(budget)
        return found

    def _open(self, budget: PodDisruptionBudget) -> Allowance:
        if budget.observed:
            return Allowance(budget)
        chosen = [pod for pod in self._cluster.pods if budget.matches(pod)]
        healthy = sum(1 for pod in chosen if pod.ready and not pod.terminating)
        return Allowance(budget, count(budget, chosen, self._workloads), healthy)

    def unready_of(self, budget: PodDisruptionBudget) -> list[Pod]:
        """Pods of a budget that are not Ready, in name order."""
        if self._unready is None:
            self._unready = {}
            for pod in self._cluster.pods:
                if not pod.ready and not pod.finished and not pod.terminating:
                    self._unready.setdefault(pod.ref.namespace, []).append(pod)
        return sorted((p for p in self._unready.get(budget.namespace, ()) if budget.matches(p)), key=lambda p: p.ref)


def _by_name(replica: Replica) -> tuple[str, str]:
    return replica.pod.ref.namespace, replica.pod.ref.name


def blocking_sibling(replica: Replica, sets: Mapping[str, list[Replica]]) -> Replica | None:
    """The member of its StatefulSet, lower in number, that keeps it from being made again; None: none does.

    Sets are taken to be filled in order (podManagementPolicy OrderedReady, the default).
    """
    for other in sets.get(replica.pod.owner_uid, ()):
        if other.ordinal >= replica.ordinal:
            return None
        if other.node is None or not other.ready:
            return other
    return None
