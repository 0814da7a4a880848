"""Replacements on their way: they queue for places as pods queue before the scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollout.domain.node import Node
from rollout.domain.plan import Going
from rollout.planning.proof import words
from rollout.planning.proof.places import Places
from rollout.planning.proof.replicas import Replica, Roster, blocking_sibling

_TOO_OFTEN = 3
"""After so many landings on nodes that are being emptied, a replacement is taken to do so for ever."""


class Arrivals:
    """Finds places. `flying` are the nodes being emptied, kept by the caller; `done` those that are back."""

    def __init__(self, nodes: Sequence[Node], roster: Roster, places: Places, flying: Mapping[int, None]) -> None:
        self._nodes = nodes
        self._roster = roster
        self._places = places
        self._flying = flying
        self.done: set[int] = set()
        self.pending: list[Replica] = list(roster.pending)
        """Those without a place."""
        self.freed = False
        """Something came free since they looked last."""
        self.stuck: dict[int, list[Replica]] = {}
        """Replicas that were moved to a node and never go again from there, by node."""
        self._evicted: list[Replica] = []
        self._visited: set[int] = set()

    def take(self, replica: Replica) -> None:
        """A pod has left its node: its replacement, if anybody makes one, queues."""
        if replica.is_replaced:
            for allowance in replica.allowances:
                allowance.missing += replica.ready
            self._evicted.append(replica)
        else:
            self._goes(replica, "")

    def in_order(self, number: int) -> list[Replica]:
        """What is on a node: its own pods by name, then those that came, in the order of owners."""
        residents = self._roster.on[number]
        if number in self._visited:
            self._visited.discard(number)
            residents.sort(key=lambda r: (1, *_queue_key(r)) if r.home != number else (0, "", "", 0, False))
        return residents

    def place_evicted(self) -> int:
        """Replacements of what just left, and whoever waits for the place it left.

        A StatefulSet makes the next pod only when the old one is gone, and so queues behind the others.
        """
        if not self._evicted:
            return 0
        batch, self._evicted = self._evicted, []
        members = sorted((r for r in batch if r.in_set), key=_queue_key)
        left = self._place_all([r for r in batch if not r.in_set], at_once=True)
        placed = self.place_pending()
        left = self._place_all(left + self._place_all(members, at_once=True), at_once=True)
        self.pending += left
        return placed + len(batch) - len(left)

    def place_pending(self) -> int:
        """Those that wait look again when something came free."""
        if not self.pending or not self.freed:
            return 0
        self.freed = False
        batch = sorted(self.pending, key=_queue_key)
        self.pending = self._place_all(batch, at_once=False)
        return len(batch) - len(self.pending)

    def _place_all(self, batch: list[Replica], *, at_once: bool) -> list[Replica]:
        """Place what can be placed; what is left. Members of a StatefulSet come up one after another, so queue anew."""
        left: list[Replica] = []
        while batch:
            behind = [replica for replica in batch if self._is_behind(replica)]
            front = [replica for replica in batch if replica.waits_on is None]
            for replica in front:
                replica.made = True
            failed = [replica for replica in front if not self._place(replica, at_once=at_once)]
            left += failed
            if len(failed) == len(front):
                return left + behind
            batch = behind
        return left

    def _is_behind(self, replica: Replica) -> bool:
        ordered = replica.in_set and not replica.made
        replica.waits_on = blocking_sibling(replica, self._roster.sets) if ordered else None
        return replica.waits_on is not None

    def _place(self, replica: Replica, *, at_once: bool) -> bool:
        if replica.placed_by_others:
            self._ready_again(replica)
            self._goes(replica, "")
            return True
        number = self._places.find(replica.kind)
        if number is None:
            return False
        self._places.enter(replica.kind, number)
        replica.node = number
        self._ready_again(replica)
        self._arrive(replica, number, at_once=at_once)
        return True

    def _ready_again(self, replica: Replica) -> None:
        for allowance in replica.allowances:
            if replica.ready:
                allowance.slack += 1
                allowance.missing -= replica.home is not None

    def _arrive(self, replica: Replica, number: int, *, at_once: bool) -> None:
        if number in self._roster.on and number not in self.done:
            self._roster.on[number].append(replica)
            self._visited.add(number)
        if number in self._flying:
            replica.restless += 1
            if replica.restless >= _TOO_OFTEN:
                replica.never(*words.comes_back(self._nodes[number].name))
            return
        if replica.home is None or replica.going is not None:
            return
        name = self._nodes[number].name
        if at_once:
            self._goes(replica, name)
        elif self._places.only_home(replica.kind) == (number,):
            local = self._places.has_local_volume(replica.kind)
            replica.notes.append(words.down_meanwhile(name, local=local))
            self._goes(replica, name)
        elif replica.first_refusal is not None:
            self._goes(replica, name)
        else:
            replica.settle(Going.WAITS, *words.waits_for_place(name, replica.pod))
            replica.lands_on = name

    def _goes(self, replica: Replica, name: str) -> None:
        if replica.first_refusal is not None:
            replica.settle(Going.WAITS, *replica.first_refusal)
        else:
            replica.settle(Going.NOW)
        if replica.going is not Going.NEVER and not replica.lands_on:
            replica.lands_on = name

    def no_place(self, replica: Replica) -> None:
        """Say of a replacement that waits for a place that it waits for ever."""
        if replica.never_goes:
            return
        if replica.waits_on is not None:
            replica.never(*words.waits_for_sibling(replica.waits_on.pod))
        elif replica.restless and replica.left is not None:
            replica.never(*words.comes_back(self._nodes[replica.left].name))
        else:
            kind = replica.kind
            refusals, lost = self._places.refusals(kind), self._places.lost_claim(kind)
            replica.never(*words.no_place(replica.pod, refusals, lost))
        if replica.stuck is not None and replica.left is not None:
            self.stuck.setdefault(replica.left, []).append(replica)


def _queue_key(replica: Replica) -> tuple[str, str, int, bool]:
    """In the order of owners; of one owner, those that lost their place before those that never had one."""
    return replica.pod.ref.namespace, replica.pod.owner_name, replica.ordinal, replica.home is None
