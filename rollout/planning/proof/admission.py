"""Which nodes a class of pods may be on at all: what does not change while nodes are emptied and come back.

Node selector, required node affinity, the places of its volumes, taints other than those of a cordon and of ours, and
whether the node is Ready.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rollout.domain.fleet import VolumeClaim
from rollout.domain.node import TAINT_EVACUATE, TAINT_WAITING, Node, Taint, Toleration
from rollout.domain.scheduling import Labels, NodeTerm
from rollout.planning.proof.kinds import Kind

UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
WAITING = Taint(TAINT_WAITING, "any", "PreferNoSchedule")
_HARD = ("NoSchedule", "NoExecute")
_CHANGING = (UNSCHEDULABLE.key, TAINT_EVACUATE, TAINT_WAITING)


class Profile:
    """What a set of tolerations means for the taints that are there."""

    __slots__ = ("hard", "over_cordon", "soft", "waits")

    def __init__(self, tolerations: tuple[Toleration, ...], hard: Sequence[Taint], soft: Sequence[Taint]) -> None:
        self.hard = frozenset(t for t in hard if any(one.tolerates(t) for one in tolerations))
        self.soft = frozenset(t for t in soft if any(one.tolerates(t) for one in tolerations))
        self.over_cordon = any(one.tolerates(UNSCHEDULABLE) for one in tolerations)
        """It may be placed on a cordoned node."""
        self.waits = any(one.tolerates(WAITING) for one in tolerations)
        """Our soft taint says nothing to it."""

    def key(self) -> tuple[object, ...]:
        """Equal for profiles that mean the same."""
        return self.hard, self.soft, self.over_cordon, self.waits


Wanted = tuple[Labels, tuple[NodeTerm, ...], tuple[tuple[NodeTerm, ...], ...]]
"""Node selector, node affinity, and the node affinity of each volume."""


class Admission:
    """Answers by number of the node; nodes are in name order."""

    def __init__(self, nodes: Sequence[Node], claims: Iterable[VolumeClaim]) -> None:
        self._nodes = nodes
        self._claims = {(claim.namespace, claim.name): claim for claim in claims}
        self.hard = [tuple(t for t in n.taints if t.effect in _HARD and t.key not in _CHANGING) for n in nodes]
        self.soft = [tuple(t for t in n.taints if t.effect not in _HARD and t.key not in _CHANGING) for n in nodes]
        self._all_hard = list(dict.fromkeys(t for taints in self.hard for t in taints))
        self._all_soft = list(dict.fromkeys(t for taints in self.soft for t in taints))
        self._profiles: dict[tuple[Toleration, ...], Profile] = {}
        self._by_pair: dict[tuple[str, str], list[int]] = {}
        for number, node in enumerate(nodes):
            for pair in node.labels.items():
                self._by_pair.setdefault(pair, []).append(number)
            self._by_pair.setdefault(("metadata.name", node.name), []).append(number)

    def profile(self, kind: Kind) -> Profile:
        """What the tolerations of a class mean here."""
        found = self._profiles.get(kind.pod.tolerations)
        if found is None:
            found = self._profiles[kind.pod.tolerations] = Profile(kind.pod.tolerations, self._all_hard, self._all_soft)
        return found

    def wanted(self, kind: Kind) -> Wanted:
        """What a class asks of a node's name and labels, its volumes' places included."""
        places = tuple(sorted({c.node_terms for c in self._claims_of(kind) if c.node_terms}, key=repr))
        return kind.scheduling.node_selector, kind.scheduling.node_terms, places

    def lost_claim(self, kind: Kind) -> str:
        """Name of a claim whose volume is gone; empty when there is none."""
        return next((claim.name for claim in self._claims_of(kind) if claim.phase == "Lost"), "")

    def has_local_volume(self, kind: Kind) -> bool:
        """Whether some of its data is on one node's disk."""
        return any(claim.local for claim in self._claims_of(kind))

    def _claims_of(self, kind: Kind) -> list[VolumeClaim]:
        """Claims that bind a pod's successor too. An ephemeral volume's, named after the pod, ends with the pod."""
        names = (name for name in kind.pod.claims if not name.startswith(f"{kind.pod.ref.name}-"))
        found = (self._claims.get((kind.namespace, name)) for name in names)
        return [claim for claim in found if claim is not None]

    def fitting(self, wanted: Wanted) -> list[int]:
        """Nodes whose name and labels are as wanted, in order."""
        selector, terms, volumes = wanted
        found: Sequence[int] = self._narrow(selector, [terms, *volumes])
        return [n for n in found if self._admits(n, selector, terms, volumes)]

    def _narrow(self, selector: Labels, choices: Iterable[tuple[NodeTerm, ...]]) -> Sequence[int]:
        """Few nodes among which all fitting ones are."""
        best: Sequence[int] = range(len(self._nodes))
        for pair in selector:
            best = min(best, self._by_pair.get(pair, ()), key=len)
        for terms in choices:
            numbers = self._of_terms(terms)
            if numbers is not None:
                best = min(best, numbers, key=len)
        return best

    def _of_terms(self, terms: tuple[NodeTerm, ...]) -> Sequence[int] | None:
        """Nodes named by value in every one of the terms; None when some term names none."""
        found: set[int] = set()
        for term in terms:
            row = next((row for row in (*term.expressions, *term.fields) if row.operator == "In"), None)
            if row is None:
                return None
            found.update(number for value in row.values for number in self._by_pair.get((row.key, value), ()))
        return sorted(found) if terms else None

    def _admits(
        self, number: int, selector: Labels, terms: tuple[NodeTerm, ...], volumes: tuple[tuple[NodeTerm, ...], ...]
    ) -> bool:
        node = self._nodes[number]
        labels: Mapping[str, str] = node.labels
        if any(labels.get(key) != value for key, value in selector):
            return False
        return all(any(t.matches(node.name, labels) for t in choice) for choice in (terms, *volumes) if choice)

    def is_open(self, number: int, profile: Profile) -> bool:
        """Whether the node's lasting taints let a class in, and its kubelet is known to work."""
        taints = self.hard[number]
        if self._nodes[number].ready is not True and not taints:
            return False
        return all(t in profile.hard for t in taints)

    def repels(self, number: int, profile: Profile) -> int:
        """How many of the node's soft taints, ours left out, a class does not tolerate."""
        return sum(1 for t in self.soft[number] if t not in profile.soft)
