"""Clearing up: dependents of deleted owners, content of deleted namespaces, pods of vanished nodes."""

from rollout.lab.apiserver.deletion import FOREGROUND
from rollout.lab.apiserver.objects import Obj, name_of, namespace_of
from rollout.lab.apiserver.storage import DELETED, Change, Listener
from rollout.lab.apiserver.store import Store
from rollout.lab.controllers.base import Controller, ControllerSettings
from rollout.lab.controllers.pod_index import PodIndex

# Never owned by anything and written often.
_IGNORED = {"events"}
_ObjectKey = tuple[str, str, str]


class GarbageCollector(Controller[str]):
    """Deletes what belongs to an owner that is gone. Works by uid, over every served resource."""

    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        super().__init__(store, settings)
        self._dependents: dict[str, set[_ObjectKey]] = {}
        self._living: dict[str, _ObjectKey] = {}
        self._watched: set[str] = set()

    def subscribe(self) -> None:
        self._watch_all()
        self.watch("customresourcedefinitions.apiextensions.k8s.io", self._on_definition)

    def _on_definition(self, _change: Change) -> None:
        self._watch_all()

    def _watch_all(self) -> None:
        for resource_id in self.store.registry.stored_ids():
            if resource_id not in self._watched and resource_id not in _IGNORED:
                self._watched.add(resource_id)
                self.watch(resource_id, self._listener(resource_id))

    def _listener(self, resource_id: str) -> Listener:
        def on_change(change: Change) -> None:
            obj = change.new
            key = (resource_id, namespace_of(obj), name_of(obj))
            uid = obj["metadata"]["uid"]
            for owner in (change.old or obj)["metadata"].get("ownerReferences") or ():
                self._dependents.get(owner["uid"], set()).discard(key)
            if change.action == DELETED:
                self._living.pop(uid, None)
                self.enqueue(uid)
                for owner in obj["metadata"].get("ownerReferences") or ():
                    self.enqueue(owner["uid"])
                return
            self._living[uid] = key
            for owner in obj["metadata"].get("ownerReferences") or ():
                self._dependents.setdefault(owner["uid"], set()).add(key)
                if change.old is None and owner["uid"] not in self._living:
                    # Its owner may be seeded a moment later, or may be long gone.
                    self.enqueue(owner["uid"], 1.0)
            if FOREGROUND in (obj["metadata"].get("finalizers") or ()):
                self.enqueue(uid)

        return on_change

    def reconcile(self, key: str) -> None:
        place = self._living.get(key)
        if place is None:
            self._collect(key)
            return
        owner = self.store.find(place[0], place[2], place[1])
        if owner is None or not owner["metadata"].get("deletionTimestamp"):
            return
        if FOREGROUND in (owner["metadata"].get("finalizers") or ()):
            self._finish_foreground(key, place)

    def _collect(self, uid: str) -> None:
        for resource_id, namespace, name in sorted(self._dependents.get(uid, ())):
            obj = self.store.find(resource_id, name, namespace)
            if obj is None or self._has_living_owner(obj):
                continue
            if not obj["metadata"].get("deletionTimestamp"):
                self.store.delete(resource_id, name, namespace, {"propagationPolicy": "Background"})
        if not self._dependents.get(uid):
            self._dependents.pop(uid, None)

    def _has_living_owner(self, obj: Obj) -> bool:
        return any(owner["uid"] in self._living for owner in obj["metadata"].get("ownerReferences") or ())

    def _finish_foreground(self, uid: str, place: _ObjectKey) -> None:
        """Dependents first; the owner's finalizer goes when none is left."""
        left = sorted(self._dependents.get(uid, ()))
        for resource_id, namespace, name in left:
            obj = self.store.find(resource_id, name, namespace)
            if obj is not None and not obj["metadata"].get("deletionTimestamp"):
                self.store.delete(resource_id, name, namespace, {"propagationPolicy": "Foreground"})
        if not self._dependents.get(uid):
            self.store.mutate(place[0], place[2], _drop_foreground, place[1])


def _drop_foreground(obj: Obj) -> None:
    obj["metadata"]["finalizers"] = [f for f in obj["metadata"].get("finalizers") or () if f != FOREGROUND]
    if not obj["metadata"]["finalizers"]:
        del obj["metadata"]["finalizers"]


class NamespaceController(Controller[str]):
    """Empties a namespace that is being deleted, then lets it go."""

    _RETRY_SECONDS = 0.2

    def subscribe(self) -> None:
        self.watch("namespaces", self._on_namespace)

    def _on_namespace(self, change: Change) -> None:
        if change.action != DELETED and change.new["metadata"].get("deletionTimestamp"):
            self.enqueue(name_of(change.new))

    def reconcile(self, key: str) -> None:
        namespace = self.store.find("namespaces", key)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return
        left = 0
        for resource_id in self.store.registry.stored_ids():
            if not self.store.registry.by_id(resource_id).namespaced:
                continue
            for obj in self.store.all(resource_id, key):
                left += 1
                if not obj["metadata"].get("deletionTimestamp"):
                    self.store.delete(resource_id, name_of(obj), key)
        if left:
            self.enqueue(key, self._RETRY_SECONDS)
            return
        self.store.mutate("namespaces", key, lambda obj: obj["spec"].update(finalizers=[]))


class OrphanedPodCollector(Controller[str]):
    """Removes the pods of a node that no longer exists: no kubelet will ever confirm their deletion."""

    def __init__(self, store: Store, settings: ControllerSettings, pods: PodIndex) -> None:
        super().__init__(store, settings)
        self._pods = pods

    def subscribe(self) -> None:
        self.watch("nodes", self._on_node)

    def _on_node(self, change: Change) -> None:
        if change.action == DELETED:
            self.enqueue(name_of(change.new), self.settings.orphaned_pod_seconds)

    def reconcile(self, key: str) -> None:
        if self.store.find("nodes", key) is not None:
            return
        for pod in self._pods.on_node(key):
            self.store.remove_now("pods", name_of(pod), namespace_of(pod))
