"""A cluster without machines: the API stand-in, its controllers and a fake kubelet."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rollout.lab.apiserver import ApiServer, ServerTls, admin
from rollout.lab.apiserver.threaded import Companion, ThreadedServer
from rollout.lab.controllers import Controllers, ControllerSettings
from rollout.lab.pki import create_pki, write_kubeconfig
from tests.lab.controllers.fake_kubelet import FakeKubelet

Obj = dict[str, Any]
_PATIENCE_SECONDS = 10.0
# Long enough for controllers to do the wrong thing, if they are going to.
_STILLNESS_SECONDS = 0.3
CONTAINERS: list[Obj] = [{"name": "c", "image": "x:1"}]
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


class Cluster:
    """Runs while the `with` block lasts."""

    def __init__(self, settings: ControllerSettings | None = None, tls_directory: Path | None = None) -> None:
        tls = None
        if tls_directory is not None:
            files = create_pki(tls_directory)
            tls = ServerTls(files.certificate, files.key, files.ca)
        self.server = ApiServer(tls=tls, tokens={"token": admin()})
        self.store = self.server.store
        self.kubelet = FakeKubelet(self.store)
        companions: list[Companion] = [Controllers(self.store, settings), self.kubelet]
        self._threaded = ThreadedServer(self.server, companions, scheme="https" if tls else "http")
        if tls is not None and tls_directory is not None:
            self.kubeconfig = write_kubeconfig(tls_directory / "kubeconfig", self._threaded.url, "token", tls.ca)

    def __enter__(self) -> "Cluster":
        self._threaded.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._threaded.__exit__(None, None, None)

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        return self._threaded.call(function, *arguments, **named)

    # -- making ------------------------------------------------------------------------------------------------------

    def create(self, obj: Obj) -> Any:
        return self.call(self.store.create, obj)

    def add_nodes(self, *names: str, zones: tuple[str, ...] = (), **allocatable: str) -> None:
        for index, name in enumerate(names):
            labels = {HOSTNAME: name, **({ZONE: zones[index % len(zones)]} if zones else {})}
            room = {"cpu": "4", "memory": "8Gi", "pods": "110", **allocatable}
            status = {"allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]}
            self.create(
                {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}
            )

    def add_workload(self, kind: str, name: str, pod_spec: Obj | None = None, **spec: Any) -> Any:
        """A Deployment, DaemonSet or StatefulSet whose pods carry the label app=<name>."""
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": CONTAINERS, **(pod_spec or {})}}
        body = {"selector": {"matchLabels": {"app": name}}, "template": template, **spec}
        metadata = {"name": name, "namespace": "default"}
        return self.create({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body})

    def add_pod(self, name: str, labels: dict[str, str] | None = None, **spec: Any) -> Any:
        metadata = {"name": name, "namespace": "default", "labels": labels or {}}
        return self.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": CONTAINERS, **spec}}
        )

    def add_budget(self, name: str, app: str, **spec: Any) -> Any:
        metadata = {"name": name, "namespace": "default"}
        body = {"selector": {"matchLabels": {"app": app}}, **spec}
        return self.create(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": body}
        )

    def change_node(self, name: str, **spec: Any) -> None:
        self.call(self.store.mutate, "nodes", name, lambda obj: obj["spec"].update(spec))

    # -- looking -----------------------------------------------------------------------------------------------------

    def find(self, resource_id: str, name: str, namespace: str = "default") -> Any:
        return self.call(self.store.find, resource_id, name, namespace)

    def pods(self, app: str = "") -> list[Obj]:
        found: list[Obj] = self.call(self.store.all, "pods")
        return [pod for pod in found if not app or pod["metadata"].get("labels", {}).get("app") == app]

    def places(self, app: str = "") -> list[str]:
        """Nodes of the app's pods that are not going, in order."""
        living = [pod for pod in self.pods(app) if not pod["metadata"].get("deletionTimestamp")]
        return sorted(str(pod["spec"].get("nodeName", "")) for pod in living)

    def budget(self, name: str) -> Obj:
        status: Obj = self.find("poddisruptionbudgets.policy", name)["status"]
        return status

    def until(self, check: Callable[[], Any], what: str = "") -> Any:
        """Wait for a condition to hold."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            found = check()
            if found:
                return found
            time.sleep(0.01)
        placed = {pod["metadata"]["name"]: pod["spec"].get("nodeName") for pod in self.pods()}
        raise AssertionError(f"did not come true: {what or check}; pods {placed}")

    def until_ready(self, app: str, count: int) -> None:
        def is_ready(pod: Obj) -> bool:
            conditions = pod["status"].get("conditions") or []
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        self.until(
            lambda: sum(map(is_ready, self.pods(app))) == count == len(self.pods(app)), f"{count} ready pods of {app}"
        )

    @staticmethod
    def let_settle() -> None:
        time.sleep(_STILLNESS_SECONDS)
