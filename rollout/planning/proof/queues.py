"""In what order nodes are looked at for a pod: the best first, without looking at all of them.

Decision: one heap for pods that may use the same nodes and ask for the same amounts. A node that has too little for
them leaves the heap, and comes back only when it got better: nodes only fill up until then. So full nodes are looked at
once, not once for every pod.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from rollout.planning.proof.admission import Profile
from rollout.planning.proof.kinds import Kind
from rollout.planning.proof.room import PPM, Room

FEW = 16
"""So many candidates are looked at whole, without a heap."""
_RANK = 2 * PPM
"""More than the part of a key that comes from room can be."""


class Candidates:
    """The nodes open to pods of one admission and toleration profile. `repels`: soft taints of others, where any."""

    __slots__ = ("members", "nodes", "profile", "repels")

    def __init__(self, nodes: list[int], profile: Profile, repels: dict[int, int]) -> None:
        self.nodes = nodes
        self.members = frozenset(nodes)
        self.profile = profile
        self.repels = repels


class Nodes:
    """What changes on nodes: who is up, who has our soft taint, and which got better, in order."""

    __slots__ = ("better", "count", "room", "up", "waiting")

    def __init__(self, room: Room, up: list[bool], waiting: Sequence[bool]) -> None:
        self.room = room
        self.count = len(up)
        self.up = up
        self.waiting = list(waiting)
        self.better: list[int] = []

    def is_up(self, node: int, profile: Profile) -> bool:
        """Whether a node takes pods of a toleration profile now."""
        return self.up[node] or profile.over_cordon

    def repelled(self, candidates: Candidates, node: int) -> int:
        """Soft taints of a node that these pods do not tolerate."""
        ours = self.waiting[node] and not candidates.profile.waits
        return candidates.repels.get(node, 0) + ours


class Queue:
    """Candidates for pods that ask for the same amounts, best first."""

    __slots__ = ("_candidates", "_heap", "_nodes", "_popped", "_read")

    def __init__(self, nodes: Nodes, candidates: Candidates) -> None:
        self._nodes = nodes
        self._candidates = candidates
        self._heap: list[int] | None = None
        self._popped: list[int] = []
        self._read = 0
        """How far the list of nodes that got better has been read."""

    @property
    def is_short(self) -> bool:
        """Whether all candidates are looked at anyway."""
        return len(self._candidates.nodes) <= FEW

    def with_room(self, kind: Kind) -> Iterator[int]:
        """Nodes that are up and have what the pods ask for. When done, or when enough were seen, call `put_back`."""
        profile, room = self._candidates.profile, self._nodes.room
        if self.is_short:
            for node in self._candidates.nodes:
                if not self._nodes.is_up(node, profile) or room.shortage(kind, node):
                    continue
                if not room.port_taken(kind, node):
                    yield node
            return
        heap, count, popped = self._filled(), self._nodes.count, self._popped
        while heap:
            key = heapq.heappop(heap)
            node = key % count
            if not self._nodes.is_up(node, profile) or node in popped or room.shortage(kind, node):
                continue
            now = self._key(node)
            if now > key:
                heapq.heappush(heap, now)
                continue
            popped.append(node)
            if not room.port_taken(kind, node):
                yield node

    def put_back(self) -> None:
        """Let the nodes that were seen be seen again."""
        if self._heap is not None:
            for node in self._popped:
                heapq.heappush(self._heap, self._key(node))
        self._popped.clear()

    def _filled(self) -> list[int]:
        """The heap, with the nodes that got better since it was last used."""
        candidates, better = self._candidates, self._nodes.better
        if self._heap is None:
            self._heap = [self._key(n) for n in candidates.nodes if self._nodes.is_up(n, candidates.profile)]
            heapq.heapify(self._heap)
        elif self._read < len(better):
            for node in dict.fromkeys(better[self._read :]):
                if node in candidates.members and self._nodes.is_up(node, candidates.profile):
                    heapq.heappush(self._heap, self._key(node))
        self._read = len(better)
        return self._heap

    def _key(self, node: int) -> int:
        taints = self._nodes.repelled(self._candidates, node)
        return (taints * _RANK + PPM - self._nodes.room.tightest[node]) * self._nodes.count + node
