"""A scheduler approximation: where the replacement of a pod goes, or why it goes nowhere.

Filters are those of kube-scheduler's default profile that hard rules come from; scores are coarse: fewer untolerated
soft taints, fewer pods of the same owner, more room. Left out: preemption (priorities are ignored), preferred
affinities, image locality, volume binding beyond where a bound volume can be reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rollout.domain.inventory import ClusterSnapshot
from rollout.domain.node import Node
from rollout.planning.proof.admission import Admission
from rollout.planning.proof.kinds import Kind, KindBook
from rollout.planning.proof.queues import Candidates, Nodes, Queue
from rollout.planning.proof.room import PPM, Room
from rollout.planning.proof.rules import RuleBook, Rules

TAINT, SELECTOR = "an untolerated taint", "its node selector, node affinity or volume"
CORDON, PORT = "cordoned", "a free host port"
_LOOKED_AT = 6
"""Of many nodes so many that fit are compared: the queue has the best first, but does not know siblings."""
# Taints weigh 3, siblings 2, room 1: the weights of TaintToleration, PodTopologySpread and NodeResourcesFit.
_TAINT_WEIGHT, _SIBLING_WEIGHT = 3 * PPM, 2 * PPM


class _Seat:
    """What placing needs of a class, worked out once."""

    __slots__ = ("candidates", "queue", "rules")

    def __init__(self, candidates: Candidates, queue: Queue, rules: Rules) -> None:
        self.candidates = candidates
        self.queue = queue
        self.rules = rules


class Places:
    """Nodes by number, in name order, with what is on them. `waiting` names nodes under our soft taint."""

    def __init__(
        self, cluster: ClusterSnapshot, nodes: Sequence[Node], book: KindBook, waiting: Sequence[bool]
    ) -> None:
        up = [not node.unschedulable for node in nodes]
        self.room = Room(nodes)
        self._nodes = Nodes(self.room, up, waiting)
        self._admission = Admission(nodes, cluster.claims)
        for kind in book.kinds:
            for number, pods in kind.at.items():
                self.room.change(kind, number, pods)
        self._rules = RuleBook(nodes, book.kinds, cluster.namespaces, self._admission, up)
        self._seats: dict[int, _Seat] = {}
        self._candidates: dict[tuple[object, ...], Candidates] = {}
        self._queues: dict[tuple[object, ...], Queue] = {}

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
        self._nodes.up[node] = False
        self._rules.reopened(node)

    def uncordon(self, node: int, *, done: bool) -> None:
        """A node takes pods again. `done`: it has lost our soft taint."""
        self._nodes.up[node] = True
        if done:
            self._nodes.waiting[node] = False
        self._rules.reopened(node)
        self._nodes.better.append(node)

    def emptier(self, node: int) -> None:
        """Pods have left a node: those that tolerate a cordon may like it better now."""
        self._nodes.better.append(node)

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
        return self._seat(kind).candidates.profile.over_cordon

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
        for node in range(self._nodes.count):
            if node not in fitting:
                found[SELECTOR] += 1
            elif node not in seat.candidates.members:
                found[TAINT] += 1
            elif not self._nodes.is_up(node, seat.candidates.profile):
                found[CORDON] += 1
            else:
                short = self.room.shortage(kind, node) or (PORT if self.room.port_taken(kind, node) else "")
                found[short or seat.rules.broken(node) or "none"] += 1
        return found

    def find(self, kind: Kind) -> int | None:
        """The node that takes one more pod of a class now; None when none does."""
        seat, at = self._seat(kind), kind.at
        best, best_score, seen = None, -1, 0
        for node in seat.queue.with_room(kind):
            if seat.rules.any and seat.rules.broken(node):
                continue
            siblings = at.get(node, 0)
            score = self._score(seat.candidates, node, siblings)
            if score > best_score:
                best, best_score = node, score
            seen += 1
            if not seat.queue.is_short and (seen >= _LOOKED_AT or (seen == 1 and not siblings)):
                break
        seat.queue.put_back()
        return best

    # -- worked out once ---------------------------------------------------------------------------------------------

    def _score(self, candidates: Candidates, node: int, siblings: int) -> int:
        taints = _TAINT_WEIGHT // (1 + self._nodes.repelled(candidates, node))
        return taints + _SIBLING_WEIGHT // (1 + siblings) + max(self.room.free_ppm(node), -PPM) + PPM

    def _seat(self, kind: Kind) -> _Seat:
        found = self._seats.get(kind.number)
        if found is None:
            candidates = self._candidates_of(kind)
            sizes = (id(candidates), kind.cpu, kind.memory, kind.extra)
            queue = self._queues.get(sizes)
            if queue is None:
                queue = self._queues[sizes] = Queue(self._nodes, candidates)
            found = self._seats[kind.number] = _Seat(candidates, queue, self._rules.of(kind))
        return found

    def _candidates_of(self, kind: Kind) -> Candidates:
        profile, wanted = self._admission.profile(kind), self._admission.wanted(kind)
        key = (wanted, profile.key())
        found = self._candidates.get(key)
        if found is None:
            nodes = [n for n in self._admission.fitting(wanted) if self._admission.is_open(n, profile)]
            repels = {n: self._admission.repels(n, profile) for n in nodes if self._admission.soft[n]}
            found = self._candidates[key] = Candidates(nodes, profile, repels)
        return found
