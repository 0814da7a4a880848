"""Workloads, budgets, volumes and the agent of a made-up cluster. Shapes as in the API reference, budgets recorded."""

from __future__ import annotations

import copy
import json

from tests.support.fleet.documents import (
    SIDECAR_IMAGE,
    Doc,
    _recorded,
    daemon_number,
    daemon_place,
    owner,
    pod_labels,
    pod_rules,
    replica_set_name,
    uid_of,
)
from tests.support.fleet.placement import SENSOR
from tests.support.fleet.shape import App, Machine

STORAGE = {"zonal": "ebs-gp3", "local": "local-disks"}
AGENT_CONFIG = {
    "datapath-mode": "veth",
    "kube-proxy-replacement": "true",
    "enable-bpf-masquerade": "true",
    "routing-mode": "native",
    "ipam": "kubernetes",
}


def _meta(kind: str, number: int, namespace: str, name: str, **more: object) -> Doc:
    place = {"namespace": namespace} if namespace else {}
    return {"metadata": {"name": name, "uid": uid_of(kind, number), "resourceVersion": "1", **place, **more}}


def deployment(app: App) -> Doc:
    """A Deployment that has all its pods."""
    return _workload(app, "Deployment", app.name, {})


def replica_set(app: App) -> Doc:
    """The ReplicaSet of a Deployment."""
    return _workload(
        app, "ReplicaSet", replica_set_name(app), {"ownerReferences": [owner("Deployment", app.name, app.index)]}
    )


def stateful_set(app: App) -> Doc:
    """A StatefulSet that has all its pods."""
    return _workload(app, "StatefulSet", app.name, {})


def _workload(app: App, kind: str, name: str, meta: Doc) -> Doc:
    template = {"metadata": {"labels": pod_labels(app)}, "spec": pod_rules(app)}
    labels = app.labels if kind != "ReplicaSet" else pod_labels(app)
    return _meta(kind, app.index, app.namespace, name, labels=labels, generation=1, **meta) | {
        "spec": {"replicas": app.replicas, "selector": {"matchLabels": labels}, "template": template},
        "status": {"replicas": app.replicas, "readyReplicas": app.replicas, "availableReplicas": app.replicas},
    }


def job(number: int) -> Doc:
    """A Job that has ended well."""
    name = f"report-{29000000 + number}"
    return _meta("Job", number, "batch", name) | {
        "spec": {"parallelism": 1, "completions": 1},
        "status": {"succeeded": 1, "active": 0, "ready": 0},
    }


# -- budgets ---------------------------------------------------------------------------------------------------------


def budget(app: App) -> Doc:
    """The PodDisruptionBudget of a workload, with the status its controller gives it."""
    made: Doc = copy.deepcopy(_recorded("pdbs")[0])
    meta = made["metadata"]
    meta |= {"name": app.name, "namespace": app.namespace, "uid": uid_of("PodDisruptionBudget", app.index)}
    del meta["annotations"]
    kind, value = app.budget.split(":")
    amount: int | str = app.replicas - 1 if value == "-1" else value if value.endswith("%") else int(value)
    made["spec"] = {
        "minAvailable" if kind == "min" else "maxUnavailable": amount,
        "selector": {"matchLabels": app.labels},
    }
    wanted = _count(amount, app.replicas)
    desired = wanted if kind == "min" else max(0, app.replicas - wanted)
    made["status"] |= {
        "currentHealthy": app.replicas,
        "desiredHealthy": desired,
        "disruptionsAllowed": app.replicas - desired,
        "expectedPods": app.replicas,
    }
    return made


def _count(amount: int | str, replicas: int) -> int:
    """A count; shares are rounded up, both for minAvailable and for maxUnavailable."""
    return amount if isinstance(amount, int) else -(-replicas * int(amount.rstrip("%")) // 100)


# -- volumes ---------------------------------------------------------------------------------------------------------


def volumes(app: App, ordinal: int, machine: Machine, number: int) -> tuple[Doc, Doc]:
    """Claim and volume of one pod of a StatefulSet: in its zone, or on its node's disk."""
    claim, volume = f"data-{app.name}-{ordinal}", f"pvc-{uid_of('PersistentVolumeClaim', number)}"
    storage = STORAGE[app.trait]
    local = app.trait == "local"
    key = "kubernetes.io/hostname" if local else "topology.kubernetes.io/zone"
    value = machine.name if local else machine.zone
    rule = {"key": key, "operator": "In", "values": [value]}
    source: Doc = {"local": {"path": "/mnt/disks/ssd0"}} if local else {"csi": {"driver": "ebs.csi.aws.com"}}
    asked = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage}
    bound = {"phase": "Bound"}
    return (
        _meta("PersistentVolumeClaim", number, app.namespace, claim)
        | {"spec": asked | {"volumeName": volume}, "status": bound},
        _meta("PersistentVolume", number, "", volume)
        | {
            "spec": asked
            | source
            | {
                "capacity": {"storage": "20Gi"},
                "claimRef": {"namespace": app.namespace, "name": claim},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}},
            },
            "status": bound,
        },
    )


def storage_classes() -> list[Doc]:
    """Those of `STORAGE`."""
    provisioners = {"ebs-gp3": "ebs.csi.aws.com", "local-disks": "kubernetes.io/no-provisioner"}
    return [
        _meta("StorageClass", number, "", name)
        | {"provisioner": provisioners[name], "volumeBindingMode": "WaitForFirstConsumer"}
        for number, name in enumerate(sorted(provisioners))
    ]


def namespace(number: int, name: str) -> Doc:
    """A Namespace."""
    return _meta("Namespace", number, "", name, labels={"kubernetes.io/metadata.name": name}) | {
        "status": {"phase": "Active"}
    }


# -- DaemonSets and the agent ----------------------------------------------------------------------------------------


def daemon_set(daemon: str, count: int) -> Doc:
    """A DaemonSet with a pod on each of `count` nodes: the agent's recorded one, or one on the pod network."""
    made: Doc = copy.deepcopy(_recorded("daemonset-cilium"))
    place, labels = daemon_place(daemon)
    made["metadata"] |= {"name": daemon, "namespace": place, "uid": uid_of("DaemonSet", daemon_number(daemon))}
    made["metadata"]["labels"] = made["metadata"].get("labels", {}) if daemon == "cilium" else labels
    made["status"] |= {"desiredNumberScheduled": count, "numberReady": count, "currentNumberScheduled": count}
    template = made["spec"]["template"]
    if daemon == "cilium":
        for container in template["spec"]["containers"] + template["spec"].get("initContainers", []):
            container["image"] = SIDECAR_IMAGE
        return made
    pod = json.loads(json.dumps(next(p for p in _recorded("pods") if p["metadata"]["name"].startswith("logd"))))
    made["spec"] |= {"selector": {"matchLabels": labels}}
    made["spec"]["template"] = {
        "metadata": {"labels": labels},
        "spec": {
            "containers": pod["spec"]["containers"],
            "tolerations": [{"operator": "Exists"}] if daemon == SENSOR else [],
        },
    }
    return made


def agent_config() -> Doc:
    """The agent's ConfigMap."""
    return {
        "metadata": {"name": "cilium-config", "namespace": "kube-system", "resourceVersion": "77"},
        "data": AGENT_CONFIG,
    }
