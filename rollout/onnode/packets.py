"""Packets made by hand: ICMP echoes that fill the path, and DNS questions; and the sockets they need.

Numbers are the kernel's (uapi/linux/in.h, in6.h, icmp.h, icmpv6.h); formats are those of RFC 792, 4443 and 1035.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable

from .cell import checksum, words

IP_HEADER: dict[int, int] = {socket.AF_INET: 20, socket.AF_INET6: 40}
ICMP_HEADER = UDP_HEADER = 8
_IP_MTU_DISCOVER, _IP_MTU, _PMTUDISC_PROBE = 10, 14, 3
_IPV6_MTU_DISCOVER, _IPV6_MTU, _IPV6_DONTFRAG = 23, 24, 62
_SOL_RAW, _ICMP_FILTER, _ICMP6_FILTER = 255, 1, 1
_ECHO_REQUEST: dict[int, int] = {socket.AF_INET: 8, socket.AF_INET6: 128}
_ECHO_REPLY: dict[int, int] = {socket.AF_INET: 0, socket.AF_INET6: 129}
_ECHO = struct.Struct("!BBHHH")
_DNS = struct.Struct("!HHHHHH")
_DNS_RECURSE = 0x0100
_DNS_RESPONSE = 0x8000
_DNS_A, _DNS_IN = 1, 1
_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_DNS_ANSWERS = (0, 3)


def stream(family: int) -> socket.socket:
    """A TCP socket that does not block."""
    one = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def datagram(family: int) -> socket.socket:
    """A UDP socket that does not block. Its packets are never fragmented, whatever the kernel knows of the path."""
    one = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    _never_fragment(one, family)
    return one


def raw_icmp(family: int) -> socket.socket:
    """A raw socket that receives echo replies only. Needs CAP_NET_RAW."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    one = socket.socket(family, kind, protocol)
    _never_fragment(one, family)
    if family == socket.AF_INET6:
        blocked = bytearray(b"\xff" * 32)
        blocked[_ECHO_REPLY[family] // 8] &= ~(1 << (_ECHO_REPLY[family] % 8)) & 0xFF
        one.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, bytes(blocked))
    else:
        one.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~(1 << _ECHO_REPLY[family]) & 0xFFFFFFFF))
    return one


def _never_fragment(one: socket.socket, family: int) -> None:
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        one.setsockopt(socket.IPPROTO_IPV6, _IPV6_DONTFRAG, 1)
    else:
        one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)


def reason_for(one: socket.socket, family: int) -> Callable[[OSError], str]:
    """Says why a packet on this socket failed; for a packet too long, what the path allows."""

    def reason(error: OSError) -> str:
        if error.errno != errno.EMSGSIZE:
            return words(error)
        try:
            level, option = (socket.IPPROTO_IPV6, _IPV6_MTU) if family == socket.AF_INET6 else (0, _IP_MTU)
            return f"the packet is too long for the path: it allows {one.getsockopt(level, option)} bytes"
        except OSError:
            return "the packet is too long for the path"

    return reason


def echo_maker(family: int, ident: int, size: int) -> Callable[[int], bytes]:
    """Makes echo requests of `size` bytes behind the ICMP header; the try is the sequence number."""

    def make(number: int) -> bytes:
        head = _ECHO.pack(_ECHO_REQUEST[family], 0, 0, ident, number)
        if family == socket.AF_INET:  # for ICMPv6 the kernel adds the sum, over a pseudo-header that it knows
            head = _ECHO.pack(_ECHO_REQUEST[family], 0, checksum(head), ident, number)  # zeros add nothing to it
        return head + bytes(size)

    return make


def echo_reader(family: int, ident: int, size: int) -> Callable[[bytes], int]:
    """Which try an echo reply answers, or -1."""

    def number(packet: bytes) -> int:
        offset = (packet[0] & 15) * 4 if family == socket.AF_INET and packet else 0
        if len(packet) < offset + ICMP_HEADER + size:
            return -1
        kind, _code, _sum, found, sequence = _ECHO.unpack_from(packet, offset)
        return sequence if kind == _ECHO_REPLY[family] and found == ident else -1

    return number


def dns_question(ident: int, name: str) -> bytes:
    """A question for the IPv4 address of `name`. Raises ValueError for a name that cannot be asked for."""
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".")]
    if not all(0 < len(label) < 64 for label in labels):
        raise ValueError(f"cannot ask for {name!r}: it is no DNS name")
    asked = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _DNS.pack(ident, _DNS_RECURSE, 1, 0, 0, 0) + asked + struct.pack("!HH", _DNS_A, _DNS_IN)


def dns_verdict(answer: bytes, ident: int) -> str | None:
    """What a message is as an answer to question `ident`: None when it is not one, empty when the server answered.

    "No such name" counts: the server was reached and answered, and the name may be spelt for another cluster domain.
    """
    if len(answer) < _DNS.size:
        return None
    found, flags = struct.unpack_from("!HH", answer)
    if found != ident or not flags & _DNS_RESPONSE:
        return None
    code = flags & 15
    return "" if code in _DNS_ANSWERS else f"the server answered {_RCODES.get(code, code)}"
