"""Pods by node, by owner and by namespace: shared by all controllers, kept up to date by the store's changes."""

from collections.abc import Callable

from rollout.lab.apiserver.objects import Obj, controller_of, dig, is_condition_true, key_of
from rollout.lab.apiserver.storage import ADDED, DELETED, Change
from rollout.lab.apiserver.store import Store

PodKey = tuple[str, str]
_Index = dict[str, dict[PodKey, Obj]]


def is_finished(pod: Obj) -> bool:
    return dig(pod, "status", "phase") in ("Succeeded", "Failed")


def is_active(pod: Obj) -> bool:
    """Counts as one of its owner's replicas: not finished and not going."""
    return not is_finished(pod) and not pod["metadata"].get("deletionTimestamp")


def is_ready(pod: Obj) -> bool:
    return is_condition_true(pod, "Ready")


def node_of(pod: Obj) -> str:
    return str(pod["spec"].get("nodeName") or "")


class PodIndex:
    """Answers the questions controllers ask about pods without walking through all of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_node: _Index = {}
        self._by_owner: _Index = {}
        self._by_namespace: _Index = {}
        self._unsubscribe: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._unsubscribe = self._store.subscribe("pods", self._on_change)
        for pod in self._store.storage.values("pods"):
            self._on_change(Change(0, ADDED, None, pod))

    def stop(self) -> None:
        self._unsubscribe()

    def _on_change(self, change: Change) -> None:
        if change.old is not None:
            self._take_out(change.old)
        if change.action != DELETED:
            self._put_in(change.new)

    def _places(self, pod: Obj) -> list[tuple[_Index, str]]:
        owner = controller_of(pod)
        places = [(self._by_namespace, pod["metadata"]["namespace"]), (self._by_node, node_of(pod))]
        return [*places, (self._by_owner, owner["uid"])] if owner else places

    def _put_in(self, pod: Obj) -> None:
        for index, value in self._places(pod):
            index.setdefault(value, {})[key_of(pod)] = pod

    def _take_out(self, pod: Obj) -> None:
        for index, value in self._places(pod):
            index.get(value, {}).pop(key_of(pod), None)

    def on_node(self, node: str) -> list[Obj]:
        return list(self._by_node.get(node, {}).values())

    def owned_by(self, uid: str) -> list[Obj]:
        return list(self._by_owner.get(uid, {}).values())

    def in_namespace(self, namespace: str) -> list[Obj]:
        return list(self._by_namespace.get(namespace, {}).values())
