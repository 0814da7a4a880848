"""Probe `counters`: what the kernel counts anyway, so that there is something to compare where eBPF cannot run.

Links are those of `programs`. Values count since the link or the machine came up; checks take differences.
Sources: rtnetlink's link statistics, /proc/net/snmp, snmp6 and netstat (names as there, joined by a dot), softnet_stat.
"""

from __future__ import annotations

from typing import Any

from . import devices, entry, rtnetlink

_SNMP = (
    "Ip.InDiscards", "Ip.OutDiscards", "Ip.OutNoRoutes", "Ip.InAddrErrors", "Ip.ForwDatagrams", "Ip.FragFails",
    "Ip.ReasmFails", "Icmp.InDestUnreachs", "Icmp.OutDestUnreachs", "Tcp.RetransSegs", "Tcp.OutSegs", "Tcp.InSegs",
    "Tcp.OutRsts", "Tcp.EstabResets", "Tcp.AttemptFails", "Tcp.InErrs", "Tcp.InCsumErrors", "Udp.InErrors",
    "Udp.NoPorts", "Udp.RcvbufErrors", "Udp.InCsumErrors", "TcpExt.TCPSynRetrans", "TcpExt.TCPTimeouts",
    "TcpExt.TCPLostRetransmit", "TcpExt.ListenDrops", "TcpExt.TCPBacklogDrop", "TcpExt.TCPOFOQueue",
    "IpExt.InNoRoutes", "IpExt.InCsumErrors", "Ip6.InDiscards", "Ip6.OutDiscards", "Ip6.OutNoRoutes",
    "Ip6.InTooBigErrors", "Ip6.FragFails", "Icmp6.InPktTooBigs", "Icmp6.OutPktTooBigs",
)  # fmt: skip
_SOFTNET_DROPPED = 1


def main(request: entry.Document) -> entry.Document:
    """The probe as a program of its own."""
    address = str(((request.get("inputs") or {}).get("reach") or {}).get("node_address") or "")
    with rtnetlink.Netlink() as kernel:
        found = devices.devices(kernel, request.get("endpoint_links") or (), address, statistics=True)
    known = {**_pairs_of_lines("/proc/net/snmp"), **_pairs_of_lines("/proc/net/netstat"), **_lines("/proc/net/snmp6")}
    return {
        "links": [_row(one) for one in found],
        "snmp": {name: known[name] for name in _SNMP if name in known},
        "softnet_dropped": _softnet(_text("/proc/net/softnet_stat")),
    }


def _row(one: devices.Device) -> dict[str, Any]:
    counted = one.link.statistics or rtnetlink.Statistics(0, 0, 0, 0, 0, 0, 0, 0)
    return {
        "name": one.link.name,
        "ifindex": one.link.ifindex,
        "kind": devices.kind_of(one.link),
        "role": one.role,
        **counted._asdict(),
    }


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 - pathlib is a slow import on a slow node
            return file.read()
    except FileNotFoundError:
        return ""  # a kernel without IPv6 has no snmp6


def _pairs_of_lines(path: str) -> dict[str, int]:
    """`Tcp: A B` over `Tcp: 1 2`."""
    lines = _text(path).splitlines()
    found: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2]):
        group, _, head = names.partition(":")
        for name, value in zip(head.split(), values.partition(":")[2].split()):
            found[f"{group}.{name}"] = int(value)
    return found


def _lines(path: str) -> dict[str, int]:
    """`Ip6InDiscards 0`, one a line; the group is split off at the digit that all of them have."""
    found: dict[str, int] = {}
    for line in _text(path).splitlines():
        name, value = line.split()
        group, digit, rest = name.partition("6")
        found[f"{group}{digit}.{rest}"] = int(value)
    return found


def _softnet(text: str) -> int:
    """Packets dropped because a processor's backlog was full, over all processors; the columns are hexadecimal."""
    return sum(int(line.split()[_SOFTNET_DROPPED], 16) for line in text.splitlines())
