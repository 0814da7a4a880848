"""What "at most so many nodes out at once" means: one rule for the drain proof, the simulation and the engine.

Decision: one index answers for all three, because three readings of a limit would come to differ, and a plan proven
under one of them would then be run under another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

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
        self._most = count_of(max_unavailable, fleet)
        self._limits = tuple(limits)
        self._members = tuple(frozenset(limit.nodes) for limit in self._limits)
        self._of_node: dict[str, list[int]] = {}
        self._group_members: dict[str, dict[str, list[int]]] = {}
        for number, limit in enumerate(self._limits):
            grouped = limit.group and limit.groups_at_once
            by_node = self._group_members.setdefault(limit.group, {}) if grouped else {}
            for name in limit.nodes:
                self._of_node.setdefault(name, []).append(number)
                by_node.setdefault(name, []).append(number)

    def of_node(self, name: str) -> tuple[Limit, ...]:
        """Limits that name a node, in the plan's order."""
        return tuple(self._limits[number] for number in self._of_node.get(name, ()))

    def blocks(self, name: str, out: AbstractSet[str], fenced: AbstractSet[str] = NOBODY) -> str | None:
        """The name of the limit that keeps `name` in service; None: it may go.

        `out` are the nodes out of service, whoever's doing it is. `fenced` are quarantined ones: they are out of
        service, so they count wherever a number of nodes must stay; but they have given their slot back, so neither
        `max_unavailable` nor the groups at once count them. A node that is out already costs nothing more.
        """
        if len(out) + (name not in out) > self._most:
            return FLEET_LIMIT
        for number in self._of_node.get(name, ()):
            limit, members = self._limits[number], self._members[number]
            gone = _common(members, out) | _common(members, fenced) | {name}
            if len(gone) > limit.most_out:
                return limit.name
            if limit.group and limit.groups_at_once and self._groups(limit.group, out, name) > limit.groups_at_once:
                return f"{limit.group} at once"
        return None

    def broken(self, out: AbstractSet[str]) -> tuple[str, ...]:
        """Names of the limits that `out` exceeds, each once; empty when all hold."""
        found = [FLEET_LIMIT] if len(out) > self._most else []
        touched = sorted({number for name in out for number in self._of_node.get(name, ())})
        found += [
            self._limits[n].name for n in touched if len(_common(self._members[n], out)) > self._limits[n].most_out
        ]
        for number in touched:
            limit = self._limits[number]
            if limit.group and limit.groups_at_once and self._groups(limit.group, out) > limit.groups_at_once:
                found.append(f"{limit.group} at once")
        return tuple(dict.fromkeys(found))

    def holders(self, limit: str, out: Iterable[str]) -> tuple[str, ...]:
        """Those of `out` that use up the limit of this name, in name order."""
        members = self._named(limit)
        return tuple(sorted(name for name in out if members is None or name in members))

    def _named(self, name: str) -> AbstractSet[str] | None:
        """Nodes under a limit or a group; None: all nodes."""
        if name == FLEET_LIMIT:
            return None
        for group, members in self._group_members.items():
            if name == f"{group} at once":
                return members.keys()
        same = [members for limit, members in zip(self._limits, self._members, strict=True) if limit.name == name]
        return frozenset[str]().union(*same)

    def _groups(self, group: str, out: AbstractSet[str], *more: str) -> int:
        """How many limits of a group have nodes out, were `more` out as well."""
        by_node: Mapping[str, list[int]] = self._group_members[group]
        return len({number for name in (*out, *more) for number in by_node.get(name, ())})


def _common(members: frozenset[str], out: AbstractSet[str]) -> set[str]:
    """What both hold, walking the smaller one."""
    few, many = (out, members) if len(out) < len(members) else (members, out)
    return {name for name in few if name in many}
