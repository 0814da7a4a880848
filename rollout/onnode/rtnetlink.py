"""What the kernel says over rtnetlink of links, addresses, routes and filters, with the standard library alone.

Numbers are the kernel's (uapi/linux/rtnetlink.h, if_link.h, pkt_sched.h, net_namespace.h). Needed because pyroute2 and
an iproute2 that knows netkit (6.7 or newer) are missing on most nodes, while the kernel answers every Python; and
importing pyroute2 takes longer than all the rest of an observation.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_NEWRULE, RTM_GETRULE = 32, 34
RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
RTM_NEWNSID, RTM_GETNSID = 88, 90
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE, NLM_F_EXCL = 0x1, 0x4, 0x300, 0x400, 0x200
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_EXT_ACK = 270, 11

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_OPERSTATE, IFLA_LINKINFO = 1, 3, 4, 5, 16, 18
IFLA_STATS64, IFLA_EXT_MASK, IFLA_LINK_NETNSID, IFLA_XDP = 23, 29, 37, 43
IFLA_XDP_PROG_ID = 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_METRICS, RTA_MULTIPATH, RTAX_MTU = 1, 4, 8, 9, 2
RTM_F_FIB_MATCH = 0x2000
FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK, FRA_TABLE, FRA_FWMASK, FRA_OIFNAME = 1, 2, 3, 6, 10, 15, 16, 17
FR_ACT_TO_TBL = 1
NETNSA_NSID, NETNSA_FD = 1, 3
TCA_KIND, TCA_OPTIONS, TCA_BPF_NAME, TCA_BPF_ID = 1, 2, 7, 11
TC_CLSACT_INGRESS, TC_CLSACT_EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
NETKIT_PEER_INFO, NETKIT_PRIMARY, NETKIT_POLICY, NETKIT_PEER_POLICY = 1, 2, 3, 4
NETKIT_MODE, NETKIT_SCRUB, NETKIT_PEER_SCRUB, NETKIT_HEADROOM = 5, 6, 7, 8
NETKIT_L2, NETKIT_L3 = 0, 1
IFF_UP = 0x1
NLA_TYPE_MASK = 0x3FFF
RTEXT_FILTER_SKIP_STATS = 1 << 3

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_TC = struct.Struct("=BxxxiIII")
_STATS64 = struct.Struct("=8Q")
_ATTRIBUTE = struct.Struct("=HH")
_OPERSTATE = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")

_DUMP_ATTEMPTS = 5
_RECEIVE_BYTES = 1 << 18
_REPLY_SECONDS = 20


class NetlinkError(OSError):
    """The kernel refused a request; the text is the kernel's own where it gave one."""


class Netkit(NamedTuple):
    """IFLA_INFO_DATA of a netkit link, as numbers. None: this kernel does not report it."""

    mode: int | None
    primary: int | None
    policy: int | None
    peer_policy: int | None
    scrub: int | None
    peer_scrub: int | None
    headroom: int | None = None


class Link(NamedTuple):
    """One network device."""

    ifindex: int
    name: str
    flags: int
    kind: str
    operstate: str
    peer_index: int | None
    peer_netnsid: int | None
    netkit: Netkit | None
    mtu: int = 0
    xdp_program: int = 0
    """Id of the XDP program on the device, 0 when there is none."""
    statistics: Statistics | None = None
    mac: str = ""
    """Hardware address; empty where the link has none, as netkit in L3 mode."""


class Rule(NamedTuple):
    """A routing rule (`ip rule`). Texts are empty, and numbers 0, where the rule does not look at them."""

    family: int
    """4 or 6."""
    priority: int
    table: int
    action: int
    source: str
    destination: str
    mark: int
    mask: int
    enters_by: str
    leaves_by: str


