"""Runs the eBPF probes over traffic of known amount between two pods of a node that is all ours.

It is no test: it is put beside the programs that a node is sent (`shipped.py`), so the same text runs here, with only
veth, and in a guest of the lab. The node is a network namespace of this process; each pod's is held by a child.
Request: `kind` (veth or netkit), `probes`, and at which stage to wait for being killed (`wait_in`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.onnode import bpfcalls, netns
    from rollout.onnode.wire import Wire
else:
    from onnode import bpfcalls, netns
    from onnode.wire import Wire

CLONE_NEWNET = 0x40000000
PAYLOAD = b"x" * 100
PODS = {"a": {4: "10.99.0.1", 6: "fd99::1"}, "b": {4: "10.99.0.2", 6: "fd99::2"}}
LIBC = ctypes.CDLL(None, use_errno=True)


class Pod:
    """A network namespace with one link to ours."""

    def __init__(self, name: str, kind: str) -> None:
        reading, writing = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)
            LIBC.unshare(CLONE_NEWNET)
            os.write(writing, b".")
            signal.pause()
        os.read(reading, 1)
        os.close(reading)
        os.close(writing)
        self.addresses = PODS[name]
        self.descriptor = os.open(f"/proc/{self.child}/ns/net", os.O_RDONLY)
        netns.inside(self.descriptor, quiet)
        ip(f"link add lxc{name} type {kind} peer name eth0 netns {self.child}")
        ip(f"link set lxc{name} up")
        ip(f"addr add fe80::1/64 dev lxc{name} nodad")
        inside = ["nsenter", "-t", str(self.child), "-n"]
        for command in (
            f"addr add {self.addresses[4]}/32 dev eth0",
            f"addr add {self.addresses[6]}/128 dev eth0 nodad",
            "link set lo up",
            "link set eth0 up",
            "route add 10.99.0.254 dev eth0",
            "route add default via 10.99.0.254 dev eth0 onlink",
            "-6 route add fe80::1 dev eth0",
            "-6 route add default via fe80::1 dev eth0",
        ):
            ip(command, inside)
        for family in (4, 6):
            ip(f"-{family} route add {self.addresses[family]} dev lxc{name}")

    def socket(self, kind: int, family: int = 4, *, bound: bool = False) -> socket.socket:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind)
            made.settimeout(10)
            if bound:
                made.bind((self.addresses[family], 0))
            return made

        return netns.inside(self.descriptor, make)


def ip(command: str, before: list[str] = []) -> None:  # noqa: B006
    subprocess.run([*before, "ip", *command.split()], check=True)


def quiet() -> None:
    """No router solicitations, no link-local addresses: nothing but what is sent on purpose."""
    for which in ("default", "all"):
        Path(f"/proc/sys/net/ipv6/conf/{which}/addr_gen_mode").write_text("1")
        Path(f"/proc/sys/net/ipv6/conf/{which}/accept_ra").write_text("0")
        for version in ("mldv1", "mldv2"):  # reports of multicast groups come at random times: an hour off
            Path(f"/proc/sys/net/ipv6/conf/{which}/{version}_unsolicited_report_interval").write_text("3600000")


def make_node() -> None:
    assert LIBC.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    quiet()
    ip("link set lo up")
    ip("addr add 10.99.0.254/32 dev lo")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")


def datagrams(source: Pod, target: Pod, count: int) -> int:
    got = 0
    with target.socket(socket.SOCK_DGRAM, bound=True) as sink, source.socket(socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(PAYLOAD, sink.getsockname())
            got += len(sink.recv(200)) == len(PAYLOAD)
    return got


def unheard(source: Pod, target: Pod, count: int) -> None:
    with target.socket(socket.SOCK_DGRAM, bound=True) as closed:
        address = closed.getsockname()
    with source.socket(socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(PAYLOAD, address)


def connections(source: Pod, target: Pod, family: int, accepted: int, refused: int) -> None:
    with target.socket(socket.SOCK_STREAM, family, bound=True) as listener:
        listener.listen(8)
        for _ in range(accepted):
            with source.socket(socket.SOCK_STREAM, family) as client:
                client.connect(listener.getsockname())
                server = listener.accept()[0]
                client.sendall(PAYLOAD)
                assert server.recv(200) == PAYLOAD
                client.close()
                server.recv(1)
                server.close()
        address = listener.getsockname()
    for _ in range(refused):
        with source.socket(socket.SOCK_STREAM, family) as client:
            assert client.connect_ex(address[:2]) == errno.ECONNREFUSED


def text_of(path: Path) -> list[str]:
    with contextlib.suppress(OSError):  # the descriptor of the listing itself
        return path.read_text().splitlines()
    return []


def own_programs() -> set[int]:
    """Numbers of the eBPF programs that this process holds."""
    lines = [line for path in Path("/proc/self/fdinfo").iterdir() for line in text_of(path)]
    return {int(line.split()[1]) for line in lines if line.startswith("prog_id:")}


def wait(stage: str, request: dict[str, Any]) -> None:
    """Say where we are, and stay there when that was asked for."""
    if request.get("wait_in") == stage:
        sys.stdout.write(f"{stage}\n")
        sys.stdout.flush()
        time.sleep(60)


def main(request: dict[str, Any]) -> dict[str, Any]:
    make_node()
    first, second = (Pod(name, request["kind"]) for name in PODS)
    datagrams(first, second, 1)  # addresses are resolved before anything is counted
    connections(first, second, 6, 1, 0)
    answer: dict[str, Any] = {}
    with Wire(tuple(request["probes"]), {}) as wire:
        wait("before", request)
        wire.open()
        mine = own_programs()
        answer["programs"] = {number: name for number, name in bpfcalls.program_names().items() if number in mine}
        wire.begin()
        wait("window", request)
        answer["delivered"] = datagrams(first, second, 200)
        unheard(first, second, 30)
        answer["udp"] = wire.end()
        wire.begin()
        connections(first, second, 4, 20, 5)
        connections(first, second, 6, 7, 2)
        answer["tcp"] = wire.end()
        if request["kind"] == "netkit":
            wire.begin()
            ip("link set lxca type netkit peer blackhole")  # as it is when the agent's program is gone
            unheard(first, second, 30)
            answer["blackhole"] = wire.end()
    for pod in (first, second):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pod.child, signal.SIGKILL)
            os.waitpid(pod.child, 0)
    return answer
