"""Empty the nodes of a plan in thought, round by round, and write down what becomes of each pod.

A round: nodes start while the limits let them; every node in flight asks for the eviction of what is left on it, once
per pod; then the evicted pods are gone, their replacements find a place and become Ready, and nodes that are empty come
back. So within a round no budget is filled up again, which is the careful reading of nodes that are drained at once.
When a round changes nothing, something never will: the node that holds it is given back, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout.domain.limits import FLEET_LIMIT, LimitIndex
from rollout.domain.node import Node
from rollout.domain.plan import Going, Wave
from rollout.planning.proof import words
from rollout.planning.proof.budgets import Allowance, never_allows
from rollout.planning.proof.places import Places
from rollout.planning.proof.replicas import Replica, Roster, blocking_sibling

_TOO_OFTEN = 3
"""After so many landings on nodes that are being emptied, a replacement is taken to do so for ever."""


class Flight:
    """The state of the world while waves fly. `cordoned` are nodes that others cordoned: they stay so."""

    def __init__(
        self, nodes: Sequence[Node], roster: Roster, places: Places, limits: LimitIndex, cordoned: frozenset[int]
    ) -> None:
        self._nodes = nodes
        self._roster = roster
        self._places = places
        self._out = limits.tally(frozenset())
        self._cordoned = cordoned
        self._number = {node.name: number for number, node in enumerate(nodes)}
        self._flying: dict[int, None] = {}
        self._done: set[int] = set()
        self._visited: set[int] = set()
        """Nodes with pods that came since the last sweep: these go after the node's own, in the order of owners."""
        self._evicted: list[Replica] = []
        self._pending: list[Replica] = list(roster.pending)
        self._uncounted: dict[Allowance, None] = {}
        self._freed = False
        self.stuck: dict[int, list[Replica]] = {}
        """Replicas that were moved to a node and never go again from there, by node."""

    def fly(self, waves: Sequence[Wave]) -> None:
        """Take all waves through. Afterwards every replica that was on their nodes says what becomes of it."""
        names = {name for wave in waves for name in wave.nodes}
        for node in self._nodes:
            if node.name not in names and (node.ready is not True or node.unschedulable):
                self._out.take(node.name)
        for wave in waves:
            todo = [self._number[name] for name in wave.nodes]
            while todo or self._flying:
                todo = self._start(todo)
                if not self._round():
                    self._unknot()
        for replica in self._pending:
            if replica.home is not None:
                self._no_place(replica)

    # -- one round ---------------------------------------------------------------------------------------------------

    def _start(self, todo: list[int]) -> list[int]:
        """Start what may start; what must wait. One node at least is in flight: outages of others end some day."""
        if not todo:
            return todo
        left: list[int] = []
        for place, number in enumerate(todo):
            limit = self._out.blocks(self._nodes[number].name)
            if limit is None:
                self._take_off(number)
            elif limit == FLEET_LIMIT:
                left += todo[place:]
                break
            else:
                left.append(number)
        if not self._flying:
            self._take_off(left.pop(0))
        return left

    def _take_off(self, number: int) -> None:
        self._flying[number] = None
        self._out.take(self._nodes[number].name)
        self._places.cordon(number)

    def _round(self) -> bool:
        """Whether anything moved."""
        moved = sum(self._sweep(number) for number in self._flying)
        moved += self._place_evicted()
        moved += self._count_budgets()
        empty = [number for number in self._flying if not self._roster.on[number]]
        for number in empty:
            self._land(number)
            moved += self._place_pending()
        return bool(moved + self._place_pending() + len(empty))

    def _sweep(self, number: int) -> int:
        residents = self._roster.on[number]
        if not residents:
            return 0
        if number in self._visited:
            self._visited.discard(number)
            residents.sort(key=lambda r: (1, *_queue_key(r)) if r.home != number else (0, "", "", 0, False))
        left = [replica for replica in residents if not self._evict(replica, number)]
        gone = len(residents) - len(left)
        self._roster.on[number] = left
        if gone:
            self._freed = True
            self._places.emptier(number)
        return gone

    def _evict(self, replica: Replica, number: int) -> bool:
        """Whether the API lets it go."""
        if replica.never_goes:
            return False
        if not replica.ignores_budgets and not self._budget_lets_go(replica):
            return False
        replica.node, replica.left, replica.made = None, number, False
        if replica.pod.terminating:
            replica.settle(Going.NOW)
            return True
        self._places.leave(replica.kind, number)
        if replica.is_replaced:
            for allowance in replica.allowances:
                allowance.missing += replica.ready
            self._evicted.append(replica)
        else:
            self._goes(replica, "")
        return True

    def _budget_lets_go(self, replica: Replica) -> bool:
        allowances = replica.allowances
        if not allowances:
            return True
        if len(allowances) > 1:
            replica.never(*words.two_budgets([a.budget for a in allowances]))
            return False
        (allowance,) = allowances
        if not allowance.admits(ready=replica.ready):
            replica.refused_by = allowance
            if not allowance.counted and not allowance.trouble:
                self._uncounted[allowance] = None
            if replica.first_refusal is None:
                replica.first_refusal = _refusal(allowance)
            return False
        if allowance.spends(ready=replica.ready):
            allowance.slack -= 1
            allowance.last = replica.pod
        return True

    def _count_budgets(self) -> int:
        counted = len(self._uncounted)
        for allowance in self._uncounted:
            allowance.counted = True
        self._uncounted.clear()
        return counted

    # -- places ------------------------------------------------------------------------------------------------------

    def _place_evicted(self) -> int:
        """Replacements of what just left, and whoever waits for the place it left.

        A StatefulSet makes the next pod only when the old one is gone, and so queues behind the others.
        """
        if not self._evicted:
            return 0
        batch, self._evicted = self._evicted, []
        members = sorted((r for r in batch if r.in_set), key=_queue_key)
        left = self._place_all([r for r in batch if not r.in_set], at_once=True)
        placed = self._place_pending()
        left = self._place_all(left + self._place_all(members, at_once=True), at_once=True)
        self._pending += left
        return placed + len(batch) - len(left)

    def _place_pending(self) -> int:
        """Those that wait look again when something came free."""
        if not self._pending or not self._freed:
            return 0
        self._freed = False
        batch = sorted(self._pending, key=_queue_key)
        self._pending = self._place_all(batch, at_once=False)
        return len(batch) - len(self._pending)

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
        if number in self._roster.on and number not in self._done:
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

    def _land(self, number: int) -> None:
        """An empty node is back in service, on the new side."""
        del self._flying[number]
        self._done.add(number)
        self._come_back(number, done=True)

    def _come_back(self, number: int, *, done: bool) -> None:
        self._out.give(self._nodes[number].name)
        if number not in self._cordoned:
            self._places.uncordon(number, done=done)
            self._freed = True

    # -- when nothing moves ------------------------------------------------------------------------------------------

    def _unknot(self) -> None:
        """Find who never goes, say why, and give his node back."""
        roots = [number for number in self._flying if self._has_root(number)]
        for number in roots or list(self._flying)[-1:]:
            if number not in roots:
                self._explain_knot(number)
            self._give_back(number)
            self._place_pending()

    def _has_root(self, number: int) -> bool:
        # All of them are asked, since each is told why.
        return bool([replica for replica in self._roster.on[number] if self._is_root(replica)])

    def _is_root(self, replica: Replica) -> bool:
        """Whether a replica never goes for reasons of its own; says them."""
        if replica.never_goes:
            return True
        allowance = replica.refused_by
        if allowance is None or not allowance.hopeless(ready=replica.ready):
            return False
        if allowance.trouble:
            said = words.cannot_count(allowance)
        elif never_allows(allowance.budget):
            said = words.never_allowed(allowance.budget, replica.pod)
        else:
            said = words.not_met(allowance, self._roster.unready_of(allowance.budget))
        replica.never(*said)
        return True

    def _explain_knot(self, number: int) -> None:
        """Nobody is hopeless alone: a replacement without a place is waited for."""
        for replica in self._roster.on[number]:
            allowance = replica.refused_by
            pending = next((p for p in self._pending if p.home is not None and allowance in p.allowances), None)
            if allowance is None or pending is None or pending.home is None:
                continue
            if pending.home in self._done:
                self._no_place(pending)
                replica.settle(Going.WAITS, *words.waits_for_stuck(allowance, pending.pod))
            else:
                home, here = self._nodes[pending.home].name, self._nodes[number].name
                replica.never(*words.crossing(allowance, pending.pod, home, here))

    def _no_place(self, replica: Replica) -> None:
        """Say of a replacement that waits for a place that it waits for ever."""
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

    def _give_back(self, number: int) -> None:
        del self._flying[number]
        left = self._roster.on[number]
        self.stuck.setdefault(number, []).extend(replica for replica in left if replica.stuck is not None)
        for replica in left:
            if replica.going is None:
                replica.settle(Going.WAITS, *(replica.first_refusal or ("", "")))
        self._come_back(number, done=False)


def _refusal(allowance: Allowance) -> tuple[str, str]:
    if not allowance.counted and not allowance.trouble:
        return words.waits_for_count(allowance.budget)
    return words.waits_for_budget(allowance)


def _queue_key(replica: Replica) -> tuple[str, str, int, bool]:
    """In the order of owners; of one owner, those that lost their place before those that never had one."""
    return replica.pod.ref.namespace, replica.pod.owner_name, replica.ordinal, replica.home is None
