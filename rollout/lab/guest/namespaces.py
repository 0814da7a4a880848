"""Network namespaces with names, as a container runtime keeps them: made and entered by threads of their own.

Only the calling thread changes its namespace, so the rest of the process never leaves the host's.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
# Python has os.setns only from 3.12, and mount never.
_libc = ctypes.CDLL(None, use_errno=True)


def _check(returned: int, act: str) -> None:
    if returned != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {act}: {os.strerror(number)}")


def enter(path: Path) -> None:
    """Move the calling thread into the namespace; for a fresh child process or a thread that ends soon."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, _CLONE_NEWNET), f"enter {path}")
    finally:
        os.close(descriptor)


def in_thread(action: Callable[[], Result]) -> Result:
    """The action's result or exception, from a thread which is thrown away with its namespace."""
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


def inside(path: Path, action: Callable[[], Result]) -> Result:
    def entered() -> Result:
        enter(path)
        return action()

    return in_thread(entered)


def unshare_network() -> None:
    """Give the calling thread an empty network namespace of its own."""
    _check(_libc.unshare(_CLONE_NEWNET), "make a network namespace")


def create(path: Path) -> None:
    """Make a namespace and keep it alive by a bind mount, where `ip netns` finds it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()

    def body() -> None:
        unshare_network()
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        _check(_libc.mount(source.encode(), str(path).encode(), None, _MS_BIND, None), f"mount {path}")

    try:
        in_thread(body)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def exists(path: Path) -> bool:
    """True if the name holds a namespace and not only the file left by one."""
    return os.path.ismount(path)


def remove(path: Path) -> None:
    """Drop the name; the namespace goes with its last process. Repeat-safe."""
    if exists(path):
        _check(_libc.umount2(str(path).encode(), _MNT_DETACH), f"unmount {path}")
    path.unlink(missing_ok=True)


def mount(kind: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _check(_libc.mount(kind.encode(), str(target).encode(), kind.encode(), 0, None), f"mount {kind} on {target}")


def die_with_parent() -> None:
    """Ask the kernel to end this process when the one which forked it ends."""
    pr_set_pdeathsig, sigkill = 1, 9
    _check(_libc.prctl(pr_set_pdeathsig, sigkill, 0, 0, 0), "tie this process to its parent")
