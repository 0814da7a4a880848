"""Watch streams: changes as they are committed, seen through a selector."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import msgspec
from aiohttp import web

from rollout.lab.apiserver import errors
from rollout.lab.apiserver.exchange import Exchange
from rollout.lab.apiserver.objects import Obj
from rollout.lab.apiserver.reads import as_version
from rollout.lab.apiserver.selectors import Predicate, build_predicate
from rollout.lab.apiserver.storage import ADDED, DELETED, MODIFIED, Change
from rollout.lab.apiserver.store import Store
from rollout.lab.apiserver.tables import partial_metadata, render_table

_DEFAULT_TIMEOUT = 30 * 60.0
# A client this far behind is cut off, as the real watch cache does; it will list again.
_MOST_PENDING = 10_000
# Events per write: a list of thousands should not cost thousands of chunks.
_LARGEST_BATCH = 200
_encoder = msgspec.json.Encoder()


class Watches:
    """Serves watch requests until their time-out, the client's leaving or the server's stop."""

    def __init__(self, store: Store, bookmark_seconds: float) -> None:
        self._store = store
        self._bookmark_seconds = bookmark_seconds
        self._open: set[_Watch] = set()

    async def serve(self, exchange: Exchange) -> web.StreamResponse:
        watch = _Watch(self._store, exchange, self._bookmark_seconds)
        watch.begin()
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        self._open.add(watch)
        try:
            await response.prepare(exchange.request)
            await watch.stream(response)
        except (ConnectionResetError, ConnectionError):
            pass
        finally:
            self._open.discard(watch)
            watch.end()
        return response

    def stop(self) -> None:
        for watch in tuple(self._open):
            watch.stop()

    @property
    def count(self) -> int:
        return len(self._open)


class _Watch:
    def __init__(self, store: Store, exchange: Exchange, bookmark_seconds: float) -> None:
        self._store = store
        self._exchange = exchange
        self._resource = exchange.resource
        self._namespace = exchange.info.namespace
        self._bookmark_seconds = bookmark_seconds if exchange.flag("allowWatchBookmarks") else 0.0
        self._predicate = self._build_predicate()
        self._pending: deque[bytes | None] = deque()
        self._wake = asyncio.Event()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._form = exchange.accept_form()
        self._headers_sent = False
        self._sent = 0
        # Event by event where a fault counts them.
        counts = exchange.fault is not None and exchange.fault.close_after_events is not None
        self._batch_size = 1 if counts else _LARGEST_BATCH

    def _build_predicate(self) -> Predicate | None:
        query = self._exchange.query
        fields = query.get("fieldSelector", "")
        if self._exchange.info.name:
            fields = f"metadata.name={self._exchange.info.name}"
        return build_predicate(query.get("labelSelector", ""), fields, self._resource.id)

    # -- filling -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Queue what the start version asks for and subscribe, in one go: no change can fall between."""
        version = self._exchange.query.get("resourceVersion", "")
        if version and not version.isdigit():
            raise errors.bad_request(f'invalid resource version "{version}": strconv.ParseUint: invalid syntax')
        initial = self._exchange.query.get("sendInitialEvents", "")
        if initial and self._exchange.query.get("resourceVersionMatch") != "NotOlderThan":
            cause = errors.forbidden_field(
                "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            )
            raise errors.invalid("meta.k8s.io", "ListOptions", "", [cause])
        if initial == "true" or (version in ("", "0") and initial != "false"):
            self._queue_current_state()
            if initial == "true":
                self._queue_bookmark({"k8s.io/initial-events-end": "true"})
        elif version not in ("", "0"):
            self._queue_since(int(version))
        self._unsubscribe = self._store.subscribe(self._resource.id, self._on_change)

    def _queue_current_state(self) -> None:
        for obj in self._store.all(self._resource.id, self._namespace):
            if self._predicate is None or self._predicate(obj):
                self._queue(ADDED, obj)

    def _queue_since(self, revision: int) -> None:
        try:
            changes = self._store.storage.changes_since(self._resource.id, revision)
        except errors.ApiError as error:
            # The real server answers 200 and says so inside the stream.
            self._queue_document("ERROR", error.status())
            self.stop()
            return
        for change in changes:
            self._on_change(change)

    def _on_change(self, change: Change) -> None:
        if self._namespace and change.new["metadata"].get("namespace") != self._namespace:
            return
        if self._predicate is None:
            self._queue_change(change.action, change)
            return
        before = change.old is not None and self._predicate(change.old)
        after = change.action != DELETED and self._predicate(change.new)
        if before and after:
            self._queue_change(MODIFIED, change)
        elif after:
            self._queue_change(ADDED, change)
        elif before:
            self._queue_leaving(change)

    def _queue_leaving(self, change: Change) -> None:
        """An object that no longer matches is shown as it last matched, with the new version."""
        if change.old is None or change.action == DELETED:
            self._queue_change(DELETED, change)
            return
        version = change.new["metadata"]["resourceVersion"]
        self._queue(DELETED, {**change.old, "metadata": {**change.old["metadata"], "resourceVersion": version}})

    def _queue_change(self, action: str, change: Change) -> None:
        if self._form or change.new.get("apiVersion") != self._resource.api_version:
            self._queue(action, change.new)
        else:
            self._push(b'{"type":"%s","object":%s}\n' % (action.encode(), change.encoded()))

    def _queue(self, action: str, obj: Obj) -> None:
        self._queue_document(action, self._shape(as_version(self._resource, obj)))

    def _shape(self, obj: Obj) -> Obj:
        if self._form == "Table":
            metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            include = self._exchange.query.get("includeObject", "Metadata")
            table = render_table(self._resource, [obj], metadata, include, headers=not self._headers_sent)
            self._headers_sent = True
            return table
        return partial_metadata(obj) if self._form.startswith("PartialObjectMetadata") else obj

    def _queue_document(self, action: str, document: Obj) -> None:
        self._push(_encoder.encode({"type": action, "object": document}) + b"\n")

    def _queue_bookmark(self, annotations: dict[str, str] | None = None) -> None:
        metadata: Obj = {"resourceVersion": str(self._store.storage.revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        document = {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": metadata}
        if self._form == "Table":
            document = {**render_table(self._resource, [], metadata, headers=False), "metadata": metadata}
        self._queue_document("BOOKMARK", document)

    def _push(self, line: bytes) -> None:
        if len(self._pending) >= _MOST_PENDING and self._sent:
            self.stop()
            return
        self._pending.append(line)
        self._wake.set()

    # -- sending -----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        self._pending.append(None)
        self._wake.set()

    def end(self) -> None:
        self._unsubscribe()
        self._unsubscribe = lambda: None

    async def stream(self, response: web.StreamResponse) -> None:
        seconds = float(self._exchange.query.get("timeoutSeconds") or 0) or _DEFAULT_TIMEOUT
        deadline = time.monotonic() + seconds
        next_bookmark = time.monotonic() + self._bookmark_seconds if self._bookmark_seconds else deadline
        while True:
            if not await self._drain(response):
                return
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= next_bookmark:
                self._queue_bookmark()
                next_bookmark = now + self._bookmark_seconds
                continue
            await self._sleep_until(min(deadline, next_bookmark))
        if self._bookmark_seconds:
            # A real server sends one shortly before the end, so that the next watch starts late.
            self._queue_bookmark()
            await self._drain(response)

    async def _sleep_until(self, moment: float) -> None:
        self._wake.clear()
        if self._pending:
            return
        try:
            async with asyncio.timeout(max(moment - time.monotonic(), 0)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _drain(self, response: web.StreamResponse) -> bool:
        """Send what is pending. False when the stream is over."""
        while self._pending:
            batch: list[bytes] = []
            while self._pending and len(batch) < self._batch_size and self._pending[0] is not None:
                batch.append(self._pending.popleft() or b"")
            if not batch or self._is_cut():
                return False
            await response.write(b"".join(batch))
            self._sent += len(batch)
        return not self._is_cut()

    def _is_cut(self) -> bool:
        fault = self._exchange.fault
        if fault is None or fault.close_after_events is None or self._sent < fault.close_after_events:
            return False
        transport = self._exchange.request.transport
        if transport is not None:
            transport.abort()
        return True
