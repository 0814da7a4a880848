"""Many numbered packets to an echo, for loss and round-trip time.

By ICMP where it is answered, since kernels answer it: what UDP's echo server waits for a processor is not the path's
time, and what its socket has no room for is not the path's loss. Where a policy lets no ICMP through, by UDP.
A packet's arrival is when the kernel took it in (SO_TIMESTAMPNS), not when this process was let run.

Not at a fixed rate but with few packets on the way at once: a slow machine then loses none of them itself, and one
packet's time is not the time it waited behind others. The window opens only as far as the path's own time demands:
with 20 ms there and back, two packets at a time would not be through before the deadline.
A packet that is not back in time gives its place to another, and still counts as received if it comes later.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .loop import READ, Loop, now_us

_SEQUENCE = struct.Struct("=II")
_STAMP = struct.Struct("=qq")
_SO_TIMESTAMPNS = 35
_ANCILLARY = 64
_GIVE_UP_US = 250_000
"""A way that answered nothing in this time gives place to the next."""
_SMALLEST_WINDOW, _LARGEST_WINDOW = 2, 32
_BUDGET_US = 2_000
"""Time per packet: how many are on the way at once must not depend on how many there are, or times do not compare."""
_UNKNOWN_RTT_US = 200_000
_PATIENCE_US = (60_000, 400_000)
_RESERVE_US = 400_000
"""How long before the deadline sending stops, so that the last packets can be back."""
_TAIL_US = 800_000
"""How long the last packets are waited for: a busy machine's hiccup must not look like loss."""
_TICK_US = 20_000
_RECEIVE = 2048
_NONCE = 0x6E6B7262


class Way(NamedTuple):
    """How packets go: their protocol, a connected socket, and how packets are made and told by their number (or -1)."""

    protocol: str
    socket: socket.socket
    make: Callable[[int], bytes]
    number: Callable[[bytes], int]


def numbered(size: int) -> tuple[Callable[[int], bytes], Callable[[bytes], int]]:
    """How a datagram of `size` bytes for an echo server is made from its number, and the number read again, or -1."""
    padding = bytes(max(0, size - _SEQUENCE.size))

    def number(packet: bytes) -> int:
        if len(packet) < _SEQUENCE.size:
            return -1
        nonce, found = _SEQUENCE.unpack_from(packet)
        return int(found) if nonce == _NONCE else -1

    return lambda n: _SEQUENCE.pack(_NONCE, n) + padding, number


