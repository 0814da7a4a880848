"""One line of the matrix: a target tried a few times, and the ways to try it (TCP, datagrams).

Tries do not add up in time. The first begins at once; while nothing has answered, the others begin at set times spread
over the deadline, each with a socket or number of its own, so that a late answer to an early try counts as that.
After an answer the next try begins at once, until as many were answered as were wanted.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Optional

from .loop import READ, WRITE, Loop, now_us

SPREAD_PERCENT = (0, 30, 60)
"""When tries begin at the latest, in percent of the deadline."""
MOST_TRIES = len(SPREAD_PERCENT)
_RECEIVE = 65536

Answer = Callable[[bytes], Optional[str]]  # noqa: UP045 - evaluated, also by Python 3.9
"""What bytes mean: None, more are needed; empty text, the right answer; other text, what is wrong with it."""
Facts = dict[str, Any]


class Cell:
    """What was tried and what came of it. `facts` are its fields in the document."""

    def __init__(self, facts: Facts, wanted: int = 1, spread_percent: Sequence[int] = SPREAD_PERCENT) -> None:
        self.facts = facts
        self._spread = spread_percent
        self.error = ""
        self.rtt_us: list[int] = []
        self._wanted = wanted
        self._sent_us: list[int] = []
        self._open: set[int] = set()
        self._send: Callable[[int], None] = lambda _: None

    def begin(self, loop: Loop, deadline_us: int, send: Callable[[int], None]) -> None:
        """Make the first try; `send` starts try number 0, 1, 2 and may raise OSError."""
        self._send = send
        self._next()
        for number, percent in enumerate(self._spread[1:], 1):
            loop.after(deadline_us * percent // 100, partial(self._due, number))

    def _due(self, number: int) -> None:
        if not self.done and len(self._sent_us) <= number:
            self._next()

    def _next(self) -> None:
        number = len(self._sent_us)
        self._sent_us.append(now_us())
        self._open.add(number)
        try:
            self._send(number)
        except OSError as error:
            self.failed(number, words(error))

    def answered(self, number: int, rtt_us: int | None = None) -> None:
        """Try `number` got its answer; `rtt_us` where the other side measured it."""
        if number not in self._open:
            return
        self._open.discard(number)
        self.rtt_us.append(now_us() - self._sent_us[number] if rtt_us is None else rtt_us)
        if not self.done and len(self._sent_us) < len(self._spread):
            self._next()

    def failed(self, number: int, text: str) -> None:
        """Try `number` ended badly; the next begins when it is due."""
        if number in self._open:
            self._open.discard(number)
            self.error = text

    def latest(self) -> int:
        """The youngest try that is still open, or -1: whom an error without a number belongs to."""
        return max(self._open, default=-1)

    @property
    def done(self) -> bool:
        """Whether nothing more can come of it."""
        exhausted = len(self._sent_us) == len(self._spread) and not self._open
        return len(self.rtt_us) >= self._wanted or exhausted

    def row(self) -> Facts:
        """The cell in the document. Without an answer there is always an error in words."""
        error = self.error
        if not self.rtt_us and not error:
            waited = (now_us() - self._sent_us[0]) // 1000 if self._sent_us else 0
            error = f"no answer within {waited} ms"
        return {
            **self.facts,
            "tries": len(self._sent_us),
            "ok": len(self.rtt_us),
            "error": "" if len(self.rtt_us) >= self._wanted else error,
            "rtt_us": list(self.rtt_us),
        }


class Stream:
    """One try over TCP: connect, send, and wait for the right answer (`answer` None: to be connected is enough)."""

    def __init__(
        self, loop: Loop, one: socket.socket, payload: bytes, answer: Answer | None, end: Callable[[str, bytes], None]
    ) -> None:
        self._loop, self._socket, self._left, self._answer, self._end = loop, one, payload, answer, end
        self._received = b""

    def begin(self, address: tuple[str, int]) -> None:
        """Start to connect; raises OSError."""
        code = self._socket.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._loop.watch(self._socket, WRITE, self._writable)

    def _writable(self) -> None:
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._finish(words(OSError(code, os.strerror(code))))
            return
        try:
            self._left = self._left[self._socket.send(self._left) :] if self._left else b""
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(words(error))
            return
        if self._answer is None:
            self._finish("")
        elif not self._left:
            self._loop.watch(self._socket, READ, self._readable)

    def _readable(self) -> None:
        try:
            received = self._socket.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self._finish(words(error))
            return
        assert self._answer is not None
        self._received += received
        verdict = self._answer(self._received)
        if verdict is None and not received:
            verdict = "the connection was closed before the answer"
        if verdict is not None:
            self._finish(verdict)

    def _finish(self, text: str) -> None:
        self._loop.close(self._socket)
        self._end(text, self._received)


class Streams:
    """A cell's tries over TCP, each with a fresh socket out of `sockets`.

    `measured`: reads microseconds out of the answer, where the other side has measured; else the whole try counts.
    """

    def __init__(
        self, cell: Cell, sockets: Sequence[socket.socket], address: tuple[str, int], payload: bytes,
        answer: Answer | None, measured: Callable[[bytes], int] | None = None,
    ) -> None:  # fmt: skip
        self._cell, self._sockets, self._address, self._payload, self._answer = cell, sockets, address, payload, answer
        self._measured = measured

    def begin(self, loop: Loop, deadline_us: int) -> None:
        """Make the first try."""

        def send(number: int) -> None:
            def end(text: str, received: bytes) -> None:
                if text:
                    self._cell.failed(number, text)
                else:
                    self._cell.answered(number, self._measured(received) if self._measured else None)

            Stream(loop, self._sockets[number], self._payload, self._answer, end).begin(self._address)

        self._cell.begin(loop, deadline_us, send)

    def close(self, loop: Loop) -> None:
        """Close what was not used, or is still waiting."""
        for one in self._sockets:
            loop.close(one)


class Datagrams:
    """A cell's tries over one connected datagram or raw socket; `number` says which try a packet answers, or -1."""

    def __init__(
        self, cell: Cell, one: socket.socket, make: Callable[[int], bytes], number: Callable[[bytes], int],
        reason: Callable[[OSError], str],
    ) -> None:  # fmt: skip
        self._cell, self._socket, self._make, self._number, self._reason = cell, one, make, number, reason

    def begin(self, loop: Loop, deadline_us: int) -> None:
        """Make the first try."""
        loop.watch(self._socket, READ, self._readable)
        self._cell.begin(loop, deadline_us, self._try)

    def _try(self, number: int) -> None:
        try:
            self._socket.send(self._make(number))
        except OSError as error:
            self._cell.failed(number, self._reason(error))

    def _readable(self) -> None:
        try:
            number = self._number(self._socket.recv(_RECEIVE))
        except BlockingIOError:
            return
        except OSError as error:
            self._cell.failed(self._cell.latest(), self._reason(error))
            return
        if number >= 0:
            self._cell.answered(number)

    def close(self, loop: Loop) -> None:
        """Close the socket."""
        loop.close(self._socket)


def words(error: OSError) -> str:
    """An error in the kernel's words, without the number."""
    return (error.strerror or str(error)).lower()


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
