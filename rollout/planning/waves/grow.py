"""How large each wave may be: by growth, and by what finished nodes can take.

A pod moves once when it lands on a node that is done. The first wave's pods cannot; from then on a wave is no larger
than what finished nodes have free, counting what earlier waves sent there (figures: real-cluster.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollout.planning.waves.candidate import Candidate
from rollout.planning.waves.capacity import Load

Room = tuple[int, int, int]
"""CPU in thousandths of a core, memory in bytes, pods by number."""
_RESOURCES = ("CPU", "memory", "pod slots")


@dataclass
class FinishedRoom:
    """What finished nodes still take."""

    loads: Mapping[str, Load]
    free: list[int] = field(default_factory=lambda: [0, 0, 0])

    def finish(self, wave: Sequence[Candidate], *, canary: bool) -> None:
        """A wave is done: its nodes are empty, and its pods went to finished nodes, the canary's elsewhere."""
        for one in wave:
            load = self.loads[one.node.name]
            for number in range(3):
                self.free[number] += max(0, load.offers[number] - load.stays[number])
                self.free[number] -= 0 if canary else load.moves[number]

    def fits(self, order: Sequence[Candidate]) -> tuple[int, str]:
        """How many nodes from the front of `order` send no more pods than fit, and the resource that ends it."""
        left = list(self.free)
        for count, one in enumerate(order):
            moves = self.loads[one.node.name].moves
            for number in range(3):
                left[number] -= moves[number]
            short = next((n for n in range(3) if left[n] < 0 and moves[n] > 0), None)
            if short is not None:
                return count, _RESOURCES[short]
        return len(order), ""


def next_size(order: Sequence[Candidate], growth: int, before: int, room: FinishedRoom | None) -> tuple[int, str]:
    """How many nodes from the front of `order` the next wave takes, at least one, and why not more."""
    size = max(1, growth) * before
    why = f"at most {growth} times the {before} node(s) before" if size < len(order) else "all that are left"
    size = min(size, len(order))
    if room is None:
        return size, why
    fitting, short = room.fits(order[:size])
    if fitting >= size:
        return size, why
    if fitting == 0:
        return 1, f"one at a time: finished nodes have no {short} free for the pods of the next"
    return fitting, f"finished nodes take the pods of {fitting} more: {short} ends it"
