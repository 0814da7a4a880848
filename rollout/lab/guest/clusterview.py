"""The cluster's objects that the datapath is made from, followed by watches of their own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from kubeapi import Api, Change, Json, Watch

KINDS = {
    "services": "/api/v1/services",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
    "policies": "/apis/networking.k8s.io/v1/networkpolicies",
    "namespaces": "/api/v1/namespaces",
    "endpoints": "/apis/cilium.io/v2/ciliumendpoints",
}


class ClusterView:
    """Thread-safe. `changed` is called after every change."""

    def __init__(self, api: Api, stop: threading.Event, changed: Callable[[], None]) -> None:
        self._api = api
        self._stop = stop
        self._changed = changed
        self._lock = threading.Lock()
        self._objects: dict[str, dict[tuple[str, str], Json]] = {kind: {} for kind in KINDS}
        self._synced = {kind: threading.Event() for kind in KINDS}

    def start(self) -> None:
        for kind in KINDS:
            threading.Thread(target=self._follow, args=(kind,), name=f"watch-{kind}", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Until every kind was listed once; False if that took too long."""
        with ThreadPoolExecutor(len(KINDS)) as pool:
            return all(pool.map(lambda synced: synced.wait(seconds), self._synced.values()))

    def objects(self, kind: str) -> list[Json]:
        with self._lock:
            return list(self._objects[kind].values())

    def _follow(self, kind: str) -> None:
        for change in Watch(self._api, KINDS[kind], self._stop).changes():
            self._apply(kind, change)
            self._synced[kind].set()
            self._changed()

    def _apply(self, kind: str, change: Change) -> None:
        with self._lock:
            held = self._objects[kind]
            if change.kind == "SYNC":
                held.clear()
            for item in change.objects:
                key = (item["metadata"].get("namespace", ""), item["metadata"]["name"])
                item["metadata"].pop("managedFields", None)
                if change.kind == "DELETED":
                    held.pop(key, None)
                else:
                    held[key] = item