class Burst:
    """`packets` packets by the first of `ways` that is answered; ends by itself, or is cut at the deadline.

    `name` makes the id out of the protocol that was used.
    """

    def __init__(self, facts: dict[str, Any], name: Callable[[str], str], ways: Sequence[Way], packets: int) -> None:
        self.facts = facts
        self._name = name
        self._ways = list(ways)
        self._way = self._ways.pop(0)
        self.rtt_us: list[int] = []
        self.reordered = 0
        self.sent = 0
        self.error = ""
        self.done = False
        self._packets = packets
        self._sent_us: dict[int, int] = {}
        self._sent_ns: dict[int, int] = {}
        self._begun_us = 0
        self._waiting: dict[int, int] = {}
        self._highest = -1
        self._fastest_us = 0
        self._stop_us = 0

    def begin(self, loop: Loop, until_us: int, *, answered: bool = False) -> None:
        """Send the first packets. Sending stops early enough before `until_us` for the last ones to come back.

        `answered`: the first way is known to be answered, so that silence is loss, or a machine that is kept busy.
        """
        self._stop_us = until_us
        if answered:
            self._close_rest(loop)
        self._open(loop)
        self._tick(loop)

    def _open(self, loop: Loop) -> None:
        with contextlib.suppress(OSError):
            self._way.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._begun_us = now_us()
        loop.watch(self._way.socket, READ, self._readable)
        self._fill()

    def _unanswered(self) -> bool:
        """Whether there is another way, and this one was silent for long enough to try it."""
        return bool(self._ways) and not self.rtt_us and now_us() - self._begun_us > _GIVE_UP_US

    def _next_way(self, loop: Loop) -> None:
        loop.close(self._way.socket)
        self._way = self._ways.pop(0)
        self.sent = 0
        for kept in (self._sent_us, self._sent_ns, self._waiting):
            kept.clear()
        self._open(loop)

    def _patience_us(self) -> int:
        low, high = _PATIENCE_US
        return min(high, max(low, 4 * self._fastest_us)) if self._fastest_us else _UNKNOWN_RTT_US

    def _window(self) -> int:
        needed = self._fastest_us // _BUDGET_US + 1
        return max(_SMALLEST_WINDOW, min(_LARGEST_WINDOW, needed))

    def _fill(self) -> None:
        window = self._window()
        while len(self._waiting) < window and self.sent < self._packets:
            now = now_us()
            if now + _RESERVE_US >= self._stop_us:
                return
            packet = self._way.make(self.sent)
            stamp = time.time_ns()
            try:
                self._way.socket.send(packet)
            except BlockingIOError:
                return
            except OSError as error:
                # Refused, or no route: this packet was not sent, or an earlier one was answered with an error.
                self.error = (error.strerror or str(error)).lower()
            self._sent_us[self.sent] = self._waiting[self.sent] = now
            self._sent_ns[self.sent] = stamp
            self.sent += 1

    def _readable(self) -> None:
        """Take one packet. The loop calls again for the next: asking whether there is one costs more than that."""
        try:
            self._take()
        except BlockingIOError:
            return
        except OSError as error:
            self.error = (error.strerror or str(error)).lower()
        self._fill()

    def _take(self) -> None:
        """Read one packet; raises OSError."""
        packet, ancillary, _, _ = self._way.socket.recvmsg(_RECEIVE, _ANCILLARY)
        stamps = [data for level, kind, data in ancillary if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS)]
        arrived_ns = None
        if stamps and len(stamps[0]) == _STAMP.size:
            seconds, rest = _STAMP.unpack(stamps[0])
            arrived_ns = seconds * 1_000_000_000 + rest
        self._arrived(packet, arrived_ns)

    def _arrived(self, packet: bytes, arrived_ns: int | None) -> None:
        number = self._way.number(packet)
        begun = self._sent_us.pop(number, None)
        if begun is None:
            return  # not ours, or a second copy
        self._waiting.pop(number, None)
        rtt = now_us() - begun
        if arrived_ns is not None:  # never more than what passed here: the wall clock may have been set meanwhile
            stamped = (arrived_ns - self._sent_ns[number]) // 1000
            rtt = stamped if 0 <= stamped <= rtt else rtt
        self.rtt_us.append(rtt)
        self._fastest_us = min(self._fastest_us or rtt, rtt)
        self.reordered += number < self._highest
        self._highest = max(self._highest, number)
        self.done = self.sent == self._packets and not self._sent_us

    def _tick(self, loop: Loop) -> None:
        """Give up waiting for what is overdue, and see whether this is the end."""
        oldest = now_us() - self._patience_us()
        for number in [number for number, begun in self._waiting.items() if begun < oldest]:
            del self._waiting[number]
        if self._unanswered():
            self._next_way(loop)
        self._fill()
        if not self.done and self._exhausted():
            self._drain()
            self.done = True
        if not self.done:
            loop.after(_TICK_US, lambda: self._tick(loop))

    def _drain(self) -> None:
        """Take what waits in the socket: if we were kept from running, that was no loss."""
        with contextlib.suppress(OSError):
            while True:
                self._take()

    def _exhausted(self) -> bool:
        """Nothing more to send, and nothing more to hope for."""
        now = now_us()
        if self.sent < self._packets and now + _RESERVE_US < self._stop_us:
            return False
        return not self._sent_us or now > max(self._sent_us.values()) + _TAIL_US

    def row(self) -> dict[str, Any]:
        """The burst in the document. `rtt_us` is in the order of arrival."""
        return {
            **self.facts,
            "id": self._name(self._way.protocol),
            "protocol": self._way.protocol,
            "sent": self.sent,
            "received": len(self.rtt_us),
            "reordered": self.reordered,
            "error": "" if self.rtt_us else self.error,
            "rtt_us": list(self.rtt_us),
        }

    def _close_rest(self, loop: Loop) -> None:
        for way in self._ways:
            loop.close(way.socket)
        self._ways.clear()

    def close(self, loop: Loop) -> None:
        """Close the sockets."""
        self._close_rest(loop)
        loop.close(self._way.socket)
