"""A stand-in API server with tokens, and clusters connected to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.adapters.kubernetes.watch import WatchTimes
from rollout.lab.apiserver import ApiServer, Fault, admin, viewer
from rollout.lab.apiserver.threaded import ThreadedServer
from rollout.lab.pki import write_kubeconfig

QUICK = WatchTimes(watch_s=30, quiet_s=10.0, first_pause_s=0.02, longest_pause_s=0.1, stale_s=0.3, short_s=0.2)


class StandIn:
    """The server, its faults, and objects put into it past the API."""

    def __init__(self, running: ThreadedServer, directory: Path) -> None:
        self.running = running
        self.server = running.server
        self.directory = directory

    def kubeconfig(self, token: str) -> Path:
        path = self.directory / f"{token}.yaml"
        return path if path.exists() else write_kubeconfig(path, self.running.url, token)

    def fault(self, **rule: Any) -> Fault:
        return self.running.call(self.server.faults.add, Fault(**rule))

    def define(self, definition: dict[str, Any]) -> None:
        """Create a custom resource definition through the API, and wait: it is served a moment later."""
        headers = {"Authorization": "Bearer admin-token"}
        url = f"{self.running.url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        answer = urllib3.request("POST", url, json=definition, headers=headers)
        assert answer.status == 201, answer.data
        spec = definition["spec"]
        place = f"{self.running.url}/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        deadline = time.monotonic() + 5
        while urllib3.request("GET", place, headers=headers).status != 200:
            assert time.monotonic() < deadline, f"never served: {place}"
            time.sleep(0.02)

    def seed(self, *documents: dict[str, Any]) -> None:
        self.running.call(self.server.store.seed, list(documents))

    def patch_node(self, name: str, change: Callable[[Any], None]) -> None:
        def work() -> None:
            node = self.server.store.find("nodes", name)
            assert node is not None
            changed = {**node, "metadata": {**node["metadata"]}, "spec": {**node["spec"]}}
            changed["metadata"].pop("resourceVersion")
            change(changed)
            self.server.store.update(changed)

        self.running.call(work)


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    server = ApiServer(tokens={"admin-token": admin(), "viewer-token": viewer()})
    with ThreadedServer(server) as running:
        yield StandIn(running, tmp_path)


@pytest.fixture
def connect() -> Iterator[Callable[..., KubernetesCluster]]:
    made: list[KubernetesCluster] = []

    def open_one(kubeconfig: Path, times: WatchTimes = QUICK, **more: Any) -> KubernetesCluster:
        settings = ClusterSettings(kubeconfig, **({"qps": 1000.0, "burst": 1000} | more))
        made.append(KubernetesCluster.connect(settings, times=times))
        return made[-1]

    yield open_one
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(standin: StandIn, connect: Callable[..., KubernetesCluster]) -> KubernetesCluster:
    return connect(standin.kubeconfig("admin-token"))


def node(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}


def pod(name: str, on: str, namespace: str = "default", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": on, "containers": [{"name": "main", "image": "pause"}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
