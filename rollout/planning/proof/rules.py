"""What a class of pods asks of the pods around it: affinity, anti-affinity both ways, hard spread.

Decision: counts by domain are kept only for terms that somebody asks about, and each is counted once however many
classes share it. So a move costs what the terms about that one class cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollout.domain.node import Node
from rollout.domain.scheduling import SpreadTerm
from rollout.planning.proof.admission import Admission
from rollout.planning.proof.domains import Frame, SpreadTally, Tally, Values
from rollout.planning.proof.kinds import Group, Kind, Members, group_of_spread, group_of_term

AFFINITY, ANTI_AFFINITY, SPREAD = "required pod affinity", "required pod anti-affinity", "its hard topology spread"


class _Spread:
    """One constraint of a class, with the counts it looks at."""

    __slots__ = ("itself", "least_domains", "most_skew", "tally")

    def __init__(self, tally: SpreadTally, term: SpreadTerm, itself: bool) -> None:
        self.tally = tally
        self.most_skew = term.max_skew
        self.least_domains = term.min_domains
        self.itself = int(itself)

    def holds(self, node: int) -> bool:
        """Whether one more pod in the node's domain keeps the skew."""
        value = self.tally.values[node]
        if value is None or value not in self.tally.counts:
            return False
        low = self.tally.low() if self.tally.domains >= self.least_domains else 0
        return self.tally.counts[value] + self.itself - low <= self.most_skew


class Rules:
    """The rules of one class."""

    __slots__ = ("_among", "_near", "_shut", "_spread")

    def __init__(
        self, shut: tuple[Tally, ...], near: tuple[Tally, ...], among: bool, spread: tuple[_Spread, ...]
    ) -> None:
        self._shut = shut
        self._near = near
        self._among = among
        self._spread = spread

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._shut or self._near or self._spread)

    def broken(self, node: int) -> str:
        """The rule that keeps one more pod of the class from a node; empty when none does."""
        if any(tally.has(node) for tally in self._shut):
            return ANTI_AFFINITY
        if self._near and not self._near_holds(node):
            return AFFINITY
        if not all(one.holds(node) for one in self._spread):
            return SPREAD
        return ""

    def _near_holds(self, node: int) -> bool:
        if any(tally.values[node] is None for tally in self._near):
            return False
        if all(tally.has(node) for tally in self._near):
            return True
        # The first pod of a group that wants to be together may start anywhere.
        return self._among and not any(tally.counts for tally in self._near)


