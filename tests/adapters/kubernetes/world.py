"""What people and controllers do, through any Kubernetes API: the stand-in's or a real one's.

On a real cluster only these are made, and all are removed: one namespace with what is in it, and Node objects (no
machine behind them) and PersistentVolumes (no disk behind them). Pods are bound to those nodes, so no kubelet ever runs
them.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from rollout.adapters.kubernetes import KubernetesCluster
from rollout.adapters.kubernetes.connection import MERGE_PATCH, Connection
from rollout.adapters.kubernetes.request import APPS, CILIUM, CORE, POLICY, Request
from rollout.domain.errors import NotFound, NotPermitted
from rollout.domain.node import PodRef, Taint
from rollout.domain.scheduling import ANYWHERE, LabelRequirement, LabelSelector, Scheduling

_IMAGE = "registry.k8s.io/pause:3.10"
_TRIES = 50
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


class ApiWorld:
    """A namespace and nodes of its own behind an API."""

    def __init__(
        self,
        connection: Connection,
        connect: Callable[[str], KubernetesCluster],
        forbid: Callable[[str], Callable[[], None]] | None = None,
    ) -> None:
        self._api = connection
        self._forbid = forbid
        self._allow: list[Callable[[], None]] = []
        self._volumes: list[str] = []
        self._mark = uuid4().hex[:8]
        self.namespace = f"netkit-rollout-contract-{self._mark}"
        self._nodes: list[str] = []
        self._pods: list[PodRef] = []
        self._create("namespaces", {"metadata": {"name": self.namespace}})
        self._cluster = connect(self.namespace)

    @property
    def cluster(self) -> KubernetesCluster:
        return self._cluster

    def close(self) -> None:
        for allow in self._allow:
            allow()
        self._cluster.close()
        for pod in self._pods:
            with contextlib.suppress(NotFound):
                self.remove_pod(pod)
        for name in self._nodes:
            with contextlib.suppress(NotFound):
                self.remove_node(name)
        for name in self._volumes:
            with contextlib.suppress(NotFound):
                self._api.call(Request("delete", "persistentvolumes", name=name))
        with contextlib.suppress(NotFound):
            self._api.call(Request("delete", "namespaces", name=self.namespace))
        self._api.close()

    # -- nodes -------------------------------------------------------------------------------------------------------

    def add_node(self, *, unschedulable: bool = False) -> str:
        name = f"netkit-rollout-contract-{self._mark}-{len(self._nodes)}"
        self._create("nodes", {"metadata": {"name": name}, "spec": {"unschedulable": True} if unschedulable else {}})
        self._nodes.append(name)
        return name

    def remove_node(self, name: str) -> None:
        self._api.call(Request("delete", "nodes", name=name))

    def set_unschedulable(self, name: str, value: bool) -> None:
        self._patch_node(name, {"spec": {"unschedulable": value or None}})

    def annotate(self, name: str, key: str, value: str) -> None:
        self._patch_node(name, {"metadata": {"annotations": {key: value}}})

    def add_taint(self, name: str, taint: Taint) -> None:
        found = json.loads(self._api.call(Request("get", "nodes", name=name)))["spec"].get("taints", [])
        fresh = {"key": taint.key, "value": taint.value, "effect": taint.effect}
        self._patch_node(name, {"spec": {"taints": [*found, fresh]}})

    def _patch_node(self, name: str, patch: dict[str, Any]) -> None:
        self._api.call(Request("patch", "nodes", name=name), body=patch, kind=MERGE_PATCH)

    # -- pods --------------------------------------------------------------------------------------------------------

    def add_pod(
        self,
        node: str,
        *,
        labels: Mapping[str, str] | None = None,
        rules: Scheduling = ANYWHERE,
        claims: tuple[str, ...] = (),
    ) -> PodRef:
        volumes = [{"name": f"v{i}", "persistentVolumeClaim": {"claimName": c}} for i, c in enumerate(claims)]
        return self._pod(node, {"labels": dict(labels or {})}, pod_rules(rules) | {"volumes": volumes})

    def add_claim(self, name: str, zone: str) -> None:
        volume = f"netkit-rollout-contract-{self._mark}-{len(self._volumes)}"
        asked = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
        row = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}
        spec = asked | {
            "capacity": {"storage": "1Gi"},
            "nfs": {"server": "nfs.invalid", "path": "/"},
            "claimRef": {"namespace": self.namespace, "name": name},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [row]}]}},
        }
        self._create("persistentvolumes", {"metadata": {"name": volume}, "spec": spec})
        self._volumes.append(volume)
        claim = asked | {"volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}}
        self._create("persistentvolumeclaims", {"metadata": {"name": name}, "spec": claim}, namespace=self.namespace)

    def forbid(self, kind: str, plural: str) -> None:
        if self._forbid is None:
            pytest.skip(f"this world cannot take the right to list {kind} away")
        self._allow.append(self._forbid(plural))

    def _pod(self, node: str, metadata: dict[str, Any], more: Mapping[str, Any] | None = None) -> PodRef:
        name = f"pod-{uuid4().hex[:8]}"
        spec = {"nodeName": node, "containers": [{"name": "main", "image": _IMAGE}], **(more or {})}
        made = self._create("pods", {"metadata": {"name": name, **metadata}, "spec": spec}, namespace=self.namespace)
        ref = PodRef(self.namespace, name, made["metadata"]["uid"])
        ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "PodScheduled")]
        self._api.call(
            Request("patch", "pods/status", namespace=self.namespace, name=name),
            kind=MERGE_PATCH,
            body={"status": {"phase": "Running", "conditions": ready}},
        )
        self._pods.append(ref)
        return ref

    def remove_pod(self, pod: PodRef) -> None:
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        self._api.call(Request("delete", "pods", namespace=pod.namespace, name=pod.name), body=body)

    def add_budget(self, name: str, labels: Mapping[str, str], min_available: int) -> None:
        spec = {"minAvailable": min_available, "selector": {"matchLabels": dict(labels)}}
        self._create("poddisruptionbudgets", {"metadata": {"name": name}, "spec": spec}, POLICY, self.namespace)
        request = Request("get", "poddisruptionbudgets", POLICY, self.namespace, name)
        for _ in range(_TRIES):
            if (msgspec.json.decode(self._api.call(request)).get("status") or {}).get("observedGeneration"):
                return
            time.sleep(0.1)
        raise AssertionError("no disruption controller looks at budgets here")

    # -- the agent ---------------------------------------------------------------------------------------------------

    def install_agent(self) -> None:
        self._create(
            "configmaps",
            {"metadata": {"name": "cilium-config"}, "data": {"datapath-mode": "veth"}},
            namespace=self.namespace,
        )
        labels = {"k8s-app": "cilium"}
        pod_spec = {
            # Fits no node: the shape is what matters.
            "nodeSelector": {"netkit-rollout.io/contract": self._mark},
            "hostNetwork": True,
            "initContainers": [{"name": "config", "image": _IMAGE, "command": ["cilium-dbg", "build-config"]}],
            "containers": [{"name": "cilium-agent", "image": _IMAGE, "command": ["cilium-agent"]}],
        }
        spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod_spec}}
        body = {"metadata": {"name": "cilium", "labels": labels}, "spec": spec}
        self._create("daemonsets", body, APPS, self.namespace)

    def add_agent_pod(self, node: str) -> PodRef:
        """Owned by the ConfigMap: the DaemonSet's controller would remove a pod of its own from such a node."""
        request = Request("get", "configmaps", namespace=self.namespace, name="cilium-config")
        uid = msgspec.json.decode(self._api.call(request))["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "cilium-config", "uid": uid, "controller": True}
        return self._pod(node, {"labels": {"k8s-app": "cilium"}, "ownerReferences": [owner]})

    def add_node_config(self, name: str, match_labels: Mapping[str, str], defaults: Mapping[str, str]) -> None:
        spec = {"nodeSelector": {"matchLabels": dict(match_labels)}, "defaults": dict(defaults)}
        body = {"apiVersion": "cilium.io/v2", "kind": "CiliumNodeConfig", "metadata": {"name": name}, "spec": spec}
        self._api.call(Request("create", "ciliumnodeconfigs", f"{CILIUM}/v2", self.namespace), body=body)

    def wait_until_lease_expires(self, seconds: float) -> None:
        time.sleep(seconds)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _create(self, plural: str, body: dict[str, Any], group: str = CORE, namespace: str = "") -> dict[str, Any]:
        kinds = {
            "namespaces": "Namespace",
            "nodes": "Node",
            "pods": "Pod",
            "persistentvolumes": "PersistentVolume",
            "persistentvolumeclaims": "PersistentVolumeClaim",
            "configmaps": "ConfigMap",
            "daemonsets": "DaemonSet",
            "poddisruptionbudgets": "PodDisruptionBudget",
        }
        version = group.removeprefix("/apis/").removeprefix("/api/")
        whole = {"apiVersion": version, "kind": kinds[plural], **body}
        request = Request("create", plural, group, namespace)
        for left in reversed(range(_TRIES)):
            try:
                made: dict[str, Any] = msgspec.json.decode(self._api.call(request, body=whole))
            except NotPermitted as error:
                # A new namespace has no default service account for a moment.
                if not left or "serviceaccount" not in error.message:
                    raise
                time.sleep(0.1)
            else:
                return made
        raise AssertionError("unreachable")


def pod_rules(rules: Scheduling) -> dict[str, Any]:
    """Selectors, required affinity and hard spread as a pod's spec has them."""
    on_nodes = [{"matchExpressions": _rows(t.expressions), "matchFields": _rows(t.fields)} for t in rules.node_terms]
    affinity: dict[str, Any] = {}
    if on_nodes:
        affinity["nodeAffinity"] = {_REQUIRED: {"nodeSelectorTerms": on_nodes}}
    for key, terms in (("podAffinity", rules.affinity), ("podAntiAffinity", rules.anti_affinity)):
        if terms:
            affinity[key] = {
                _REQUIRED: [{"topologyKey": t.topology_key, "labelSelector": _selector(t.selector)} for t in terms]
            }
    spread = [
        {
            "maxSkew": term.max_skew,
            "topologyKey": term.topology_key,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": _selector(term.selector),
            "nodeTaintsPolicy": "Honor" if term.honor_taints else "Ignore",
        }
        for term in rules.spread
    ]
    return {"nodeSelector": dict(rules.node_selector), "affinity": affinity, "topologySpreadConstraints": spread}


def _selector(selector: LabelSelector | None) -> dict[str, Any] | None:
    if selector is None:
        return None
    return {"matchLabels": dict(selector.labels), "matchExpressions": _rows(selector.expressions)}


def _rows(rows: tuple[LabelRequirement, ...]) -> list[dict[str, Any]]:
    return [{"key": r.key, "operator": r.operator, "values": list(r.values)} for r in rows]
