"""One thread that drives many sockets and timers, so that everything which may time out does so at the same time."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

Turn = Callable[[], None]

_HEARTBEAT_US = 50_000
_STALL_US = 50_000
_MOST_STALLED_US = 2_500_000
_LAST_ROUNDS = 1000


def now_us() -> int:
    """Monotonic microseconds."""
    return time.monotonic_ns() // 1000


class Task(Protocol):
    """What a loop drives: it began its sockets and timers on the loop, and ends by itself or at its deadline."""

    until_us: int
    """Deadline in monotonic microseconds; it may change meanwhile."""

    @property
    def done(self) -> bool:
        """Whether nothing more can come."""


class Loop:
    """Sockets by what is to be called when they are ready, and timers; a context manager that closes the sockets."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._turns: dict[int, tuple[socket.socket, Turn]] = {}
        self._timers: list[tuple[int, int, Turn]] = []
        self._order = itertools.count()
        self.stalled_us = 0
        """How long this process was not let run, as far as that shows: time-outs are longer by this."""

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        for one, _turn in list(self._turns.values()):
            one.close()
        self._turns.clear()
        self._poll.close()

    def watch(self, one: socket.socket, events: int, turn: Turn) -> None:
        """Call `turn` whenever the socket is ready for `events`, or in error."""
        if one.fileno() in self._turns:
            self._poll.modify(one, events)
        else:
            self._poll.register(one, events)
        self._turns[one.fileno()] = (one, turn)

    def close(self, one: socket.socket) -> None:
        """Forget the socket and close it. Repeat-safe."""
        if self._turns.pop(one.fileno(), None) is not None:
            self._poll.unregister(one)
        one.close()

    def after(self, delay_us: int, turn: Turn) -> None:
        """Call `turn` once, in `delay_us` or a little later."""
        heapq.heappush(self._timers, (now_us() + delay_us, next(self._order), turn))

    def drive(self, tasks: Sequence[Task], last_us: int) -> None:
        """Until every task is done, or at its own deadline; at the latest until the monotonic time `last_us`.

        Deadlines of tasks are later by what this process was kept from running. What has arrived by then is still
        taken: an answer that waits in a socket is an answer.
        """
        while now_us() < last_us and not all(self._finished(one) for one in tasks):
            self._round(self._pause_us(_HEARTBEAT_US))
        for _ in range(_LAST_ROUNDS):
            if not self._round(0):
                return

    def _finished(self, one: Task) -> bool:
        return one.done or now_us() >= one.until_us + self.stalled_us

    def _round(self, pause_us: int) -> int:
        """Wait for at most `pause_us`, then call whatever is due; how many sockets were ready."""
        begun = now_us()
        ready = self._poll.poll(pause_us / 1_000_000)
        for number, _events in ready:
            if number in self._turns:  # an earlier turn of this round may have closed it
                self._turns[number][1]()
        if not ready:
            over = now_us() - begun - pause_us
            if over > _STALL_US:
                self.stalled_us = min(_MOST_STALLED_US, self.stalled_us + over)
        self._ring()
        return len(ready)

    def _pause_us(self, left_us: int) -> int:
        if self._timers:
            left_us = min(left_us, self._timers[0][0] - now_us())
        return max(0, left_us)

    def _ring(self) -> None:
        now = now_us()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
