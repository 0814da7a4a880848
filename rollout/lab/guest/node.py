"""The kubelet stand-in: registers the node, and runs the pods which are bound to it.

Threads: this one follows the pods; one per pod lives its life (podworker); one renews the lease; one hears the
container runtime. All of them sleep in the kernel while nothing happens.
"""

import json
import os
import signal
import sys
import threading
from typing import Any

import containerimages
import containerruntime
import labpaths
import podnet
import podstate
import runtimeclient
from kubeapi import Api, Change, Json, Watch, server_from
from kubeletserver import serve
from nodeevents import EventWriter
from nodeobject import NodeObject, NodeSettings
from podstate import PodState
from podworker import NodeContext, PodWorker


class Kubelet:
    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._api = Api(server_from(labpaths.etc(), settings.api), "kubelet")
        self._events = EventWriter(self._api, settings.name)
        self._node = NodeObject(self._api, settings, self._events, self._stop)
        self._lock = threading.Lock()
        self._workers: dict[str, PodWorker] = {}
        self._pods: dict[str, Json] = {}
        self._left = podstate.load_all()
        runtime = runtimeclient.RuntimeClient(labpaths.runtime_socket(), self._container_exited, self._runtime_gone)
        self._context = NodeContext(
            name=settings.name,
            address=settings.address,
            time_scale=settings.time_scale,
            environment=container_environment(settings),
            api=self._api,
            runtime=runtime,
            network=podnet.PodNet(settings.time_scale),
            events=self._events,
            network_changed=self._node.network_changed,
            ended=self._ended,
        )

    def run(self) -> None:
        """For ever."""
        self._node.register()
        serve(self._states, self._pod_objects)
        threading.Thread(target=self._node.keep, name="lease", daemon=True).start()
        selector = f"spec.nodeName={self._settings.name}"
        for change in Watch(self._api, "/api/v1/pods", self._stop, selector).changes():
            self._apply(change)

    def _apply(self, change: Change) -> None:
        present = {each["metadata"]["uid"] for each in change.objects}
        if change.kind == "SYNC":
            for uid in [each for each in self._workers if each not in present]:
                self._vanish(uid)
            self._clean_left(present)
        for pod in change.objects:
            if change.kind == "DELETED":
                self._vanish(pod["metadata"]["uid"])
            else:
                self._assign(pod)

    def _assign(self, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        with self._lock:
            self._pods[uid] = pod
            worker = self._workers.get(uid)
            if worker is None:
                state = self._left.pop(uid, None) or podstate.first_state(pod)
                worker = self._workers[uid] = PodWorker(self._context, pod, state)
                worker.start()
                return
        worker.update(pod)

    def _vanish(self, uid: str) -> None:
        with self._lock:
            # It stays known until it has ended: its containers' exits are still to be told to it.
            worker = self._workers.get(uid)
            self._pods.pop(uid, None)
        self._events.forget(uid)
        if worker:
            worker.vanish()

    def _clean_left(self, present: set[str]) -> None:
        """Pods on disk which the API no longer knows: end them as if they had vanished while we looked."""
        for uid in [each for each in self._left if each not in present]:
            state = self._left.pop(uid)
            worker = PodWorker(self._context, _shell(state), state)
            with self._lock:
                self._workers[uid] = worker
            worker.vanish()
            worker.start()

    def _ended(self, uid: str) -> None:
        with self._lock:
            self._workers.pop(uid, None)

    def _container_exited(self, event: Json) -> None:
        uid = str(event["id"]).partition("/")[0]
        with self._lock:
            worker = self._workers.get(uid)
        if worker:
            worker.exited(event)

    def _runtime_gone(self) -> None:
        # Its containers died with it. The supervisor starts us again, and we start them again.
        self._events.report("the container runtime is gone")
        os._exit(1)

    def _states(self) -> list[PodState]:
        with self._lock:
            return [each.state for each in self._workers.values()]

    def _pod_objects(self) -> list[object]:
        with self._lock:
            return list(self._pods.values())


def _shell(state: PodState) -> Json:
    """As much of a pod object as ending it takes."""
    meta = {"uid": state.uid, "namespace": state.namespace, "name": state.name}
    containers = [{"name": each.name} for each in state.records if not each.init]
    inits = [{"name": each.name} for each in state.records if each.init]
    return {"metadata": meta, "spec": {"containers": containers, "initContainers": inits}}


def container_environment(settings: NodeSettings) -> dict[str, str]:
    """What the lab's own programs read; K8S_NODE_NAME is the pod's to declare, as on a real cluster."""
    return {
        "LAB_API": settings.api,
        "LAB_NODE_ADDRESS": settings.address,
        "LAB_POD_CIDR": settings.pod_cidr,
        "LAB_TIME_SCALE": str(settings.time_scale),
        "K8S_NODE_NAME": settings.name,
    }


def prepare_runtime() -> None:
    """Start the container runtime unless it runs; must come before the first thread."""
    if runtimeclient.running(labpaths.runtime_socket()):
        return
    containerruntime.spawn(labpaths.runtime_socket(), containerimages.preload())


def main() -> int:
    held: dict[str, Any] = json.loads((labpaths.etc() / "node.json").read_text())
    settings = NodeSettings.parse(held)
    prepare_runtime()
    # Pods outlive this process: it ends at once, and the next one adopts them.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Kubelet(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
