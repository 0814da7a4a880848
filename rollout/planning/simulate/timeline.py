"""Waves, limits and windows in simulated time: the engine's rules of who may begin when, without the engine's effects.

A pass over waiting nodes asks one node for each set of limits: nodes under the same limits get the same answer, and a
pass ends with the last free slot.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rollout.domain.limits import FLEET_LIMIT, LimitIndex
from rollout.domain.plan import NodePlan, Wave
from rollout.planning.simulate.durations import Durations
from rollout.planning.simulate.headroom import Headroom

WINDOWS = "windows and freezes"

Opening = Callable[[int], int]
"""From a second since the start to the first one, itself included, at which nodes may begin."""


class Drainer(Protocol):
    """Empties nodes. It calls `Timeline.drained` once for each node it was given."""

    def begin(self, timeline: Timeline, node: str) -> None:
        """The node is cordoned, and its pods are evicted from now on."""
        ...

    def returned(self, timeline: Timeline, node: str) -> None:
        """The node takes pods again."""
        ...


@dataclass
class WaveRun:
    """One wave as it went."""

    wave: Wave
    began_s: int = 0
    ended_s: int = 0
    evictions: int = 0
    moved_again: int = 0
    refused: int = 0
    refusals: int = 0
    most_out: int = 0
    node_seconds: int = 0
    """Of all its nodes together, had each been alone."""
    longest_s: int = 0
    shortest_beside_s: int = -1
    """Least that the steps beside the drain take on one of its nodes."""
    queued: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By budget: evictions of the wave that it bounds, and how many it lets go at once."""
    held: Counter[str] = field(default_factory=Counter)
    """Seconds in which nodes waited to begin, by the limit that kept them."""
    drained_late: Counter[str] = field(default_factory=Counter)
    """Seconds that nodes waited in their drain, by the budget that kept them."""
    headroom: tuple[int, int] = (-1, -1)

    def queue(self, budget: str, pods: int, allowed: int) -> None:
        """More evictions that one budget bounds."""
        had = self.queued.get(budget)
        self.queued[budget] = (had[0] + pods if had else pods, allowed)


