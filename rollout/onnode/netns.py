"""Network namespaces of pods: finding one by the pod's address, and making sockets in it.

A socket belongs to the namespace in which it was made, for as long as it lives. So only a short-lived thread enters a
pod's namespace, makes sockets there, and ends; the main thread never leaves the host's namespace and drives all of
them. Python has os.setns only from 3.12, hence ctypes.
Nothing is mounted, named or written: a process that dies here leaves nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from . import rtnetlink

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_NAMED = ("/run/netns", "/var/run/netns")
_OWN = "/proc/self/ns/net"
_LINK_IN = "net:["


class PodSide(NamedTuple):
    """Where the other end of a host link is."""

    netns: int
    """The namespace's inode number, as in `/proc/PID/ns/net`."""
    ifindex: int


class Namespaces:
    """The network namespaces of this machine other than our own, each opened at most once; a context manager."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._own = os.stat(_OWN).st_ino  # noqa: PTH116 - pathlib is a slow import on a slow node

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def all(self) -> Iterator[int]:
        """A descriptor of each, those with a name first: looking through processes is slow and rarely needed."""
        given: set[int] = set()
        for path in _paths():
            number = self._take(path)
            if number and number not in given:
                given.add(number)
                yield self._open[number]

    def find(self, addresses: Iterable[str]) -> dict[str, int]:
        """Descriptor of the namespace that holds each address; an address that none holds is absent."""
        wanted = set(addresses)
        found: dict[str, int] = {}
        if wanted:
            in_thread(lambda: self._search(wanted, found))
        return found

    def _search(self, wanted: set[str], found: dict[str, int]) -> None:
        for descriptor in self.all():
            try:
                enter(descriptor)
            except OSError:
                continue
            found.update({address: descriptor for address in wanted - set(found) if is_local(address)})
            if len(found) == len(wanted):
                return

    def _take(self, path: str) -> int:
        """Open the namespace unless it is ours or already open; its inode number, 0 when it is not for us."""
        try:
            if path.startswith("/proc/"):
                shown = os.readlink(path)  # noqa: PTH115
                number = int(shown[len(_LINK_IN) : -1]) if shown.startswith(_LINK_IN) else 0
                if number in (0, self._own) or number in self._open:
                    return number if number in self._open else 0
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return 0  # gone meanwhile, or a kernel thread
        number = os.fstat(descriptor).st_ino
        if number == self._own or number in self._open or not _is_namespace(descriptor):
            os.close(descriptor)
            return number if number in self._open else 0
        self._open[number] = descriptor
        return number


def _paths() -> Iterator[str]:
    for folder in _NAMED:
        with contextlib.suppress(OSError):
            yield from (f"{folder}/{name}" for name in sorted(os.listdir(folder)))  # noqa: PTH208
    with contextlib.suppress(OSError):
        yield from (f"/proc/{name}/ns/net" for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208


def _is_namespace(descriptor: int) -> bool:
    """Whether it is open on a namespace, and not on the plain file that a dead one leaves behind."""
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def is_local(address: str) -> bool:
    """Whether the calling thread's namespace has this address on a link: binding to another is refused."""
    family = family_of(address)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True


def family_of(address: str) -> int:
    """AF_INET6 when the text has a colon."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def enter(descriptor: int) -> None:
    """Move the calling thread, which must be one that ends soon, into the namespace. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter a network namespace: {os.strerror(number)}")


def in_thread(action: Callable[[], Result]) -> Result:
    """What `action` gives or raises, from a thread that is thrown away with the namespace it may have entered."""
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            outcome.append(action())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            failure.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def inside(descriptor: int | None, action: Callable[[], Result]) -> Result:
    """Run `action` in the namespace; None: in our own, in this thread."""
    if descriptor is None:
        return action()

    def entered() -> Result:
        enter(descriptor)
        return action()

    return in_thread(entered)


def pod_sides(links: Iterable[rtnetlink.Link]) -> dict[str, PodSide]:
    """Of each of our links whose other end is in another namespace that could be found: where that end is."""
    wanted = {link.name: link for link in links if link.peer_netnsid is not None and link.peer_index}
    found: dict[str, PodSide] = {}
    if not wanted:
        return found
    numbers = {link.peer_netnsid for link in wanted.values()}
    inodes: dict[int, int] = {}
    with Namespaces() as namespaces, rtnetlink.Netlink() as kernel:
        for descriptor in namespaces.all():
            number = kernel.namespace_id(descriptor)
            if number in numbers and number is not None:
                inodes[number] = os.fstat(descriptor).st_ino
            if len(inodes) == len(numbers):
                break
    for name, link in wanted.items():
        if link.peer_netnsid in inodes and link.peer_index:
            found[name] = PodSide(inodes[link.peer_netnsid], link.peer_index)
    return found


def own_number() -> int:
    """Inode number of our own namespace."""
    return Path(_OWN).stat().st_ino