class Statistics(NamedTuple):
    """The head of `struct rtnl_link_stats64`, in its order."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int


class Filter(NamedTuple):
    """A BPF filter on a clsact hook."""

    name: str
    program: int


def attributes(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """Type and payload of each attribute in `data`."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > len(data):
            raise ValueError("cannot decode netlink attributes: the length of one is impossible")
        yield kind & NLA_TYPE_MASK, bytes(data[offset + 4 : offset + length])
        offset += (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    """One encoded attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)


def decode_link(message: bytes) -> Link:
    """A link from the payload of an RTM_NEWLINK message."""
    _family, _type, index, flags, _change = _IFINFO.unpack_from(message)
    found = dict(attributes(memoryview(message)[_IFINFO.size :]))
    kind, netkit = _link_info(found.get(IFLA_LINKINFO, b""))
    state = found.get(IFLA_OPERSTATE, b"\0")[0]
    return Link(
        index,
        _text(found.get(IFLA_IFNAME, b"")),
        flags,
        kind,
        _OPERSTATE[state] if state < len(_OPERSTATE) else str(state),
        _number(found.get(IFLA_LINK)),
        _number(found.get(IFLA_LINK_NETNSID), signed=True),
        netkit,
        _number(found.get(IFLA_MTU)) or 0,
        _number(dict(attributes(found.get(IFLA_XDP, b""))).get(IFLA_XDP_PROG_ID)) or 0,
        _statistics(found.get(IFLA_STATS64, b"")),
        found.get(IFLA_ADDRESS, b"").hex(":"),
    )


def decode_rule(message: bytes) -> Rule:
    """A routing rule from the payload of an RTM_NEWRULE message (struct fib_rule_hdr, then attributes)."""
    family, to_bits, from_bits, _tos, table, _, _, action, _flags = _ROUTE.unpack_from(message)
    found = dict(attributes(memoryview(message)[_ROUTE.size :]))
    return Rule(
        4 if family == socket.AF_INET else 6,
        _number(found.get(FRA_PRIORITY)) or 0,
        _number(found.get(FRA_TABLE)) or table,
        action,
        _prefix(family, found.get(FRA_SRC), from_bits),
        _prefix(family, found.get(FRA_DST), to_bits),
        _number(found.get(FRA_FWMARK)) or 0,
        _number(found.get(FRA_FWMASK)) or 0,
        _text(found.get(FRA_IIFNAME, b"")),
        _text(found.get(FRA_OIFNAME, b"")),
    )


def _prefix(family: int, address: bytes | None, bits: int) -> str:
    return f"{socket.inet_ntop(family, address)}/{bits}" if address else ""


def _statistics(payload: bytes) -> Statistics | None:
    return Statistics(*_STATS64.unpack_from(payload)) if len(payload) >= _STATS64.size else None


def _link_info(data: bytes) -> tuple[str, Netkit | None]:
    found = dict(attributes(data))
    kind = _text(found.get(IFLA_INFO_KIND, b""))
    if kind != "netkit":
        return kind, None
    values: dict[int, bytes] = dict(attributes(found.get(IFLA_INFO_DATA, b"")))
    order = (
        NETKIT_MODE, NETKIT_PRIMARY, NETKIT_POLICY, NETKIT_PEER_POLICY, NETKIT_SCRUB, NETKIT_PEER_SCRUB,
        NETKIT_HEADROOM,
    )  # fmt: skip
    return kind, Netkit(*(_number(values.get(key)) for key in order))


def _text(payload: bytes) -> str:
    return payload.split(b"\0", 1)[0].decode("utf-8", "replace")


def _number(payload: bytes | None, *, signed: bool = False) -> int | None:
    if payload is None:
        return None
    little = struct.pack("=H", 1)[0] == 1
    return int.from_bytes(payload, "little" if little else "big", signed=signed)


class Netlink:
    """A route socket in the current network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.settimeout(_REPLY_SECONDS)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._sequence = os.getpid() & 0xFFFF

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def links(self, *, statistics: bool = False) -> list[Link]:
        """Every link."""
        mask = 0 if statistics else RTEXT_FILTER_SKIP_STATS
        body = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, struct.pack("=I", mask))
        return [decode_link(message) for message in self._table(RTM_GETLINK, RTM_NEWLINK, body)]

    def rules(self) -> list[Rule]:
        """Every routing rule of both families, in the order in which they are asked."""
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
            found += [decode_rule(message) for message in self._table(RTM_GETRULE, RTM_NEWRULE, body)]
        return sorted(found, key=lambda rule: (rule.family, rule.priority))

    def holders(self, address: str) -> set[int]:
        """Indexes of the links that have this address."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        wanted = socket.inet_pton(family, address)
        found = set()
        for message in self._table(RTM_GETADDR, RTM_NEWADDR, _IFADDR.pack(family, 0, 0, 0, 0)):
            values = dict(attributes(message[_IFADDR.size :]))
            if wanted in (values.get(IFA_LOCAL), values.get(IFA_ADDRESS)):
                found.add(_IFADDR.unpack_from(message)[4])
        return found

    def default_devices(self) -> set[int]:
        """Indexes of the links that default routes of either family leave by, in whatever table."""
        found: set[int] = set()
        for family in (socket.AF_INET, socket.AF_INET6):
            for message in self._table(RTM_GETROUTE, RTM_NEWROUTE, _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                if _ROUTE.unpack_from(message)[1] == 0:  # the length of the destination's prefix
                    found |= _route_devices(message)
        return found

    def route_mtu(self, address: str) -> int:
        """Largest packet that the route to `address` allows, as it is configured: by its own metric, else its link.

        What the path has taught this host meanwhile (a cached path MTU) is left out: a path that shrank must show.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        wanted = socket.inet_pton(family, address)
        body = _ROUTE.pack(family, len(wanted) * 8, 0, 0, 0, 0, 0, 0, RTM_F_FIB_MATCH) + attribute(RTA_DST, wanted)
        message = self._one(RTM_GETROUTE, RTM_NEWROUTE, body)
        values = dict(attributes(message[_ROUTE.size :]))
        metric = _number(dict(attributes(values.get(RTA_METRICS, b""))).get(RTAX_MTU)) or 0
        return metric or min((self.link(index).mtu for index in _route_devices(message)), default=0)

    def link(self, ifindex: int) -> Link:
        """One link. Raises NetlinkError (ENODEV) when it is gone."""
        skip = attribute(IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_SKIP_STATS))
        return decode_link(self._one(RTM_GETLINK, RTM_NEWLINK, _IFINFO.pack(0, 0, ifindex, 0, 0) + skip))

    def namespace_id(self, descriptor: int) -> int | None:
        """The number by which our namespace knows another one (a link's `peer_netnsid`); None when it has none."""
        body = struct.pack("=I", 0) + attribute(NETNSA_FD, struct.pack("=I", descriptor))
        message = self._one(RTM_GETNSID, RTM_NEWNSID, body)
        number = _number(dict(attributes(message[4:])).get(NETNSA_NSID), signed=True)
        return None if number is None or number < 0 else number

    def filters(self, ifindex: int, hook: int) -> list[Filter]:
        """BPF filters on a clsact hook (TC_CLSACT_INGRESS or _EGRESS); none where the link has no such qdisc."""
        body = _TC.pack(0, ifindex, 0, hook, 0)
        try:
            messages = self._table(RTM_GETTFILTER, RTM_NEWTFILTER, body)
        except NetlinkError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return []
            raise
        found = []
        for message in messages:
            values = dict(attributes(message[_TC.size :]))
            options = dict(attributes(values.get(TCA_OPTIONS, b"")))
            program = _number(options.get(TCA_BPF_ID))
            if _text(values.get(TCA_KIND, b"")) == "bpf" and program:
                found.append(Filter(_text(options.get(TCA_BPF_NAME, b"")), program))
        return found

    def _table(self, kind: int, reply: int, body: bytes) -> list[bytes]:
        """Payloads of a dump. One that the kernel marks as interrupted is read again."""
        for _ in range(_DUMP_ATTEMPTS):
            self._send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
            found, consistent = self._dump(reply)
            if consistent:
                return found
        raise NetlinkError(4, "cannot read a table of the kernel: it changed during every reading")

    def _one(self, kind: int, reply: int, body: bytes) -> bytes:
        self._send(kind, NLM_F_REQUEST, body)
        while True:
            for answer, flags, payload in self._receive():
                if answer == NLMSG_ERROR:
                    _raise_error(flags, payload)
                if answer == reply:
                    return payload

    def add_link(self, name: str, kind: str, data: bytes, mac: bytes = b"") -> None:
        """Create a link of `kind`; `data` is the encoded content of IFLA_INFO_DATA, `mac` its hardware address."""
        info = attribute(IFLA_INFO_KIND, kind.encode() + b"\0") + attribute(IFLA_INFO_DATA, data)
        body = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
        body += attribute(IFLA_ADDRESS, mac) if mac else b""
        self.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + attribute(IFLA_LINKINFO, info))

    def delete_link(self, ifindex: int) -> None:
        """Delete a link, and with it its peer."""
        self.request(RTM_DELLINK, 0, _IFINFO.pack(0, 0, ifindex, 0, 0))

    def request(self, kind: int, flags: int, body: bytes) -> None:
        """Have the kernel change something; returns when it has, raises NetlinkError when it will not."""
        self._send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body)
        for answer, message_flags, payload in self._receive():
            if answer == NLMSG_ERROR:
                _raise_error(message_flags, payload)
                return

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)

    def _dump(self, reply: int) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        consistent = True
        while True:
            for kind, flags, payload in self._receive():
                consistent = consistent and not flags & NLM_F_DUMP_INTR
                if kind == NLMSG_DONE:
                    return found, consistent
                if kind == NLMSG_ERROR:
                    _raise_error(flags, payload)
                if kind == reply:
                    found.append(payload)

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(_RECEIVE_BYTES)
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
            if length < _HEADER.size:
                raise ValueError("cannot decode a netlink message: its length is impossible")
            if sequence == self._sequence:
                yield kind, flags, data[offset + _HEADER.size : offset + length]
            offset += (length + 3) & ~3


