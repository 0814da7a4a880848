"""Empty the nodes of a plan in thought, round by round, and write down what becomes of each pod.

A round: nodes start while the limits let them; every node in flight asks for the eviction of what is left on it, once
per pod; then the evicted pods are gone, their replacements find a place and become Ready, and nodes that are empty come
back. So within a round no budget is filled up again, which is the careful reading of nodes that are drained at once.
When a round changes nothing, something never will: the node that holds it is given back, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollout.domain.limits import FLEET_LIMIT, LimitIndex
from rollout.domain.node import Node
from rollout.domain.plan import Going, Wave
from rollout.planning.proof import words
from rollout.planning.proof.arrivals import Arrivals
from rollout.planning.proof.budgets import Allowance, never_allows
from rollout.planning.proof.places import Places
from rollout.planning.proof.replicas import Replica, Roster


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
        self._uncounted: dict[Allowance, None] = {}
        self._arrivals = Arrivals(nodes, roster, places, self._flying)

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
        for replica in self._arrivals.pending:
            if replica.home is not None:
                self._arrivals.no_place(replica)

    @property
    def stuck(self) -> Mapping[int, Sequence[Replica]]:
        """Replicas that were moved to a node and never go again from there, by node."""
        return self._arrivals.stuck

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
        moved += self._arrivals.place_evicted()
        moved += self._count_budgets()
        empty = [number for number in self._flying if not self._roster.on[number]]
        for number in empty:
            self._land(number)
            moved += self._arrivals.place_pending()
        return bool(moved + self._arrivals.place_pending() + len(empty))

    def _sweep(self, number: int) -> int:
        residents = self._arrivals.in_order(number)
        left = [replica for replica in residents if not self._evict(replica, number)]
        gone = len(residents) - len(left)
        self._roster.on[number] = left
        if gone:
            self._arrivals.freed = True
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
        self._arrivals.take(replica)
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

    def _land(self, number: int) -> None:
        """An empty node is back in service, on the new side."""
        del self._flying[number]
        self._arrivals.done.add(number)
        self._come_back(number, done=True)

    def _come_back(self, number: int, *, done: bool) -> None:
        self._out.give(self._nodes[number].name)
        if number not in self._cordoned:
            self._places.uncordon(number, done=done)
            self._arrivals.freed = True

    # -- when nothing moves ------------------------------------------------------------------------------------------

    def _unknot(self) -> None:
        """Find who never goes, say why, and give his node back."""
        roots = [number for number in self._flying if self._has_root(number)]
        for number in roots or list(self._flying)[-1:]:
            if number not in roots:
                self._explain_knot(number)
            self._give_back(number)
            self._arrivals.place_pending()

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
        explained = False
        for replica in self._roster.on[number]:
            allowance, pending = replica.refused_by, self._waited_for(replica)
            if allowance is None or pending is None or pending.home is None:
                continue
            explained = True
            if pending.home in self._arrivals.done:
                self._arrivals.no_place(pending)
                replica.settle(Going.WAITS, *words.waits_for_stuck(allowance, pending.pod))
            else:
                home, here = self._nodes[pending.home].name, self._nodes[number].name
                replica.never(*words.crossing(allowance, pending.pod, home, here))
        if not explained:
            # No rule explains it; a node that does not become empty is still no node to plan.
            for replica in self._roster.on[number]:
                replica.never(*(replica.first_refusal or words.NOBODY_KNOWS))

    def _waited_for(self, replica: Replica) -> Replica | None:
        """A replacement without a place whose health the refusing budget waits for."""
        pending = (p for p in self._arrivals.pending if p.home is not None)
        return next((p for p in pending if replica.refused_by in p.allowances), None)

    def _give_back(self, number: int) -> None:
        del self._flying[number]
        left = self._roster.on[number]
        self._arrivals.stuck.setdefault(number, []).extend(replica for replica in left if replica.stuck is not None)
        for replica in left:
            if replica.going is None:
                replica.settle(Going.WAITS, *(replica.first_refusal or ("", "")))
        self._come_back(number, done=False)


def _refusal(allowance: Allowance) -> tuple[str, str]:
    if not allowance.counted and not allowance.trouble:
        return words.waits_for_count(allowance.budget)
    return words.waits_for_budget(allowance)
