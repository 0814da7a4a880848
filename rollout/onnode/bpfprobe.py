"""What the eBPF probes have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from . import bpfcalls
from .bpfcompile import Loaded, Program
from .bpflinks import Received, Table
from .bpftrial import Trial

_SETTLE_SECONDS = 0.5
_PAUSE_SECONDS = 0.02

PLACE_FIELDS: Mapping[str, tuple[str, str]] = {
    "SKB_DEV": ("sk_buff", "dev"),
    "DEV_NET": ("net_device", "nd_net"),
    "DEV_IFINDEX": ("net_device", "ifindex"),
    "NET_INUM": ("net", "ns.inum"),
}
"""Where the kernel keeps what says which device a packet is on: macro, structure, field."""


class SelfTest(NamedTuple):
    """What was done and what the probe counted of it."""

    sent: int
    seen: int
    message: str

    @property
    def ok(self) -> bool:
        return not self.message


class Window(NamedTuple):
    """What is known of the time between begin and end, beside what the probes counted."""

    table: Table
    received: Mapping[int, Received]


class Probe(ABC):
    """One probe: its C source has its name; its programs and maps are in a compiled text that others may share."""

    name = ""
    index = 0
    """Place in the map `lost` of common.h."""
    fields: Mapping[str, tuple[str, str]] = {}
    programs: tuple[Program, ...] = ()
    layouts: Mapping[str, bpfcalls.Layout] = {}

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._lost = 0

    @abstractmethod
    def prove(self, trial: Trial) -> SelfTest:
        """Run the known workload, return what was counted. Raises OSError when there can be none."""

    @abstractmethod
    def body(self, _window: Window, /) -> dict[str, Any]:
        """The document's own part, out of the maps."""

    def clear(self) -> None:
        """Forget what has been counted."""
        for name in self.layouts:
            self._entries(name, delete=True)
        self._lost = self._lost_in_all()

    def lost(self) -> int:
        """How many events did not fit into a map since `clear`."""
        return self._lost_in_all() - self._lost

    def _lost_in_all(self) -> int:
        return bpfcalls.number_at(self._loaded.map("lost"), self.index)

    def _entries(self, name: str, *, delete: bool = False) -> list[tuple[tuple[Any, ...], tuple[int, ...]]]:
        return bpfcalls.entries(self._loaded.map(name), self.layouts[name], delete=delete)


def settled(count: Callable[[], int], wanted: int) -> int:
    """`count()` once it has reached `wanted`, or what it is half a second later: packets may still be on their way."""
    until = time.monotonic() + _SETTLE_SECONDS
    while True:
        seen = count()
        if seen >= wanted or time.monotonic() > until:
            return seen
        time.sleep(_PAUSE_SECONDS)


def compared(what: str, expected: Mapping[str, int], seen: Mapping[str, int]) -> SelfTest:
    """A self-test of several counts, by name; both numbers of each that differs are in the message."""
    wrong = [
        f"{name}: sent {number}, seen {seen.get(name, 0)}"
        for name, number in expected.items()
        if seen.get(name, 0) != number
    ]
    message = f"cannot trust probe {what}: it miscounts its self-test ({'; '.join(wrong)})" if wrong else ""
    return SelfTest(sum(expected.values()), sum(seen.get(name, 0) for name in expected), message)


def trimmed(counts: Sequence[int]) -> list[int]:
    """A histogram without the zeros at its end."""
    last = max((index for index, count in enumerate(counts) if count), default=-1)
    return list(counts[: last + 1])