def _route_devices(message: bytes) -> set[int]:
    values = dict(attributes(message[_ROUTE.size :]))
    found = {_number(values[RTA_OIF]) or 0} if RTA_OIF in values else set()
    hops, offset = values.get(RTA_MULTIPATH, b""), 0
    while offset + 8 <= len(hops):  # struct rtnexthop: length, flags, hops, ifindex, then attributes
        length, _flags, _hops, index = struct.unpack_from("=HBBi", hops, offset)
        found.add(index)
        offset += max(8, (length + 3) & ~3)
    return found


def _raise_error(flags: int, payload: bytes) -> None:
    code = -struct.unpack_from("=i", payload)[0]
    if code == 0:
        return
    raise NetlinkError(code, _kernel_words(flags, payload) or os.strerror(code))


def _kernel_words(flags: int, payload: bytes) -> str:
    """The text of an extended acknowledgement, after the copy of our request's header (or of all of it)."""
    if not flags & NLM_F_ACK_TLVS:
        return ""
    copied = _HEADER.size if flags & NLM_F_CAPPED else struct.unpack_from("=I", payload, 4)[0]
    found: dict[int, Any] = dict(attributes(payload[4 + ((copied + 3) & ~3) :]))
    return _text(found.get(NLMSGERR_ATTR_MSG, b""))


def netkit_data(mode: int, peer_name: str) -> bytes:
    """IFLA_INFO_DATA for a pair as the agent makes it: peer blackholed, nothing scrubbed on the host side."""
    peer = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, peer_name.encode() + b"\0")
    forward, blackhole, scrub_none, scrub_default = 0, 2, 0, 1
    numbers = (
        (NETKIT_MODE, mode),
        (NETKIT_POLICY, forward),
        (NETKIT_PEER_POLICY, blackhole),
        (NETKIT_SCRUB, scrub_none),
        (NETKIT_PEER_SCRUB, scrub_default),
    )
    encoded = b"".join(attribute(kind, struct.pack("=I", value)) for kind, value in numbers)
    return attribute(NETKIT_PEER_INFO, peer) + encoded
