"""List and watch of one kind, in a thread of its own.

Decision: written by hand on raw lines, because the client's Watch loses 410 and the resourceVersion and its informer
retries without a pause (and kept an object that was gone). The rules:
- list, then watch from the list's version; every object and bookmark moves the version on;
- the watch ended or broke, or nothing came for `quiet_s` (a connection that died without a word): watch again from the
  last version;
- anything else (410, refused, an error answer, an unreadable line): list again, after a pause that doubles to
  `longest_pause_s`. A server that comes back with an older store is thus believed, at the price of one list;
- a feed that has failed for `stale_s` says so to those who ask, instead of showing yesterday's cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

import urllib3

from rollout.adapters.kubernetes import documents as docs
from rollout.adapters.kubernetes.connection import Connection
from rollout.adapters.kubernetes.decode import decode
from rollout.adapters.kubernetes.errors import FOREIGN, Answer, Expired, answered_error
from rollout.adapters.kubernetes.lists import list_all
from rollout.adapters.kubernetes.request import Request
from rollout.domain.errors import Foreign, TooManyRequests, Unavailable

D = TypeVar("D")
V = TypeVar("V")
_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """How patient a feed is. A server sends a bookmark about once a minute, so two silent minutes are a dead line."""

    watch_s: int = 290
    quiet_s: float = 120.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    stale_s: float = 60.0
    short_s: float = 1.0
    """A watch that ended sooner, with nothing in it, counts as a failure."""


@dataclass(frozen=True, slots=True)
class Source(Generic[D, V]):
    """What is watched, and where it goes."""

    resource: str
    kind: type[D]
    convert: Callable[[D], V]
    order: Callable[[D], str]
    """What a fresh list is sorted by."""
    replace: Callable[[list[V]], None]
    put: Callable[[V], None]
    drop: Callable[[V], None]
    query: dict[str, Any]
    namespace: str = ""
    """Only objects in this namespace; empty: in all of them."""


class Feed(Generic[D, V]):
    """Keeps one kind up to date until closed."""

    def __init__(self, connection: Connection, source: Source[D, V], times: WatchTimes) -> None:
        self._connection = connection
        self._source = source
        self._times = times
        self._stop = Event()
        self._ready = Event()
        self._lock = Lock()
        self._response: urllib3.BaseHTTPResponse | None = None
        self._failing_since: float | None = None
        self._trouble: Foreign | None = None
        self._fault: BaseException | None = None
        self._thread = Thread(target=self._run, name=f"watch-{source.resource}", daemon=True)
        self._thread.start()

    # -- asked from outside ------------------------------------------------------------------------------------------

    def require_current(self, timeout_s: float) -> None:
        """Wait for the first list. Raises what keeps the feed from telling the present."""
        if not self._ready.wait(timeout_s):
            raise Unavailable("timed-out", f"cannot watch {self._source.resource}: the first list did not come in time")
        with self._lock:
            if self._fault is not None:
                raise self._fault
            if self._trouble is None or self._failing_since is None:
                return
            if time.monotonic() - self._failing_since >= self._times.stale_s:
                # One error told many times: it must not carry every teller's frames.
                raise self._trouble.with_traceback(None)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._ready.set()
        with self._lock:
            response = self._response
        if response is not None:
            # The reader may be closing it itself at this moment.
            with suppress(*FOREIGN, ValueError, RuntimeError):
                response.shutdown()
        self._thread.join(timeout=15)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = self._times.first_pause_s
        try:
            while not self._stop.is_set():
                try:
                    version = self._list()
                    while not self._stop.is_set():
                        started = time.monotonic()
                        version, lines = self._watch(version)
                        if not lines and time.monotonic() - started < self._times.short_s and not self._stop.is_set():
                            raise _ends_at_once(self._source.resource)
                        pause = self._times.first_pause_s
                except Foreign as error:
                    if self._stop.is_set():
                        return
                    self._note(error)
                    asked = error.retry_after if isinstance(error, TooManyRequests) else None
                    self._stop.wait(max(pause, float(asked or 0)))
                    pause = min(pause * 2, self._times.longest_pause_s)
        except BaseException as error:
            # A bug of ours: whoever asks next must get it, not a view that stands still.
            with self._lock:
                self._fault = error
            self._ready.set()
            raise

    def _note(self, error: Foreign) -> None:
        with self._lock:
            self._trouble = error
            if not self._ready.is_set():
                # Nothing was ever known, so nobody is helped by waiting.
                self._failing_since = -self._times.stale_s
            elif self._failing_since is None and not isinstance(error, Expired):
                self._failing_since = time.monotonic()
        self._ready.set()

    def _list(self) -> str:
        source = self._source
        request = Request("list", source.resource, namespace=source.namespace)

        def sortable(doc: D) -> tuple[str, V]:
            return source.order(doc), source.convert(doc)

        listed = list_all(self._connection, request, source.kind, sortable, source.query)
        source.replace([value for _, value in sorted(listed.items, key=itemgetter(0))])
        with self._lock:
            self._trouble = self._failing_since = None
        self._ready.set()
        return listed.version

    def _watch(self, version: str) -> tuple[str, int]:
        """One watch to its end; the version to go on from, and how many lines came."""
        request = Request("watch", self._source.resource, namespace=self._source.namespace)
        query = {
            **self._source.query,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": self._times.watch_s,
        }
        response = self._connection.stream(request, query, self._times.quiet_s)
        with self._lock:
            self._response = response
        rest, lines = b"", 0
        try:
            # Closed while we were connecting: nobody would shut this one down.
            while not self._stop.is_set() and (piece := response.read1(_PIECE)):
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    if line.strip():
                        version = self._take(request, line) or version
                        lines += 1
        except urllib3.exceptions.ReadTimeoutError:
            # Silent for long: perhaps a dead connection, perhaps a quiet cluster. A new watch tells.
            lines += 1
        except (*FOREIGN, ValueError):
            # Broken under way, as load balancers do with long answers: go on from what we have, if it can be reached.
            pass
        finally:
            with self._lock:
                self._response = None
            response.close()
        return version, lines

    def _take(self, request: Request, line: bytes) -> str:
        """Apply one line; the version it carries."""
        source = self._source
        event = decode(line, docs.WatchLine, f"a line of {request}")
        if event.type == "ERROR":
            answer = Answer(500, bytes(event.object))
            code = answer.status.code if answer.status else None
            raise answered_error(request, Answer(code or 500, answer.body))
        if event.type == "BOOKMARK":
            meta = decode(event.object, docs.MetaOnlyDoc, f"a bookmark of {request}").metadata
            return (meta or docs.NO_META).resourceVersion or ""
        doc = decode(event.object, source.kind, f"an object of {request}")
        (source.drop if event.type == "DELETED" else source.put)(source.convert(doc))
        meta = getattr(doc, "metadata", None) or docs.NO_META
        return meta.resourceVersion or ""


def _ends_at_once(resource: str) -> Unavailable:
    return Unavailable("watch-ends", f"cannot watch {resource}: the server ends it at once")
