"""Probe `tcp`: connections by local address: how long they take to come about, round-trip time, retransmits, resets.

Counted in every network namespace, so pods are told apart by their addresses; loopback addresses are left out.
`connects` and `connect_failures` are of connections made from the address, `accepts` of those made to it. A connection
whose maker gives up before an answer is a failure. `srtt_log2_us` has the kernel's smoothed round-trip time once for
each segment that arrives (`segments`). Place i of a histogram is [2^i, 2^(i+1)) us; the first has all below 2 us.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from . import bpfcalls
from .bpfcompile import Program
from .bpfprobe import Probe, SelfTest, Window, compared, settled, trimmed
from .bpftrial import Ground, Trial

_COUNTS = ("connects", "connect_failures", "accepts", "segments", "retransmits", "resets_sent", "resets_received")
_PLACES = 32


class Tcp(Probe):
    """See above."""

    name = "tcp"
    index = 2
    fields: Mapping[str, tuple[str, str]] = {
        "SKB_HEAD": ("sk_buff", "head"),
        "SKB_NETWORK_HEADER": ("sk_buff", "network_header"),
        "SOCK_FAMILY": ("sock_common", "skc_family"),
        "SOCK_SOURCE": ("sock_common", "skc_rcv_saddr"),
        "SOCK_SOURCE_V6": ("sock_common", "skc_v6_rcv_saddr"),
        "SOCK_PROTOCOL": ("sock", "sk_protocol"),
        "TCP_SRTT": ("tcp_sock", "srtt_us"),
    }
    programs = (
        Program("tcp_state", "inet_sock_set_state"),
        Program("tcp_retransmit", "tcp_retransmit_skb", instead="tcp_retransmit_two"),
        Program("tcp_retransmit_synack", "tcp_retransmit_synack"),
        Program("tcp_reset_received", "tcp_receive_reset"),
        Program("tcp_reset_sent", "tcp_send_reset"),
        Program("tcp_segment", "tcp_probe"),
    )
    layouts: Mapping[str, bpfcalls.Layout] = {"tcp_endpoints": bpfcalls.Layout("16s", "7Q32I32I", 2048)}

    def prove(self, trial: Trial) -> SelfTest:
        """Connections across each pair, some of them refused."""
        ground = trial.await_ground()
        done = trial.workload(self.name)
        expected: dict[str, int] = {}
        for pair, one in zip(ground.pairs, done):
            for what, number in _expected(one).items():
                expected[f"{pair.kind} {what}"] = number
        settled(lambda: sum(self._seen(ground).values()), sum(expected.values()))
        return compared(self.name, expected, self._seen(ground))

    def _seen(self, ground: Ground) -> dict[str, int]:
        rows = {row["address"]: row for row in self._rows()}
        found: dict[str, int] = {}
        for pair in ground.pairs:
            near, far = (rows.get(address, {}) for address in pair.addresses)
            for what in ("connects", "connect_failures", "resets_received"):
                found[f"{pair.kind} {what}"] = near.get(what, 0)
            for what in ("accepts", "resets_sent"):
                found[f"{pair.kind} {what}"] = far.get(what, 0)
        return found

    def body(self, _window: Window, /) -> dict[str, Any]:
        """`endpoints`, in the order of their addresses as text."""
        return {"endpoints": sorted(self._rows(), key=lambda row: str(row["address"]))}

    def _rows(self) -> list[dict[str, Any]]:
        found = []
        for (packed,), numbers in self._entries("tcp_endpoints"):
            address = _address(packed)
            if address is None:
                continue
            row: dict[str, Any] = {"address": address, **dict(zip(_COUNTS, numbers))}
            histograms = numbers[len(_COUNTS) :]
            row["connect_log2_us"] = trimmed(histograms[:_PLACES])
            row["srtt_log2_us"] = trimmed(histograms[_PLACES:])
            row["segments"] += sum(histograms[_PLACES:])  # so far only those without a round-trip time
            found.append(row)
        return found


def _expected(done: Mapping[str, int]) -> dict[str, int]:
    return {
        "connects": done["connects"],
        "connect_failures": done["refused"],
        "accepts": done["connects"],
        "resets_sent": done["refused"],
        "resets_received": done["refused"],
    }


def _address(packed: bytes) -> str | None:
    """As text; None for a loopback address and for none at all."""
    wide = ipaddress.IPv6Address(packed)
    address = wide.ipv4_mapped or wide
    return None if address.is_loopback or address.is_unspecified else str(address)
