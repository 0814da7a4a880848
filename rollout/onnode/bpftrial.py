"""A small network of our own with known traffic, on which a probe proves that it counts.

Two network namespaces joined by a veth pair and, where the kernel has it, a netkit pair, all held by a child process
and by nothing else: when the child ends, however it ends, the kernel takes them away. The child is started before the
compiler, while the process is small, and makes its network meanwhile. Addresses are out of 198.18.0.0/15, which is
for tests of networks (RFC 2544).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import random
import signal
import socket
import struct
import time
from typing import Any, NamedTuple

from . import rtnetlink
from .rtnetlink import attribute

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_LIFE_SECONDS = 120
_PATIENCE_SECONDS = 5.0
_PASSAGE_SECONDS = 0.1
PACKETS = 64
DATAGRAM = b"netkit-rollout self-test".ljust(100, b".")
CONNECTS, REFUSALS = 8, 4

_RTM_NEWADDR, _IFA_LOCAL, _IFA_ADDRESS = 20, 2, 1
_IFLA_NET_NS_FD, _IFLA_AF_SPEC, _INET6_ADDR_GEN_MODE, _GEN_MODE_NONE = 28, 26, 8, 1
_VETH_INFO_PEER = 1
_CREATE = rtnetlink.NLM_F_CREATE | rtnetlink.NLM_F_EXCL
_IFINFO = struct.Struct("=BxHiII")
_PREFIX = 30


class Pair(NamedTuple):
    """One pair of links across the two namespaces; the sender's side first."""

    kind: str
    indexes: tuple[int, int]
    addresses: tuple[str, str]


class Ground(NamedTuple):
    """The child's network: its namespaces by number, and its pairs."""

    netns: tuple[int, int]
    pairs: tuple[Pair, ...]


