"""File systems of our own that nobody else sees and that nothing can leave behind.

Mounts belong to a thread's namespace of mounts: a short-lived thread takes one for itself and mounts there what it
needs. The kernel takes all of it away with the thread, and with the process when that is killed.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import TypeVar

from . import netns

Result = TypeVar("Result")
BIND = 0x1000
_CLONE_NEWNS = 0x00020000
_PRIVATE_FOR_ALL = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE


def privately(action: Callable[[], Result]) -> Result:
    """What `action` gives or raises, from a thread with mounts of its own. Raises OSError where that is refused."""

    def body() -> Result:
        _check(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS), "have mounts of our own")
        mount("none", "/", None, _PRIVATE_FOR_ALL)
        return action()

    return netns.in_thread(body)


def mount(source: str, target: str, kind: str | None, flags: int = 0) -> None:
    """mount(2), for use inside `privately` only. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, None)
    _check(done, f"mount {kind or source} at {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot {what}: {os.strerror(number)}")
