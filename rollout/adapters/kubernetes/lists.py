"""Whole lists, read in pages.

Decision: only a list's first page passes the throttle. Its pages are asked for one after the other, so a list never has
more than one request in flight; charging each page would make an inventory of 150,000 pods wait 15 s for nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

from rollout.adapters.kubernetes import decode
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.errors import Expired
from rollout.adapters.kubernetes.request import Request

PAGE = 500
_FRESH_STARTS = 3

D = TypeVar("D")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Listed(Generic[V]):
    """A whole list and the version it was read at."""

    items: list[V]
    version: str


_pauses = 0
_pauses_lock = Lock()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Keep the cyclic garbage collector from walking a growing heap of values that hold no cycles: half of the cost."""
    global _pauses  # noqa: PLW0603  (the collector is process-wide, hence so is the count of those who paused it)
    with _pauses_lock:
        if _pauses == 0 and not gc.isenabled():
            # Somebody else keeps it off: leave it to them.
            yield_only = True
        else:
            yield_only = False
            _pauses += 1
            gc.disable()
    try:
        yield
    finally:
        if not yield_only:
            with _pauses_lock:
                _pauses -= 1
                if _pauses == 0:
                    gc.enable()


def list_all(
    connection: Connection,
    request: Request,
    kind: type[D],
    convert: Callable[[D], V],
    query: Mapping[str, Any] | None = None,
) -> Listed[V]:
    """Read a whole list. One whose continuation expired under way is read again from its start."""
    for start in range(_FRESH_STARTS):
        try:
            with gc_paused():
                return _list_once(connection, request, kind, convert, query or {})
        except Expired:
            if start == _FRESH_STARTS - 1:
                raise
    raise AssertionError("unreachable")


def _list_once(
    connection: Connection, request: Request, kind: type[D], convert: Callable[[D], V], query: Mapping[str, Any]
) -> Listed[V]:
    items: list[V] = []
    token = ""
    while True:
        asked = {**query, "limit": PAGE} | ({"continue": token} if token else {})
        body = connection.call(request, query=asked, free=bool(token))
        found, version, token = decode.decode_page(body, kind, str(request))
        items += map(convert, found)
        if not token:
            return Listed(items, version)
