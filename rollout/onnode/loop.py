"""One thread that drives many sockets and timers, so that everything which may time out does so at the same time."""

from __future__ import annotations

import heapq
import itertools
import select
import socket
import time
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT

Turn = Callable[[], None]


def now_us() -> int:
    """Monotonic microseconds."""
    return time.monotonic_ns() // 1000


class Loop:
    """Sockets by what is to be called when they are ready, and timers; a context manager that closes the sockets."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._turns: dict[int, tuple[socket.socket, Turn]] = {}
        self._timers: list[tuple[int, int, Turn]] = []
        self._order = itertools.count()
        self.begun_us = now_us()

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

    def run(self, done: Callable[[], bool], until_us: int) -> None:
        """Until `done`, or until the monotonic time `until_us`."""
        while not done():
            left = until_us - now_us()
            if left <= 0:
                return
            for number, _events in self._poll.poll(self._pause(left)):
                if number in self._turns:  # an earlier turn of this round may have closed it
                    self._turns[number][1]()
            self._ring()

    def _pause(self, left_us: int) -> float:
        if self._timers:
            left_us = min(left_us, self._timers[0][0] - now_us())
        return max(0, left_us) / 1_000_000

    def _ring(self) -> None:
        now = now_us()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
