"""Small controllers that make the API stand-in behave like a cluster.

Rules: see `base`. Each controller reads the store and writes through it, as a real one does through the API; none knows
another. There is no kubelet here: pods become Running, and terminating pods go, only when somebody plays it.
"""

from rollout.lab.apiserver.store import Store
from rollout.lab.controllers.base import Controller, ControllerSettings
from rollout.lab.controllers.daemonsets import DaemonSetController
from rollout.lab.controllers.disruption import DisruptionController
from rollout.lab.controllers.endpoints import EndpointsController
from rollout.lab.controllers.garbage import GarbageCollector, NamespaceController, OrphanedPodCollector
from rollout.lab.controllers.nodes import NodeLifecycleController, TaintEvictionController
from rollout.lab.controllers.pod_index import PodIndex
from rollout.lab.controllers.replicas import DeploymentController, ReplicaSetController
from rollout.lab.controllers.scheduler import Scheduler
from rollout.lab.controllers.statefulsets import StatefulSetController

__all__ = ["ControllerSettings", "Controllers"]


class Controllers:
    """All controllers of a cluster over one store."""

    def __init__(self, store: Store, settings: ControllerSettings | None = None) -> None:
        settings = settings or ControllerSettings()
        self._pods = PodIndex(store)
        # The index comes first: the others rely on it being up to date when they are told of a change.
        self._controllers: list[Controller[str] | Controller[tuple[str, str]]] = [
            NodeLifecycleController(store, settings),
            TaintEvictionController(store, settings, self._pods),
            DaemonSetController(store, settings, self._pods),
            DeploymentController(store, settings),
            ReplicaSetController(store, settings, self._pods),
            StatefulSetController(store, settings, self._pods),
            DisruptionController(store, settings, self._pods),
            EndpointsController(store, settings, self._pods),
            Scheduler(store, settings, self._pods),
            GarbageCollector(store, settings),
            NamespaceController(store, settings),
            OrphanedPodCollector(store, settings, self._pods),
        ]

    async def start(self) -> None:
        self._pods.start()
        for controller in self._controllers:
            await controller.start()

    async def stop(self) -> None:
        for controller in reversed(self._controllers):
            await controller.stop()
        self._pods.stop()
