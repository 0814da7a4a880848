"""What "at most so many nodes out at once" means: one rule for the drain proof, the simulation and the engine.

Decision: one index answers for all three, because three readings of a limit would come to differ, and a plan proven
under one of them would then be run under another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollout.domain.plan import Limit

FLEET_LIMIT = "max_unavailable"
"""Name of the limit over the whole fleet."""

NOBODY: frozenset[str] = frozenset()


def count_of(share: str, whole: int) -> int:
    """A count (`3`) or a share of `whole` (`10%`, rounded down) as a count; a share gives one at least."""
    if share.endswith("%"):
        return max(1, whole * int(share[:-1]) // 100)
    return int(share)


class LimitIndex:
    """Answers whether a node may go out of service while others are out.

    `max_unavailable` is the policy's text, `fleet` the number of nodes it is a share of. Costs of a question grow with
    the limits that name the node and the nodes out, never with the fleet.
    """

    def __init__(self, limits: Sequence[Limit], max_unavailable: str, fleet: int) -> None:
        self.most = count_of(max_unavailable, fleet)
        self.limits = tuple(limits)
        self._of_node: dict[str, list[int]] = {}
        self._called: dict[str, list[int]] = {}
        self._at_once: dict[str, int] = {}
        for number, limit in enumerate(self.limits):
            self._called.setdefault(limit.name, []).append(number)
            if self.group_of(number):
                self._called.setdefault(at_once(limit.group), []).append(number)
                self._at_once[limit.group] = min(
                    limit.groups_at_once, self._at_once.get(limit.group, limit.groups_at_once)
                )
            for name in limit.nodes:
                self._of_node.setdefault(name, []).append(number)

    def numbers(self, name: str) -> Sequence[int]:
        """Places in `limits` of those that name a node."""
        return self._of_node.get(name, ())

    def group_of(self, number: int) -> str:
        """The group a limit counts in; empty when it is in none that is bounded."""
        limit = self.limits[number]
        return limit.group if limit.groups_at_once else ""

    def at_once(self, group: str) -> int:
        """How many limits of a group may have nodes out: the least that one of them says."""
        return self._at_once[group]

    def of_node(self, name: str) -> tuple[Limit, ...]:
        """Limits that name a node, in the plan's order."""
        return tuple(self.limits[number] for number in self.numbers(name))

    def tally(self, out: AbstractSet[str], fenced: AbstractSet[str] = NOBODY) -> Tally:
        """Count who is out once, for many questions. `fenced`: see `blocks`."""
        return Tally(self, out, fenced)

    def blocks(self, name: str, out: AbstractSet[str], fenced: AbstractSet[str] = NOBODY) -> str | None:
        """The name of the limit that keeps `name` in service; None: it may go.

        `out` are the nodes out of service, whoever's doing it is. `fenced` are quarantined ones: they are out of
        service, so they count wherever a number of nodes must stay; but they have given their slot back, so neither
        `max_unavailable` nor the groups at once count them. A node that is out already costs nothing more.
        """
        return self.tally(out, fenced).blocks(name)

    def broken(self, out: AbstractSet[str]) -> tuple[str, ...]:
        """Names of the limits that `out` exceeds, each once; empty when all hold."""
        return self.tally(out).broken()

    def holders(self, limit: str, out: Iterable[str]) -> tuple[str, ...]:
        """Those of `out` that use up the limit of this name, in name order."""
        if limit == FLEET_LIMIT:
            return tuple(sorted(out))
        wanted = frozenset(self._called.get(limit, ()))
        return tuple(sorted(name for name in out if not wanted.isdisjoint(self.numbers(name))))


class Tally:
    """Who is out, counted by limit and by group, as nodes go and come. A question costs the limits of one node."""

    def __init__(self, index: LimitIndex, out: AbstractSet[str], fenced: AbstractSet[str]) -> None:
        self._index = index
        self._out: set[str] = set()
        self._gone: set[str] = set()
        self._counts: dict[int, int] = {}
        self._groups: dict[str, dict[int, int]] = {}
        self._fenced = fenced
        for name in fenced:
            self._count(name)
        for name in out:
            self.take(name)

    def take(self, name: str) -> None:
        """A node more is out."""
        if name in self._out:
            return
        self._count(name)
        self._out.add(name)
        for number in self._index.numbers(name):
            group = self._index.group_of(number)
            if group:
                found = self._groups.setdefault(group, {})
                found[number] = found.get(number, 0) + 1

    def give(self, name: str) -> None:
        """A node is back in service; one that is fenced as well stays counted where a number must stay."""
        if name not in self._out:
            return
        self._out.discard(name)
        numbers = self._index.numbers(name)
        for number in numbers:
            group = self._index.group_of(number)
            if group:
                found = self._groups[group]
                found[number] -= 1
                if not found[number]:
                    del found[number]
        if name not in self._fenced:
            self._gone.discard(name)
            for number in numbers:
                self._counts[number] -= 1

    def _count(self, name: str) -> None:
        if name not in self._gone:
            self._gone.add(name)
            for number in self._index.numbers(name):
                self._counts[number] = self._counts.get(number, 0) + 1

    def blocks(self, name: str) -> str | None:
        """As `LimitIndex.blocks`."""
        if len(self._out) + (name not in self._out) > self._index.most:
            return FLEET_LIMIT
        more = 0 if name in self._gone else 1
        numbers = self._index.numbers(name)
        for number in numbers:
            limit = self._index.limits[number]
            if self._counts.get(number, 0) + more > limit.most_out:
                return limit.name
            group = self._index.group_of(number)
            if group:
                own = {n for n in numbers if self._index.group_of(n) == group}
                if len(self._groups.get(group, {}).keys() | own) > self._index.at_once(group):
                    return at_once(group)
        return None

    def broken(self) -> tuple[str, ...]:
        """Names of the limits that are exceeded, each once."""
        found = [FLEET_LIMIT] if len(self._out) > self._index.most else []
        for number in sorted(self._counts):
            limit, group = self._index.limits[number], self._index.group_of(number)
            if self._counts[number] > limit.most_out:
                found.append(limit.name)
            if group and len(self._groups.get(group, {})) > self._index.at_once(group):
                found.append(at_once(group))
        return tuple(dict.fromkeys(found))


def at_once(group: str) -> str:
    """Name of the limit on how many of a group have nodes out."""
    return f"{group} at once"
