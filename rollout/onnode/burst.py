"""Many numbered datagrams to an echo, for loss and round-trip time.

Not at a fixed rate but with few packets on the way at once: a slow machine then loses none of them itself, and one
packet's time is not the time it waited behind others. The window opens only as far as the path's own time demands:
with 20 ms there and back, two packets at a time would not be through before the deadline.
A packet that is not back in time gives its place to another, and still counts as received if it comes later.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

from .loop import READ, Loop, now_us

_SEQUENCE = struct.Struct("=II")
_SMALLEST_WINDOW, _LARGEST_WINDOW = 2, 32
_BUDGET_US = 800_000
_UNKNOWN_RTT_US = 200_000
_PATIENCE_US = (60_000, 400_000)
_RESERVE_US = 400_000
"""How long before the deadline sending stops, so that the last packets can be back."""
_TAIL_US = 800_000
"""How long the last packets are waited for: a busy machine's hiccup must not look like loss."""
_TICK_US = 20_000
_RECEIVE = 2048
_NONCE = 0x6E6B7262


class Burst:
    """`packets` datagrams of `size` bytes over a connected socket; ends by itself, or is cut at the deadline."""

    def __init__(self, facts: dict[str, Any], one: socket.socket, size: int, packets: int) -> None:
        self.facts = facts
        self.rtt_us: list[int] = []
        self.reordered = 0
        self.sent = 0
        self.error = ""
        self.done = False
        self._socket = one
        self._packets = packets
        self._padding = bytes(max(0, size - _SEQUENCE.size))
        self._sent_us: dict[int, int] = {}
        self._waiting: dict[int, int] = {}
        self._highest = -1
        self._fastest_us = 0
        self._stop_us = 0

    def begin(self, loop: Loop, until_us: int) -> None:
        """Send the first packets. Sending stops early enough before `until_us` for the last ones to come back."""
        self._stop_us = until_us
        loop.watch(self._socket, READ, self._readable)
        self._fill()
        self._tick(loop)

    def _patience_us(self) -> int:
        low, high = _PATIENCE_US
        return min(high, max(low, 4 * self._fastest_us)) if self._fastest_us else _UNKNOWN_RTT_US

    def _window(self) -> int:
        needed = self._packets * self._fastest_us // _BUDGET_US + 1
        return max(_SMALLEST_WINDOW, min(_LARGEST_WINDOW, needed))

    def _fill(self) -> None:
        window = self._window()
        while len(self._waiting) < window and self.sent < self._packets:
            now = now_us()
            if now + _RESERVE_US >= self._stop_us:
                return
            try:
                self._socket.send(_SEQUENCE.pack(_NONCE, self.sent) + self._padding)
            except BlockingIOError:
                return
            except OSError as error:
                # Refused, or no route: this packet was not sent, or an earlier one was answered with an error.
                self.error = (error.strerror or str(error)).lower()
            self._sent_us[self.sent] = self._waiting[self.sent] = now
            self.sent += 1

    def _readable(self) -> None:
        """Take one packet. The loop calls again for the next: asking whether there is one costs more than that."""
        try:
            self._arrived(self._socket.recv(_RECEIVE), now_us())
        except BlockingIOError:
            return
        except OSError as error:
            self.error = (error.strerror or str(error)).lower()
        self._fill()

    def _arrived(self, packet: bytes, now: int) -> None:
        if len(packet) < _SEQUENCE.size:
            return
        nonce, number = _SEQUENCE.unpack_from(packet)
        begun = self._sent_us.pop(number, None) if nonce == _NONCE else None
        if begun is None:
            return  # not ours, or a second copy
        self._waiting.pop(number, None)
        rtt = now - begun
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
                self._arrived(self._socket.recv(_RECEIVE), now_us())

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
            "sent": self.sent,
            "received": len(self.rtt_us),
            "reordered": self.reordered,
            "error": "" if self.rtt_us else self.error,
            "rtt_us": list(self.rtt_us),
        }

    def close(self, loop: Loop) -> None:
        """Close the socket."""
        loop.close(self._socket)
