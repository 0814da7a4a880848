"""A scheduler approximation: where the replacement of a pod goes, or why it goes nowhere.

Filters are those of kube-scheduler's default profile that hard rules come from; scores are coarse: fewer untolerated
soft taints, fewer pods of the same owner, more room. Left out: preemption (priorities are ignored), preferred
affinities, image locality, volume binding beyond where a bound volume can be reached.

Big sets of candidates are kept in a heap by their score without siblings. A placement takes the first few that fit, so
its costs do not grow with the fleet; a set of up to 16 is looked at whole.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import Node
from rollout.planning.proof.admission import Admission, Profile
from rollout.planning.proof.kinds import Kind, KindBook
from rollout.planning.proof.room import PPM, Room
from rollout.planning.proof.rules import RuleBook, Rules

TAINT, SELECTOR, CORDON = "an untolerated taint", "its node selector, node affinity or volume", "cordoned"
_FEW = 16
_LOOKED_AT = 6
# Taints weigh 3, siblings 2, room 1: the weights of TaintToleration, PodTopologySpread and NodeResourcesFit.
_TAINT_WEIGHT, _SIBLING_WEIGHT = 3 * PPM, 2 * PPM
_RANK = 4 * PPM
"""More than the part of a heap key that comes from room can be."""


class _Candidates:
    """The nodes of one static admission, for pods of one toleration profile."""

    __slots__ = ("cursor", "heap", "members", "nodes", "profile", "repels")

    def __init__(self, nodes: list[int], profile: Profile, repels: dict[int, int]) -> None:
        self.nodes = nodes
        self.members = frozenset(nodes)
        self.profile = profile
        self.repels = repels
        """Soft taints other than ours, where there are any."""
        self.heap: list[int] | None = None
        self.cursor = 0


class _Seat:
    """What placing needs of a class, worked out once. `failed` is where the log stood when no node fitted."""

    __slots__ = ("candidates", "failed", "rules")

    def __init__(self, candidates: _Candidates, rules: Rules) -> None:
        self.candidates = candidates
        self.rules = rules
        self.failed = -1


class Places:
    """Nodes by number, in name order, with what is on them. `waiting` names nodes under our soft taint."""

    def __init__(
        self, cluster: ClusterSnapshot, nodes: Sequence[Node], book: KindBook, waiting: Sequence[bool]
    ) -> None:
        self._nodes = nodes
        self._count = len(nodes)
        self.up = [not node.unschedulable for node in nodes]
        self._waiting = list(waiting)
        self.room = Room(nodes)
        self._admission = Admission(nodes, cluster.claims)
        for kind in book.kinds:
            for number, pods in kind.at.items():
                self.room.change(kind, number, pods)
        self._rules = RuleBook(nodes, book.kinds, cluster.namespaces, self._admission, self.up)
        self._seats: dict[int, _Seat] = {}
        self._pools: dict[tuple[object, ...], _Candidates] = {}
        # Numbers of nodes that got better for somebody: they came back, or pods left them.
        self._log: list[int] = []

    # -- changes -----------------------------------------------------------------------------------------------------

    def leave(self, kind: Kind, node: int) -> None:
        """One pod of a class has left a node."""
        self._change(kind, node, -1)

    def enter(self, kind: Kind, node: int) -> None:
        """One pod of a class is on a node from now on."""
        self._change(kind, node, 1)

    def _change(self, kind: Kind, node: int, by: int) -> None:
        left = kind.at.get(node, 0) + by
        if left:
            kind.at[node] = left
        else:
            kind.at.pop(node, None)
        self.room.change(kind, node, by)
        self._rules.change(kind, node, by)

    def cordon(self, node: int) -> None:
        """A node takes no more pods, except those that tolerate that."""
        self.up[node] = False
        self._rules.reopened(node)

    def uncordon(self, node: int, *, done: bool) -> None:
        """A node takes pods again. `done`: it has lost our soft taint."""
        self.up[node] = True
        if done:
            self._waiting[node] = False
        self._rules.reopened(node)
        self._log.append(node)

    def emptier(self, node: int) -> None:
        """Pods have left a node: those that tolerate a cordon may like it better now."""
        self._log.append(node)

    # -- questions ---------------------------------------------------------------------------------------------------

    def only_home(self, kind: Kind) -> tuple[int, ...]:
        """The nodes a class may be on at all, when they are at most one."""
        nodes = self._seat(kind).candidates.nodes
        return tuple(nodes) if len(nodes) <= 1 else ()

    def may_be_anywhere(self, kind: Kind) -> bool:
        """Whether any node is open to the class at all."""
        return bool(self._seat(kind).candidates.nodes)

    def over_cordon(self, kind: Kind) -> bool:
        """Whether the class may be placed on a cordoned node."""
        return self._admission.profile(kind).over_cordon

    def has_local_volume(self, kind: Kind) -> bool:
        """Whether some of its data is on one node's disk."""
        return self._admission.has_local_volume(kind)

    def lost_claim(self, kind: Kind) -> str:
        """Name of a claim whose volume is gone; empty when there is none."""
        return self._admission.lost_claim(kind)

    def refusals(self, kind: Kind) -> Counter[str]:
        """Why each node does not take one more pod of a class, counted by reason."""
        seat, found = self._seat(kind), Counter[str]()
        fitting = frozenset(self._admission.fitting(self._admission.wanted(kind)))
        for node in range(self._count):
            if node not in fitting:
                found[SELECTOR] += 1
            elif node not in seat.candidates.members:
                found[TAINT] += 1
            elif not self._is_up(node, seat.candidates.profile):
                found[CORDON] += 1
            else:
                found[self.room.shortage(kind, node) or seat.rules.broken(node) or "none"] += 1
        return found

    def find(self, kind: Kind) -> int | None:
        """The node that takes one more pod of a class now; None when none does."""
        seat = self._seat(kind)
        best, best_score, seen = None, -1, 0
        popped: list[int] = []
        for node in self._in_order(seat, popped):
            if self.room.shortage(kind, node) or (seat.rules.any and seat.rules.broken(node)):
                continue
            siblings = kind.at.get(node, 0)
            score = self._score(seat.candidates, node, siblings)
            if score > best_score:
                best, best_score = node, score
            seen += 1
            if seat.candidates.heap is not None and (seen >= _LOOKED_AT or (seen == 1 and not siblings)):
                break
        if seat.candidates.heap is not None:
            for node in popped:
                heapq.heappush(seat.candidates.heap, self._key(seat.candidates, node))
        seat.failed = len(self._log) if best is None and not seat.rules.any else -1
        return best

    # -- order of looking --------------------------------------------------------------------------------------------

    def _in_order(self, seat: _Seat, popped: list[int]) -> Iterator[int]:
        """Candidates that are up: the few in name order, the many best first. What was popped must be pushed back."""
        candidates = seat.candidates
        if seat.failed >= 0:
            # Nothing fitted then, and nodes only fill up: those that got better since are all there is to look at.
            fresh = sorted(set(self._log[seat.failed :]) & candidates.members)
            yield from (node for node in fresh if self._is_up(node, candidates.profile))
            return
        if len(candidates.nodes) <= _FEW:
            yield from (node for node in candidates.nodes if self._is_up(node, candidates.profile))
            return
        heap = self._heap(candidates)
        while heap:
            key = heapq.heappop(heap)
            node = key % self._count
            now = self._key(candidates, node)
            if not self._is_up(node, candidates.profile):
                continue
            if now > key:
                heapq.heappush(heap, now)
                continue
            if popped and node in popped:
                continue
            popped.append(node)
            yield node

    def _heap(self, candidates: _Candidates) -> list[int]:
        """The heap, with the nodes that got better since it was last used."""
        if candidates.heap is None:
            candidates.heap = [self._key(candidates, n) for n in candidates.nodes if self._is_up(n, candidates.profile)]
            heapq.heapify(candidates.heap)
        else:
            for node in dict.fromkeys(self._log[candidates.cursor :]):
                if node in candidates.members and self._is_up(node, candidates.profile):
                    heapq.heappush(candidates.heap, self._key(candidates, node))
        candidates.cursor = len(self._log)
        return candidates.heap

    def _is_up(self, node: int, profile: Profile) -> bool:
        return self.up[node] or profile.over_cordon

    def _repelled(self, candidates: _Candidates, node: int) -> int:
        ours = self._waiting[node] and not candidates.profile.waits
        return candidates.repels.get(node, 0) + ours

    def _key(self, candidates: _Candidates, node: int) -> int:
        room = min(max(self.room.free_ppm(node), -PPM), PPM)
        return (self._repelled(candidates, node) * _RANK + PPM - room) * self._count + node

    def _score(self, candidates: _Candidates, node: int, siblings: int) -> int:
        taints = _TAINT_WEIGHT // (1 + self._repelled(candidates, node))
        return taints + _SIBLING_WEIGHT // (1 + siblings) + max(self.room.free_ppm(node), -PPM) + PPM

    def _seat(self, kind: Kind) -> _Seat:
        found = self._seats.get(kind.number)
        if found is None:
            profile, wanted = self._admission.profile(kind), self._admission.wanted(kind)
            key = (wanted, profile.key())
            candidates = self._pools.get(key)
            if candidates is None:
                candidates = self._pools[key] = self._make(self._admission.fitting(wanted), profile)
            found = self._seats[kind.number] = _Seat(candidates, self._rules.of(kind))
        return found

    def _make(self, fitting: list[int], profile: Profile) -> _Candidates:
        nodes = [n for n in fitting if self._admission.is_open(n, profile)]
        repels = {n: self._admission.repels(n, profile) for n in nodes if self._admission.soft[n]}
        return _Candidates(nodes, profile, repels)
