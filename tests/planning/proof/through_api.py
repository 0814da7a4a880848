"""A namespace and nodes of its own on any cluster, driven through its API alone: the stand-in's or a real one's.

On a real cluster only these are made, and all are removed: one namespace with what is in it, and Node objects (no
machine behind them, tainted so that only pods made here are placed on them). No kubelet runs those pods: their status
is written here, and what terminates is removed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from rollout.adapters.kubernetes import ClusterSettings, KubernetesCluster
from rollout.adapters.kubernetes.connection import MERGE_PATCH, Connection
from rollout.adapters.kubernetes.request import APPS, CORE, POLICY, Request
from rollout.domain.errors import NotFound, NotPermitted
from rollout.domain.inventory import ClusterSnapshot

Obj = dict[str, Any]
_GROUPS = {
    "Namespace": (CORE, "namespaces"),
    "Node": (CORE, "nodes"),
    "Deployment": (APPS, "deployments"),
    "PodDisruptionBudget": (POLICY, "poddisruptionbudgets"),
}
_PATIENCE_S = 60.0
_CLUSTER_SCOPED = ("Namespace", "Node")


class ApiReality:
    """Use as a context. `still_s`: so long nothing must change for the cluster to be at rest."""

    def __init__(self, kubeconfig: Path, context: str | None, still_s: float) -> None:
        settings = ClusterSettings(kubeconfig, context, qps=1000.0, burst=1000)
        self._api = Connection(settings)
        self._still_s = still_s
        self.mark = uuid4().hex[:8]
        self.namespace = f"netkit-rollout-contract-{self.mark}"
        self.taint = {"key": "netkit-rollout.io/contract", "value": self.mark, "effect": "NoSchedule"}
        self.nodes: list[str] = []
        self.cluster = KubernetesCluster.connect(settings)

    def __enter__(self) -> ApiReality:
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        return self

    def __exit__(self, *_: object) -> None:
        for kind, name in (("namespaces", self.namespace), *(("nodes", name) for name in self.nodes)):
            with contextlib.suppress(NotFound):
                self._api.call(Request("delete", kind, name=name))
        with contextlib.suppress(NotFound):
            for pod in self.pods():
                self._remove(pod)
        self.cluster.close()
        self._api.close()

    # -- making ------------------------------------------------------------------------------------------------------

    def create(self, obj: Obj) -> None:
        group, plural = _GROUPS[obj["kind"]]
        namespace = "" if obj["kind"] in _CLUSTER_SCOPED else self.namespace
        self._api.call(Request("create", plural, group, namespace), body=obj)

    def add_node(self) -> str:
        name = f"netkit-rollout-contract-{self.mark}-{len(self.nodes)}"
        labels = {"kubernetes.io/hostname": name, "netkit-rollout.io/contract": self.mark}
        metadata = {"name": name, "labels": labels}
        self.create({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": [self.taint]}})
        self.nodes.append(name)
        self._beat(name)
        return name

    def add_deployment(self, name: str, replicas: int, **pod_spec: Any) -> None:
        spec = {
            "containers": [{"name": "c", "image": "registry.k8s.io/pause:3.10"}],
            "nodeSelector": {"netkit-rollout.io/contract": self.mark},
            "tolerations": [{"key": self.taint["key"], "operator": "Exists"}],
            **pod_spec,
        }
        labels = {"app": name}
        body = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        }
        self.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": body})

    def add_budget(self, name: str, app: str, **spec: Any) -> None:
        body = {"selector": {"matchLabels": {"app": app}}, **spec}
        metadata = {"name": name}
        self.create({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": body})

    # -- what a drain asks of the world ------------------------------------------------------------------------------

    def hold(self) -> None:
        """Nobody can hold a real scheduler: replacements are placed while the old pods are still leaving."""

    def snapshot(self) -> ClusterSnapshot:
        return self.cluster.collect()

    def pods(self) -> list[Obj]:
        return self._list(CORE, "pods")

    def budgets(self) -> list[Obj]:
        return self._list(POLICY, "poddisruptionbudgets")

    def change_node(self, name: str, change: Callable[[Obj], None]) -> None:
        spec: Obj = json.loads(self._api.call(Request("get", "nodes", name=name)))["spec"]
        change(spec)
        patch = {"unschedulable": spec.get("unschedulable"), "taints": spec.get("taints") or None}
        self._api.call(Request("patch", "nodes", name=name), body={"spec": patch}, kind=MERGE_PATCH)

    def come_to_rest(self) -> None:
        """Play the kubelets until nothing has changed for a while."""
        for name in self.nodes:
            self._beat(name)
        deadline = time.monotonic() + _PATIENCE_S
        still_since, before = time.monotonic(), ""
        while time.monotonic() < still_since + self._still_s:
            assert time.monotonic() < deadline, "the cluster does not come to rest"
            acted = [self._act(pod) for pod in self.pods()]
            now = json.dumps([self.pods(), self.budgets()], sort_keys=True)
            if any(acted) or now != before:
                still_since, before = time.monotonic(), now
            time.sleep(self._still_s / 10)

    def _act(self, pod: Obj) -> bool:
        """What a kubelet would do next with a pod; whether there was anything."""
        if pod["metadata"].get("deletionTimestamp"):
            self._remove(pod)
            return True
        if not pod["spec"].get("nodeName") or pod["status"].get("phase") != "Pending":
            return False
        ready = [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady")]
        name = pod["metadata"]["name"]
        conditions = [*ready, {"type": "PodScheduled", "status": "True"}]
        status = {"status": {"phase": "Running", "conditions": conditions}}
        with contextlib.suppress(NotFound):
            request = Request("patch", "pods/status", namespace=self.namespace, name=name)
            self._api.call(request, kind=MERGE_PATCH, body=status)
        return True

    def _remove(self, pod: Obj) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        with contextlib.suppress(NotFound, NotPermitted):
            request = Request("delete", "pods", namespace=self.namespace, name=pod["metadata"]["name"])
            self._api.call(request, body=body)

    def _beat(self, name: str) -> None:
        """A node's heartbeat: without it the node counts as lost."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": now, "reason": "KubeletReady"}
        room = {"cpu": "4", "memory": "8Gi", "pods": "20"}
        status = {"conditions": [ready], "allocatable": room, "capacity": room}
        self._api.call(Request("patch", "nodes/status", name=name), body={"status": status}, kind=MERGE_PATCH)

    def _list(self, group: str, plural: str) -> list[Obj]:
        found: Obj = json.loads(self._api.call(Request("list", plural, group, self.namespace)))
        items: list[Obj] = found.get("items") or []
        return items
