"""The kernel's link table over rtnetlink, with the standard library alone.

Numbers are the kernel's (uapi/linux/rtnetlink.h, if_link.h). Needed because pyroute2 and an iproute2 that knows netkit
(6.7 or newer) are missing on most nodes, while the kernel answers every Python.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_CREATE, NLM_F_EXCL = 0x1, 0x4, 0x300, 0x400, 0x200
NLM_F_DUMP_INTR = 0x10
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_EXT_ACK = 270, 11

IFLA_IFNAME, IFLA_LINK, IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 3, 5, 16, 18, 29, 37
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
NETKIT_PEER_INFO, NETKIT_PRIMARY, NETKIT_POLICY, NETKIT_PEER_POLICY = 1, 2, 3, 4
NETKIT_MODE, NETKIT_SCRUB, NETKIT_PEER_SCRUB = 5, 6, 7
NETKIT_L2, NETKIT_L3 = 0, 1
IFF_UP = 0x1
NLA_TYPE_MASK = 0x3FFF
RTEXT_FILTER_SKIP_STATS = 1 << 3

_HEADER = struct.Struct("=IHHII")
_IFINFO = struct.Struct("=BxHiII")
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
    )


def _link_info(data: bytes) -> tuple[str, Netkit | None]:
    found = dict(attributes(data))
    kind = _text(found.get(IFLA_INFO_KIND, b""))
    if kind != "netkit":
        return kind, None
    values: dict[int, bytes] = dict(attributes(found.get(IFLA_INFO_DATA, b"")))
    order = (NETKIT_MODE, NETKIT_PRIMARY, NETKIT_POLICY, NETKIT_PEER_POLICY, NETKIT_SCRUB, NETKIT_PEER_SCRUB)
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

    def raw_links(self) -> list[bytes]:
        """The payload of RTM_NEWLINK for every link. A dump that the kernel marks as interrupted is read again."""
        body = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_SKIP_STATS))
        for _ in range(_DUMP_ATTEMPTS):
            self._send(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, body)
            found, consistent = self._dump()
            if consistent:
                return found
        raise NetlinkError(4, "cannot read the link table: it changed during every reading")

    def links(self) -> list[Link]:
        """Every link."""
        return [decode_link(message) for message in self.raw_links()]

    def add_link(self, name: str, kind: str, data: bytes) -> None:
        """Create a link of `kind`; `data` is the encoded content of IFLA_INFO_DATA."""
        info = attribute(IFLA_INFO_KIND, kind.encode() + b"\0") + attribute(IFLA_INFO_DATA, data)
        body = _IFINFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
        self._acknowledged(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + attribute(IFLA_LINKINFO, info))

    def delete_link(self, ifindex: int) -> None:
        """Delete a link, and with it its peer."""
        self._acknowledged(RTM_DELLINK, 0, _IFINFO.pack(0, 0, ifindex, 0, 0))

    def _acknowledged(self, kind: int, flags: int, body: bytes) -> None:
        self._send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body)
        for answer, message_flags, payload in self._receive():
            if answer == NLMSG_ERROR:
                _raise_error(message_flags, payload)
                return

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body)

    def _dump(self) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        consistent = True
        while True:
            for kind, flags, payload in self._receive():
                consistent = consistent and not flags & NLM_F_DUMP_INTR
                if kind == NLMSG_DONE:
                    return found, consistent
                if kind == NLMSG_ERROR:
                    _raise_error(flags, payload)
                if kind == RTM_NEWLINK:
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
