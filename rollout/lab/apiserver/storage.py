"""Versioned objects in memory, with a bounded history of changes: what etcd and its cache are to a real server."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from rollout.lab.apiserver.errors import too_old
from rollout.lab.apiserver.objects import Obj, key_of

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
Key = tuple[str, str]

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class Change:
    """One committed write. For a deletion `new` is the last state, stamped with the revision of the deletion."""

    revision: int
    action: str
    old: Obj | None
    new: Obj
    _encoded: bytes | None = field(default=None, repr=False)

    def encoded(self) -> bytes:
        """The object as JSON; made once however many watches want it."""
        if self._encoded is None:
            self._encoded = _encoder.encode(self.new)
        return self._encoded


Listener = Callable[[Change], None]


class Storage:
    """Objects by resource and key. Every write takes the next revision; listeners are told in the same call."""

    def __init__(self, history_limit: int = 20_000) -> None:
        self.revision = 1
        self._history_limit = history_limit
        self._objects: dict[str, dict[Key, Obj]] = {}
        self._history: dict[str, deque[Change]] = {}
        self._floors: dict[str, int] = {}
        self._floor = 0
        self._listeners: dict[str, list[Listener]] = {}

    def get(self, resource_id: str, key: Key) -> Obj | None:
        return self._objects.get(resource_id, {}).get(key)

    def items(self, resource_id: str, namespace: str = "") -> list[Obj]:
        """In the order of a real server: by namespace, then name."""
        objects = self._objects.get(resource_id, {})
        keys = sorted(key for key in objects if key[0] == namespace) if namespace else sorted(objects)
        return [objects[key] for key in keys]

    def values(self, resource_id: str) -> list[Obj]:
        """Unordered; for controllers, which do not care."""
        return list(self._objects.get(resource_id, {}).values())

    def count(self, resource_id: str) -> int:
        return len(self._objects.get(resource_id, {}))

    def put(self, resource_id: str, obj: Obj) -> Obj:
        """Store an object that nobody else holds; it is stamped and from here on must not change."""
        objects = self._objects.setdefault(resource_id, {})
        key = key_of(obj)
        old = objects.get(key)
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        objects[key] = obj
        self._publish(resource_id, Change(self.revision, MODIFIED if old else ADDED, old, obj))
        return obj

    def remove(self, resource_id: str, key: Key) -> Obj:
        old = self._objects[resource_id].pop(key)
        self.revision += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.revision)}}
        self._publish(resource_id, Change(self.revision, DELETED, old, last))
        return last

    def _publish(self, resource_id: str, change: Change) -> None:
        history = self._history.setdefault(resource_id, deque())
        history.append(change)
        if len(history) > self._history_limit:
            self._floors[resource_id] = history.popleft().revision
        for listener in tuple(self._listeners.get(resource_id, ())):
            listener(change)

    def subscribe(self, resource_id: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` inside each later write of the resource; it must be quick. Returns the way out."""
        listeners = self._listeners.setdefault(resource_id, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def changes_since(self, resource_id: str, revision: int) -> list[Change]:
        """Changes after a revision. Raises 410 when some of them are no longer known."""
        floor = max(self._floors.get(resource_id, 0), self._floor)
        if revision < floor:
            raise too_old(revision, floor)
        newer: list[Change] = []
        for change in reversed(self._history.get(resource_id, ())):
            if change.revision <= revision:
                break
            newer.append(change)
        newer.reverse()
        return newer

    def compact(self, revision: int | None = None) -> int:
        """Forget the changes up to a revision (default: all of them), as etcd's compaction does."""
        self._floor = max(self._floor, self.revision if revision is None else revision)
        for history in self._history.values():
            while history and history[0].revision <= self._floor:
                history.popleft()
        return self._floor

    @property
    def compacted(self) -> int:
        return self._floor

    def drop_resource(self, resource_id: str) -> None:
        """Remove every object of a resource that is no longer served."""
        for key in list(self._objects.get(resource_id, {})):
            self.remove(resource_id, key)