class RuleBook:
    """Rules of classes, made when first asked for, and kept up to date as pods move.

    `up` is the caller's own list of nodes that are not cordoned, which it keeps current.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        kinds: Sequence[Kind],
        namespaces: Mapping[str, Mapping[str, str]],
        admission: Admission,
        up: Sequence[bool],
    ) -> None:
        self._nodes = nodes
        self._namespaces = namespaces
        self._admission = admission
        self._up = up
        self._members = Members(kinds)
        self._values: dict[str, Values] = {}
        self._tallies: dict[tuple[str, tuple[Group, ...]], Tally] = {}
        self._frames: dict[tuple[object, ...], Frame] = {}
        self._spreads: dict[tuple[object, ...], SpreadTally] = {}
        self._over_taints: list[tuple[SpreadTally, Kind, list[bool]]] = []
        self._fed: dict[int, list[Tally | SpreadTally]] = {}
        self._closing: dict[int, list[Tally]] = {}
        self._made: dict[int, Rules] = {}
        self._index_holders(kinds)

    def of(self, kind: Kind) -> Rules:
        """The rules of a class."""
        found = self._made.get(kind.number)
        if found is None:
            found = self._made[kind.number] = self._make(kind)
        return found

    def change(self, kind: Kind, node: int, by: int) -> None:
        """`by` pods of a class more (or fewer) on a node."""
        for tally in self._fed.get(kind.number, ()):
            tally.change(node, by)

    def reopened(self, node: int) -> None:
        """A node was cordoned or uncordoned (`up` says which): constraints that honour taints count it, or not."""
        for tally, kind, lasting in self._over_taints:
            tally.include(node, lasting[node] and self._lets_in(kind, node))

    # -- making ------------------------------------------------------------------------------------------------------

    def values(self, key: str) -> Values:
        """The domain of each node under a topology key."""
        found = self._values.get(key)
        if found is None:
            found = self._values[key] = [node.labels.get(key) for node in self._nodes]
        return found

    def _index_holders(self, kinds: Sequence[Kind]) -> None:
        """Anti-affinity of pods that are there closes domains to those it means."""
        holders: dict[tuple[Group, str], Tally] = {}
        for kind in kinds:
            for term in kind.scheduling.anti_affinity:
                key = group_of_term(term, kind.pod, self._namespaces), term.topology_key
                tally = holders.get(key)
                if tally is None:
                    tally = holders[key] = Tally(self.values(term.topology_key))
                    for meant in self._members.of(key[0]):
                        self._closing.setdefault(meant.number, []).append(tally)
                tally.take_stock([kind])
                self._fed.setdefault(kind.number, []).append(tally)

    def _make(self, kind: Kind) -> Rules:
        terms = kind.scheduling
        if not (terms.affinity or terms.anti_affinity or terms.spread):
            return Rules(tuple(self._closing.get(kind.number, ())), (), False, ())
        meant = [group_of_term(term, kind.pod, self._namespaces) for term in terms.affinity]
        # A pod counts for affinity only when it is meant by all terms together.
        near = tuple(self._tally(term.topology_key, tuple(meant)) for term in terms.affinity)
        alone = [
            self._tally(term.topology_key, (group_of_term(term, kind.pod, self._namespaces),))
            for term in terms.anti_affinity
        ]
        spread = tuple(self._spread(kind, term) for term in terms.spread)
        shut = (*self._closing.get(kind.number, ()), *alone)
        return Rules(tuple(dict.fromkeys(shut)), near, all(group.has(kind) for group in meant), spread)

    def _tally(self, key: str, groups: tuple[Group, ...]) -> Tally:
        found = self._tallies.get((key, groups))
        if found is None:
            found = self._tallies[(key, groups)] = Tally(self.values(key))
            self._feed(found, [k for k in self._members.of(groups[0]) if all(g.has(k) for g in groups[1:])])
        return found

    def _feed(self, tally: Tally | SpreadTally, kinds: list[Kind]) -> None:
        tally.take_stock(kinds)
        for kind in kinds:
            self._fed.setdefault(kind.number, []).append(tally)

    def _spread(self, kind: Kind, term: SpreadTerm) -> _Spread:
        group = group_of_spread(term, kind.pod)
        keys = tuple(sorted({one.topology_key for one in kind.scheduling.spread}))
        rules = kind.scheduling
        who = (rules.node_selector, rules.node_terms) if term.honor_affinity else None
        taints = self._admission.profile(kind).key() if term.honor_taints else None
        key = (group, term.topology_key, keys, who, taints)
        tally = self._spreads.get(key)
        if tally is None:
            tally = self._spreads[key] = SpreadTally(self._frame(kind, term, keys))
            self._feed(tally, self._members.of(group))
            if term.honor_taints:
                self._over_taints.append((tally, kind, self._candidates(kind, term, keys)))
        return _Spread(tally, term, group.has(kind))

    def _frame(self, kind: Kind, term: SpreadTerm, keys: tuple[str, ...]) -> Frame:
        """The nodes that count for a constraint: shared with alike ones, unless taints make them change."""
        values = self.values(term.topology_key)
        if term.honor_taints:
            lasting = self._candidates(kind, term, keys)
            return Frame(values, [wanted and self._lets_in(kind, number) for number, wanted in enumerate(lasting)])
        rules = kind.scheduling
        key = (term.topology_key, keys, (rules.node_selector, rules.node_terms) if term.honor_affinity else None)
        found = self._frames.get(key)
        if found is None:
            found = self._frames[key] = Frame(values, self._candidates(kind, term, keys))
        return found

    def _candidates(self, kind: Kind, term: SpreadTerm, keys: tuple[str, ...]) -> list[bool]:
        """Nodes that count for a constraint, taints left out: those with all the keys, and as its policy says."""
        fits = self._fits(kind) if term.honor_affinity else [True] * len(self._nodes)
        return [fit and all(key in node.labels for key in keys) for fit, node in zip(fits, self._nodes, strict=True)]

    def _lets_in(self, kind: Kind, node: int) -> bool:
        profile = self._admission.profile(kind)
        return self._admission.is_open(node, profile) and (self._up[node] or profile.over_cordon)

    def _fits(self, kind: Kind) -> list[bool]:
        chosen = [False] * len(self._nodes)
        rules = kind.scheduling
        for number in self._admission.fitting((rules.node_selector, rules.node_terms, ())):
            chosen[number] = True
        return chosen
