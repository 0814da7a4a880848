"""Sets of which a number must stay in service, and how many of their nodes may be out for that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Members:
    """A set by node: how many of its members each node hosts."""

    by_node: Mapping[str, int]

    @property
    def total(self) -> int:
        """All members."""
        return sum(self.by_node.values())

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes that host members, in name order."""
        return tuple(sorted(self.by_node))

    def spare(self, keep: int) -> int:
        """Members that may be missing when `keep` stay."""
        return self.total - keep

    def most_out(self, spare: int) -> int:
        """Nodes that may be out together, whichever they are, while at most `spare` members are missing.

        Nodes that host more than that alone are no part of the answer: `too_heavy` names them.
        """
        gone = count = 0
        for members in sorted((n for n in self.by_node.values() if n <= spare), reverse=True):
            gone += members
            if gone > spare:
                break
            count += 1
        return count

    def too_heavy(self, spare: int) -> tuple[str, ...]:
        """Nodes that no one may take out while at most `spare` members are missing, in name order."""
        return tuple(sorted(name for name, members in self.by_node.items() if members > spare))


def counted(hosts: Iterable[str]) -> Members:
    """A set from the node of each member."""
    found: dict[str, int] = {}
    for host in hosts:
        found[host] = found.get(host, 0) + 1
    return Members(found)


def kept(text: str, total: int) -> int:
    """How many of `total` stay: a count, a share rounded up, or `quorum`: more than half."""
    if text == "quorum":
        return total // 2 + 1
    if text.endswith("%"):
        return -(-total * int(text[:-1]) // 100)
    return int(text)
