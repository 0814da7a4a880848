"""What packing is given and what it gives."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.domain.node import Node
from rollout.domain.plan import Limit, Wave


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