class Timeline:
    """A rollout's nodes in simulated time. `foreign`: nodes that others have out of service."""

    def __init__(
        self,
        waves: Sequence[Wave],
        nodes: Mapping[str, NodePlan],
        limits: LimitIndex,
        durations: Durations,
        drainer: Drainer,
        *,
        soak_s: int,
        foreign: frozenset[str] = frozenset(),
        opening: Opening = lambda second: second,
        headroom: Headroom,
    ) -> None:
        self.now = 0
        self.runs = [WaveRun(wave) for wave in waves]
        self.out: set[str] = set(foreign)
        self.done: set[str] = set()
        self.late: list[str] = []
        self._nodes, self._limits, self._durations, self._drainer = nodes, limits, durations, drainer
        self._tally = limits.tally(self.out)
        self._soak_s, self._opening, self._headroom = soak_s, opening, headroom
        for name in foreign:
            headroom.gone(name)
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._at = -1
        self._left: list[deque[tuple[int, str]]] = []
        self._blocked: tuple[str, ...] = ()
        self._passed = 0
        self._left_over = 0
        self._draining: dict[str, int] = {}
        self._wakes_at = -1

    @property
    def wave(self) -> WaveRun:
        """The wave under way; behind the last one, the last one."""
        return self.runs[min(self._at, len(self.runs) - 1)]

    def at(self, second: int, act: Callable[[], None]) -> None:
        """Let something happen then; what is put down first happens first."""
        self._count += 1
        heapq.heappush(self._agenda, (max(second, self.now), self._count, act))

    def run(self) -> None:
        """From the first node's start to the end of the last wave. A node whose drain never ends is given up."""
        self._next_wave()
        while self._agenda or self._draining:
            if not self._agenda:
                self._give_up()
                continue
            self.now, _, act = heapq.heappop(self._agenda)
            act()

    # -- waves -------------------------------------------------------------------------------------------------------

    def _next_wave(self) -> None:
        self._at += 1
        if self._at >= len(self.runs):
            return
        run = self.wave
        run.began_s = self._passed = self.now
        self._blocked = ()
        self._left_over = len(run.wave.nodes)
        alike: dict[tuple[int, ...], deque[tuple[int, str]]] = {}
        for position, name in enumerate(run.wave.nodes):
            alike.setdefault(tuple(self._limits.numbers(name)), deque()).append((position, name))
        self._left = list(alike.values())
        self._pass()
        self._end_wave_if_over()

    def _pass(self) -> None:
        """Start every node that may begin now, in the wave's order."""
        if self._at >= len(self.runs):
            return
        run = self.wave
        for reason in self._blocked:
            run.held[reason] += self.now - self._passed
        self._passed, self._blocked = self.now, ()
        if self._left and not self._closed():
            self._blocked = self._start_able()

    def _start_able(self) -> tuple[str, ...]:
        """Start who may, and say what keeps the rest.

        Nodes under the same limits stand in one queue, queues in the order of their first nodes. A start only tightens
        limits, so nobody who was passed over becomes able by it: one walk suffices, and it ends with the last slot.
        """
        kept: dict[str, None] = {}
        place = 0
        while place < len(self._left):
            if len(self.out) >= self._limits.most:
                return (FLEET_LIMIT,)
            queue = self._left[place]
            kept_by = self._tally.blocks(queue[0][1])
            if kept_by is not None:
                kept[kept_by] = None
                place += 1
                continue
            del self._left[place]
            self._start(queue.popleft()[1])
            if queue:
                insort(self._left, queue)
        return tuple(kept)

    def _closed(self) -> bool:
        opens = self._opening(self.now)
        if opens <= self.now:
            return False
        self._blocked = (WINDOWS,)
        if self._wakes_at != opens:
            self._wakes_at = opens
            self.at(opens, self._pass)
        return True

    def _start(self, name: str) -> None:
        self.out.add(name)
        self._tally.take(name)
        self.wave.most_out = max(self.wave.most_out, len(self.out))
        self._headroom.gone(name)
        self.wave.headroom = self._headroom.least(self.wave.headroom)
        self.at(self.now + self._durations.before_drain_s(self._nodes[name]), lambda: self._drain(name))

    def _end_wave_if_over(self) -> None:
        run = self.wave
        if self._left_over:
            return
        run.ended_s = self.now + self._soak_s + self._durations.gate_s
        self.at(run.ended_s, self._next_wave)

    # -- one node ----------------------------------------------------------------------------------------------------

    def _drain(self, name: str) -> None:
        self._draining[name] = self.now
        self._drainer.begin(self, name)

    def drained(self, name: str, alone_s: int, *, kept_by: str = "", given_up: bool = False) -> None:
        """The node is empty now. `alone_s`: what that takes a node alone; `kept_by`: the budget it waited for last."""
        if name not in self._draining:
            return  # it was given up before
        node, run = self._nodes[name], self.wave
        spent = self.now - self._draining.pop(name)
        deadline = next((step.deadline_s for step in node.steps if step.kind.value == "drain"), spent)
        if given_up or spent > deadline:
            self.late.append(name)
        if kept_by and spent > alone_s:
            run.drained_late[f"budget {kept_by}"] += spent - alone_s
        after = self._durations.after_drain_s(node)
        beside = self._durations.before_drain_s(node) + after
        run.shortest_beside_s = beside if run.shortest_beside_s < 0 else min(run.shortest_beside_s, beside)
        alone = beside + alone_s
        run.node_seconds += alone
        run.longest_s = max(run.longest_s, alone)
        self.at(self.now + after, lambda: self._finish(name))

    def _finish(self, name: str) -> None:
        self.out.discard(name)
        self._tally.give(name)
        self._headroom.back(name)
        self.done.add(name)
        self._left_over -= 1
        self._drainer.returned(self, name)
        self._pass()
        self._end_wave_if_over()

    def _give_up(self) -> None:
        """Nothing will happen any more, and drains still wait: they end at their deadline, and are late."""
        self.drained(min(self._draining), 0, given_up=True)
