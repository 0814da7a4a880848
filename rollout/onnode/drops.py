"""Probe `drops`: packets that the kernel threw away, by reason, link and protocol (tracepoint skb:kfree_skb).

Packets that ended well are not in it: the kernel frees those through skb:consume_skb. Every reason is kept, the
harmless ones as well: what is noise is told from the node's own baseline. The names of the reasons are the running
kernel's: from its BTF, else from the tracepoint's own list of symbols. Reasons of a subsystem have its name and their
number there. `link` is the pod's host link for both ends of the pair (`side` says which), another device of the host's
by its name, and empty for devices of namespaces that are no pod's, or when the packet was on no device.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import bpfcalls, bpfmounts, btf
from .bpfcompile import Loaded, Program
from .bpflinks import Place
from .bpfprobe import PLACE_FIELDS, Probe, SelfTest, Window, compared, settled
from .bpftrial import Trial

_FORMAT = "events/skb/kfree_skb/format"
_TRACING = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_SYMBOL = re.compile(r'\{ *(\d+), *"(\w+)" *\}')
_SUBSYSTEM_SHIFT = 16
_ETHERTYPES = {0x0800: "ipv4", 0x86DD: "ipv6", 0x0806: "arp"}
_NEXT = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
_IPV4, _UDP = 0x0800, 17


class Reasons:
    """Names of the kernel's drop reasons, and where they are from: `btf` or `tracepoint-format`."""

    def __init__(self, types: btf.Btf) -> None:
        self._subsystems: dict[int, str] = {}
        try:
            self._names = types.enum("skb_drop_reason")
            self.origin = "btf"
        except btf.BtfError:
            self._names = symbols()
            self.origin = "tracepoint-format"
        with contextlib.suppress(btf.BtfError):
            self._subsystems = types.enum("skb_drop_reason_subsys")

    def name(self, number: int) -> str:
        """A reason's name; its number when the kernel does not name it."""
        subsystem = number >> _SUBSYSTEM_SHIFT
        if subsystem and subsystem in self._subsystems:
            return f"{_plain(self._subsystems[subsystem], 'SUBSYS_')}/{number & 0xFFFF}"
        return _plain(self._names.get(number, str(number)))


def _plain(name: str, more: str = "") -> str:
    for prefix in ("SKB_DROP_REASON_" + more, "SKB_"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def symbols() -> dict[int, str]:
    """Reasons by the tracepoint's format. Raises OSError when the kernel shows none."""
    for folder in _TRACING:
        with contextlib.suppress(OSError):
            return parse_symbols(Path(folder, _FORMAT).read_text(encoding="ascii"))
    return bpfmounts.privately(_own_symbols)


def _own_symbols() -> dict[int, str]:
    bpfmounts.mount("tracefs", _TRACING[0], "tracefs")
    return parse_symbols(Path(_TRACING[0], _FORMAT).read_text(encoding="ascii"))


def parse_symbols(text: str) -> dict[int, str]:
    """The symbols of a format's last argument, by number."""
    return {int(number): name for number, name in _SYMBOL.findall(text)}


class Drops(Probe):
    """See above."""

    name = "drops"
    index = 1
    fields: Mapping[str, tuple[str, str]] = {
        **PLACE_FIELDS,
        "SKB_PROTOCOL": ("sk_buff", "protocol"),
        "SKB_HEAD": ("sk_buff", "head"),
        "SKB_NETWORK_HEADER": ("sk_buff", "network_header"),
    }
    programs = (Program("drops_freed", "kfree_skb"),)
    layouts: Mapping[str, bpfcalls.Layout] = {"drops_counts": bpfcalls.Layout("QIHBx", "QII", 4096)}

    def __init__(self, loaded: Loaded, types: btf.Btf) -> None:
        super().__init__(loaded)
        self._reasons = Reasons(types)

    def prove(self, trial: Trial) -> SelfTest:
        """Datagrams that no socket listens for, on each pair: as many drops for exactly that reason."""
        ground = trial.await_ground()
        done = trial.workload(self.name)
        expected = {pair.kind: one["sent"] for pair, one in zip(ground.pairs, done)}
        places = {(ground.netns[1], pair.indexes[1]): pair.kind for pair in ground.pairs}
        settled(lambda: sum(self._unheard(places).values()), sum(expected.values()))
        return compared(self.name, expected, self._unheard(places))

    def _unheard(self, places: Mapping[Place, str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for (_, reason, protocol, following), (count, netns, ifindex) in self._entries("drops_counts"):
            kind = places.get((netns, ifindex))
            if kind and (protocol, following) == (_IPV4, _UDP) and self._reasons.name(reason) == "NO_SOCKET":
                found[kind] = found.get(kind, 0) + count
        return found

    def body(self, window: Window, /) -> dict[str, Any]:
        """`drops`, most packets first, and `reasons_from`."""
        ends = window.table.ends()
        totals: dict[tuple[str, str, str, int, str], int] = {}
        for (_, reason, protocol, following), (count, netns, ifindex) in self._entries("drops_counts"):
            link, side = ends.get((netns, ifindex), (None, ""))
            if link is not None:
                where = (link.name, side, link.ifindex)
            elif netns == window.table.own:
                where = (window.table.names.get(ifindex, ""), "host", ifindex)
            else:
                where = ("", "", 0)
            key = (self._reasons.name(reason), *where, protocol_name(protocol, following))
            totals[key] = totals.get(key, 0) + count
        rows = [
            {"reason": reason, "link": name, "side": side, "ifindex": index, "protocol": protocol, "packets": count}
            for (reason, name, side, index, protocol), count in totals.items()
        ]
        rows.sort(key=lambda row: (-int(str(row["packets"])), row["reason"], row["link"], row["protocol"]))
        return {"drops": rows, "reasons_from": self._reasons.origin}


def protocol_name(ethertype: int, following: int) -> str:
    """As in `ipv4/udp`; `arp`; numbers where there is no name."""
    first = _ETHERTYPES.get(ethertype, f"0x{ethertype:04x}" if ethertype else "unknown")
    return f"{first}/{_NEXT.get(following, following)}" if first in ("ipv4", "ipv6") else first