class Trial:
    """The child, seen from the parent. Every method raises OSError or ValueError when the child cannot."""

    def __init__(self) -> None:
        mine, its = socket.socketpair()
        parent = os.getpid()
        self._child = os.fork()
        if self._child == 0:
            mine.close()
            _child(parent, its)
        its.close()
        self._stream = mine.makefile("rwb")
        mine.close()
        self._ground: Ground | None = None

    def await_ground(self) -> Ground:
        """What the child has made; waits for it."""
        if self._ground is None:
            found = self._answer()
            pairs = tuple(Pair(one["kind"], tuple(one["indexes"]), tuple(one["addresses"])) for one in found["pairs"])
            self._ground = Ground(tuple(found["netns"]), pairs)
        return self._ground

    def workload(self, name: str) -> list[dict[str, int]]:
        """Run one of WORKLOADS on every pair, in their order: what was done, by the child's own count."""
        self.await_ground()
        self._stream.write(name.encode() + b"\n")
        self._stream.flush()
        return list(self._answer()["done"])

    def close(self) -> None:
        """End the child and with it its network. May be repeated."""
        if self._child:
            self._stream.close()
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0

    def _answer(self) -> Any:
        line = self._stream.readline()
        if not line:
            raise OSError(errno.EPIPE, "the self-test's process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise OSError(errno.EIO, answer["error"])
        return answer


def _child(parent: int, connection: socket.socket) -> None:
    try:
        signal.alarm(_LIFE_SECONDS)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:
            _serve(connection.makefile("rwb"))
    finally:
        os._exit(0)


def _serve(stream: Any) -> None:
    def say(answer: dict[str, Any]) -> None:
        stream.write(json.dumps(answer).encode() + b"\n")
        stream.flush()

    try:
        ends, ground = _build()
        say({"netns": ground.netns, "pairs": [pair._asdict() for pair in ground.pairs]})
        for line in stream:
            act = WORKLOADS[line.decode().strip()]
            say({"done": [act(ends, pair) for pair in ground.pairs]})
    except (OSError, ValueError) as error:
        say({"error": f"cannot make the self-test's network: {error}"})


class _End:
    """One namespace of the two: entered to make sockets, which stay in it."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"no network namespace of our own: {os.strerror(ctypes.get_errno())}")
        self.descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.number = os.fstat(self.descriptor).st_ino
        self.links = rtnetlink.Netlink()

    def enter(self) -> None:
        if self._libc.setns(self.descriptor, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def socket(self, kind: int, address: str = "") -> socket.socket:
        """An IPv4 socket in this namespace, bound to a free port when an address is given."""
        self.enter()
        made = socket.socket(socket.AF_INET, kind)
        made.settimeout(_PATIENCE_SECONDS)
        if address:
            made.bind((address, 0))
        return made

    def bring_up(self, name: str, address: str) -> int:
        """Set a link up with an address and no traffic of its own (no IPv6 address, hence no IPv6 chatter)."""
        index = next(link.ifindex for link in self.links.links() if link.name == name)
        up = _IFINFO.pack(0, 0, index, rtnetlink.IFF_UP, rtnetlink.IFF_UP)
        mode = attribute(_INET6_ADDR_GEN_MODE, bytes((_GEN_MODE_NONE,)))
        quiet = _IFINFO.pack(0, 0, index, 0, 0) + attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET6, mode))
        number = socket.inet_aton(address)
        ifaddr = struct.pack("=BBBBi", socket.AF_INET, _PREFIX, 0, 0, index)
        ifaddr += attribute(_IFA_LOCAL, number) + attribute(_IFA_ADDRESS, number)
        try:
            self.links.request(rtnetlink.RTM_NEWLINK, 0, quiet)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):  # a kernel without IPv6
                raise
        self.links.request(_RTM_NEWADDR, _CREATE, ifaddr)
        self.links.request(rtnetlink.RTM_NEWLINK, 0, up)
        return index


def _build() -> tuple[tuple[_End, _End], Ground]:
    libc = ctypes.CDLL(None, use_errno=True)
    near, far = _End(libc), _End(libc)
    chosen = random.SystemRandom().randrange(1 << 13) << 4  # sixteen addresses of 131072
    base = struct.unpack(">I", socket.inet_aton("198.18.0.0"))[0] + chosen
    pairs: list[Pair] = []
    for kind in ("veth", "netkit"):
        first = base + 4 * len(pairs) + 1
        addresses = (_dotted(first), _dotted(first + 1))
        try:
            _make_pair(near, far, kind)
        except OSError as error:
            if kind == "netkit" and error.errno == errno.EOPNOTSUPP:
                continue
            raise
        indexes = (near.bring_up(f"nkr-{kind}", addresses[0]), far.bring_up(f"nkr-{kind}", addresses[1]))
        pairs.append(Pair(kind, indexes, addresses))
    for pair in pairs:
        _await_passage((near, far), pair)
    return (near, far), Ground((near.number, far.number), tuple(pairs))


def _dotted(number: int) -> str:
    return socket.inet_ntoa(struct.pack(">I", number))


def _make_pair(near: _End, far: _End, kind: str) -> None:
    name = attribute(rtnetlink.IFLA_IFNAME, f"nkr-{kind}".encode() + b"\0")
    place = attribute(_IFLA_NET_NS_FD, struct.pack("=I", far.descriptor))
    peer = _IFINFO.pack(0, 0, 0, 0, 0) + name + place
    if kind == "veth":
        data = attribute(_VETH_INFO_PEER, peer)
    else:
        data = attribute(rtnetlink.NETKIT_PEER_INFO, peer)
        data += attribute(rtnetlink.NETKIT_MODE, struct.pack("=I", rtnetlink.NETKIT_L3))
    info = attribute(rtnetlink.IFLA_INFO_KIND, kind.encode() + b"\0") + attribute(rtnetlink.IFLA_INFO_DATA, data)
    body = _IFINFO.pack(0, 0, 0, 0, 0) + name + attribute(rtnetlink.IFLA_LINKINFO, info)
    near.links.request(rtnetlink.RTM_NEWLINK, _CREATE, body)


def _datagrams(ends: tuple[_End, _End], pair: Pair, count: int = PACKETS) -> dict[str, int]:
    """Send datagrams across, one at a time, and count those that arrive."""
    received = 0
    with ends[1].socket(socket.SOCK_DGRAM, pair.addresses[1]) as sink, ends[0].socket(socket.SOCK_DGRAM) as source:
        for _ in range(count):
            source.sendto(DATAGRAM, sink.getsockname())
            received += sink.recv(len(DATAGRAM)) == DATAGRAM
    return {"sent": count, "received": received}


def _await_passage(ends: tuple[_End, _End], pair: Pair) -> None:
    """Send until one datagram arrives, before anything is counted.

    Addresses are resolved by that, and a link that came up drops what is sent until the kernel, a moment later, has
    given it its queue.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with ends[1].socket(socket.SOCK_DGRAM, pair.addresses[1]) as sink, ends[0].socket(socket.SOCK_DGRAM) as source:
        sink.settimeout(_PASSAGE_SECONDS)
        while True:
            source.sendto(DATAGRAM, sink.getsockname())
            try:
                sink.recv(len(DATAGRAM))
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise
            else:
                break
        sink.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:  # late ones are of no one's count
                sink.recv(len(DATAGRAM))


def _unheard(ends: tuple[_End, _End], pair: Pair) -> dict[str, int]:
    """Send datagrams to a port that nobody listens on: each is dropped for want of a socket."""
    with ends[1].socket(socket.SOCK_DGRAM, pair.addresses[1]) as closed:
        target = closed.getsockname()
    with ends[0].socket(socket.SOCK_DGRAM) as source:  # not connected, so that refusals are not handed back to it
        for _ in range(PACKETS):
            source.sendto(DATAGRAM, target)
    return {"sent": PACKETS}


def _connections(ends: tuple[_End, _End], pair: Pair) -> dict[str, int]:
    """Connections that are accepted, and some that are refused."""
    accepted = refused = 0
    with ends[1].socket(socket.SOCK_STREAM, pair.addresses[1]) as listener:
        listener.listen(CONNECTS)
        for _ in range(CONNECTS):
            with ends[0].socket(socket.SOCK_STREAM) as client:
                client.connect(listener.getsockname())
                listener.accept()[0].close()
                accepted += 1
        target = listener.getsockname()
    for _ in range(REFUSALS):
        with ends[0].socket(socket.SOCK_STREAM) as client:
            refused += client.connect_ex(target) == errno.ECONNREFUSED
    return {"connects": accepted, "refused": refused}


WORKLOADS = {"path": _datagrams, "drops": _unheard, "tcp": _connections}
