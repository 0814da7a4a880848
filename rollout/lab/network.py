"""The lab's network: a Linux bridge in a network namespace of its own, with one tap device per machine.

Nothing of it is visible to, or reachable from, the host's real networks. A process outside uses it through sockets made
inside (`listen`, `connect`). QEMU itself stays outside as well: it only holds a tap's file descriptor.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyroute2
import pyroute2.netns

BRIDGE = "labbr"
# The host's end of the bridge: where the API stand-in listens, and the machines' default gateway.
GATEWAY = "192.168.77.1"
PREFIX_LENGTH = 24
NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
# From linux/if_tun.h.
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
Result = TypeVar("Result")


class NetworkError(Exception):
    """The lab's network cannot be made or used; the message says what failed, on what, and what to do next."""


def machine_address(index: int) -> str:
    """Address of machine `index` (1 to 200) on the bridge."""
    return f"192.168.77.{10 + index}"


def machine_mac(index: int) -> str:
    """MAC of machine `index` on the bridge; 52:54 is QEMU's locally administered prefix."""
    return f"52:54:00:77:00:{index:02x}"


def pod_cidr(index: int) -> str:
    """Pod addresses of machine `index`."""
    return f"10.244.{index}.0/24"


def in_namespace(path: Path, function: Callable[[], Result]) -> Result:
    """Call `function` in the network namespace at `path`.

    It runs in a thread of its own, because a namespace belongs to a thread: the caller's is never changed.
    What it opens stays in that namespace. Exceptions are passed on.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def enter_and_call() -> None:
        try:
            enter(path)
            results.append(function())
        except BaseException as failure:  # noqa: BLE001 - handed to the caller
            failures.append(failure)

    thread = threading.Thread(target=enter_and_call, name=f"netns-{path.name}")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def enter(path: Path) -> None:
    """Move the calling thread into the network namespace at `path`."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise NetworkError(f"cannot enter network namespace {path}: {os.strerror(number)}; the lab needs root")
    finally:
        os.close(descriptor)


def listening_socket(address: tuple[str, int], backlog: int = 128) -> socket.socket:
    """A TCP socket listening on `address` in the calling thread's namespace."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def greets(port: int, timeout_s: float) -> bool:
    """True if an SSH server at 127.0.0.1:`port` sends its greeting within `timeout_s` seconds."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as probe:
            probe.settimeout(timeout_s)
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


def open_tap(name: str) -> int:
    """A new tap in the calling thread's namespace, as a file descriptor; the device lives as long as that is open."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    # With VNET_HDR large segments cross the bridge uncut; template and machines must agree on it.
    request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
    try:
        fcntl.ioctl(descriptor, TUNSETIFF, request)
    except OSError as cause:
        os.close(descriptor)
        busy = "; a machine of that index is still running" if cause.errno == errno.EBUSY else "; the lab needs root"
        raise NetworkError(f"cannot create tap device {name}: {cause.strerror}{busy}") from cause
    return descriptor


def build_bridge() -> None:
    """Set up loopback, bridge and forwarding in the calling thread's namespace."""
    with pyroute2.IPRoute() as kernel:
        kernel.link("set", index=1, state="up")
        kernel.link("add", ifname=BRIDGE, kind="bridge")
        bridge = link_index(kernel, BRIDGE)
        kernel.addr("add", index=bridge, address=GATEWAY, prefixlen=PREFIX_LENGTH)
        kernel.link("set", index=bridge, state="up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def link_index(kernel: Any, name: str) -> int:
    """Index of the link called `name`, through an open IPRoute."""
    return int(kernel.link_lookup(ifname=name)[0])


def plug_tap(index: int) -> int:
    """Open machine `index`'s tap, put it on the bridge, and route the machine's pods to it."""
    name = f"tap{index}"
    descriptor = open_tap(name)
    with pyroute2.IPRoute() as kernel:
        tap, bridge = link_index(kernel, name), link_index(kernel, BRIDGE)
        kernel.link("set", index=tap, master=bridge, state="up")
        kernel.route("replace", dst=pod_cidr(index), gateway=machine_address(index), oif=bridge)
    return descriptor


@dataclass(frozen=True)
class LabNetwork:
    """One lab's network namespace, by its name (as `ip netns` shows it)."""

    name: str

    @staticmethod
    def create(name: str) -> LabNetwork:
        """Make the namespace and its bridge; a leftover of that name is replaced. Raises NetworkError."""
        network = LabNetwork(name)
        network.delete()
        try:
            pyroute2.netns.create(name)
            in_namespace(network.path, build_bridge)
        except (OSError, pyroute2.NetlinkError) as cause:
            network.delete()
            raise NetworkError(f"cannot create network namespace {name}: {cause}; the lab needs root") from cause
        return network

    @property
    def path(self) -> Path:
        return NAMESPACES / self.name

    def tap(self, index: int) -> int:
        """A new tap for machine `index`, as a file descriptor that the caller must close or hand to a machine."""
        return in_namespace(self.path, lambda: plug_tap(index))

    def listen(self, address: tuple[str, int]) -> socket.socket:
        """A TCP socket listening inside; use it from anywhere in this process."""
        return in_namespace(self.path, lambda: listening_socket(address))

    def connect(self, address: tuple[str, int], timeout_s: float = 10.0) -> socket.socket:
        """A TCP socket connected from inside to `address`."""
        return in_namespace(self.path, lambda: socket.create_connection(address, timeout_s))

    def delete(self) -> None:
        """Remove the name; the namespace ends with the last socket or tap in it. Does nothing if there is none."""
        if self.path.exists():
            pyroute2.netns.remove(self.name)
