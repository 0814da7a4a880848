"""Plays every node's kubelet: bound pods become Running and Ready, terminating pods go."""

import asyncio
from collections.abc import Callable

from rollout.lab.apiserver.objects import Obj, name_of, namespace_of, now_text, set_condition, uid_of
from rollout.lab.apiserver.storage import ADDED, DELETED, Change
from rollout.lab.apiserver.store import Store


class FakeKubelet:
    """Lives on the server's loop. `unready` names pods that never become ready."""

    def __init__(self, store: Store, *, start_seconds: float = 0.02, stop_seconds: float = 0.02) -> None:
        self._store = store
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._unsubscribe: Callable[[], None] = lambda: None
        self._timers: set[asyncio.TimerHandle] = set()
        self._addresses = 0
        self.unready: set[str] = set()
        self.paused = False

    async def start(self) -> None:
        self._unsubscribe = self._store.subscribe("pods", self._on_pod)
        for pod in self._store.all("pods"):
            self._on_pod(Change(0, ADDED, None, pod))

    async def stop(self) -> None:
        self._unsubscribe()
        for timer in self._timers:
            timer.cancel()

    def _on_pod(self, change: Change) -> None:
        pod = change.new
        if change.action == DELETED or not pod["spec"].get("nodeName") or self.paused:
            return
        if pod["metadata"].get("deletionTimestamp"):
            self._later(self._stop_seconds, self._remove, pod)
        elif pod["status"]["phase"] == "Pending":
            self._later(self._start_seconds, self._run, pod)

    def _later(self, seconds: float, work: Callable[[Obj], None], pod: Obj) -> None:
        self._timers.add(asyncio.get_running_loop().call_later(seconds, work, pod))

    def _same(self, pod: Obj) -> Obj | None:
        found = self._store.find("pods", name_of(pod), namespace_of(pod))
        return found if found is not None and uid_of(found) == uid_of(pod) else None

    def _remove(self, pod: Obj) -> None:
        if self._same(pod) is not None:
            self._store.remove_now("pods", name_of(pod), namespace_of(pod))

    def _run(self, pod: Obj) -> None:
        found = self._same(pod)
        if found is None or found["metadata"].get("deletionTimestamp") or found["status"]["phase"] != "Pending":
            return
        ready = "False" if any(name_of(pod).startswith(prefix) for prefix in self.unready) else "True"
        self._addresses += 1

        def change(obj: Obj) -> None:
            address = f"10.244.{self._addresses >> 8}.{self._addresses & 255}"
            obj["status"] |= {"phase": "Running", "podIP": address, "startTime": now_text()}
            for kind in ("Initialized", "Ready", "ContainersReady"):
                set_condition(obj["status"], {"type": kind, "status": ready})

        self._store.mutate("pods", name_of(pod), change, namespace_of(pod), "status")
