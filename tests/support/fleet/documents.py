"""API objects of a made-up cluster, each a recorded one with other names, places and rules.

Kinds that were not recorded have the shape of the API reference. What differs between pods of one workload is marked
in its text and filled in when a page is asked for, so that a hundred thousand pods need no memory.
"""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.fleet.placement import SENSOR, selected_instance
from tests.support.fleet.shape import INGRESS_LABEL, App, Machine, word

Doc = dict[str, Any]
RECORDED = Path(__file__).parents[2] / "adapters" / "kubernetes" / "data"
SIDECAR_IMAGE = "quay.io/cilium/cilium:v1.21.0"
_MARK = re.compile(r"@(NAME|UID|NODE|IP|HOSTIP|ORDINAL)@")
_STARTED = "2026-11-20T08:00:00Z"


@cache
def _recorded(name: str) -> Any:
    document = json.loads((RECORDED / f"{name}.json").read_text())
    return document.get("items", document)


def _pod_like(owner_kind: str, name_start: str) -> Doc:
    for pod in _recorded("pods"):
        if pod["metadata"]["ownerReferences"][0]["kind"] == owner_kind and pod["metadata"]["name"].startswith(
            name_start
        ):
            return copy.deepcopy(pod)
    raise AssertionError(f"no recorded pod of a {owner_kind} starts with {name_start}")


def uid(kind: int, number: int) -> str:
    """A UID that is the same every time."""
    return f"{number:08x}-{kind:04x}-4000-8000-{(number * 40503) % (1 << 48):012x}"


KIND_NUMBERS = ("Node", "Pod", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "PodDisruptionBudget",
                "PersistentVolumeClaim", "PersistentVolume", "Namespace", "StorageClass")  # fmt: skip


def uid_of(kind: str, number: int) -> str:
    """The UID of the `number`-th object of a kind."""
    return uid(KIND_NUMBERS.index(kind) + 1, number)


# -- nodes -----------------------------------------------------------------------------------------------------------


def node(machine: Machine) -> Doc:
    """A Node."""
    made: Doc = copy.deepcopy(_recorded("nodes")[0])
    meta, status = made["metadata"], made["status"]
    meta |= {"name": machine.name, "uid": uid_of("Node", machine.index), "resourceVersion": str(1000 + machine.index)}
    meta["labels"] |= {
        "kubernetes.io/hostname": machine.name,
        "topology.kubernetes.io/zone": machine.zone,
        "topology.kubernetes.io/region": machine.zone[:-1],
        "node.kubernetes.io/instance-type": machine.instance,
    }
    if machine.ingress:
        meta["labels"][INGRESS_LABEL] = "true"
    made["spec"]["providerID"] = f"aws:///{machine.zone}/i-{machine.index:017x}"
    status["addresses"] = [
        {"address": machine.ip, "type": "InternalIP"},
        {"address": machine.name, "type": "Hostname"},
    ]
    room = {"cpu": str(machine.cores), "memory": f"{machine.gib * 1024 - 512}Mi", "ephemeral-storage": "95551679124"}
    status["allocatable"] |= room
    status["capacity"] |= room | {"memory": f"{machine.gib}Gi"}
    status["nodeInfo"] |= {"kernelVersion": machine.kernel, "bootID": uid(99, machine.index)}
    return made


# -- pods ------------------------------------------------------------------------------------------------------------


def pod_text(document: Doc) -> tuple[list[str], list[str]]:
    """A pod's JSON, cut at its marks: the pieces between, and the marks."""
    parts = _MARK.split(json.dumps(document, separators=(",", ":")))
    return parts[::2], parts[1::2]


def _marked(document: Doc, namespace: str, labels: dict[str, str], owner: Doc | None) -> Doc:
    meta, spec, status = document["metadata"], document["spec"], document["status"]
    meta |= {"name": "@NAME@", "namespace": namespace, "uid": "@UID@", "labels": labels}
    meta.pop("generateName", None)
    meta["ownerReferences"] = [owner] if owner else []
    spec["nodeName"] = "@NODE@"
    status |= {"podIP": "@IP@", "podIPs": [{"ip": "@IP@"}], "hostIP": "@HOSTIP@", "hostIPs": [{"ip": "@HOSTIP@"}]}
    return document


def owner(kind: str, name: str, number: int) -> Doc:
    """A controller's reference."""
    version = {"Job": "batch/v1"}.get(kind, "apps/v1")
    return {
        "apiVersion": version,
        "blockOwnerDeletion": True,
        "controller": True,
        "kind": kind,
        "name": name,
        "uid": uid_of(kind, number),
    }


def app_pod(app: App) -> Doc:
    """The pods of a workload, with marks."""
    made = _pod_like("ReplicaSet", "web")
    if app.kind == "StatefulSet":
        reference = owner("StatefulSet", app.name, app.index)
    else:
        reference = owner("ReplicaSet", replica_set_name(app), app.index)
    _marked(made, app.namespace, pod_labels(app), reference)
    made["spec"] |= pod_rules(app)
    made["spec"]["volumes"] = made["spec"]["volumes"] + _volumes(app, "data-@NAME@")
    return made


def replica_set_name(app: App) -> str:
    """The one ReplicaSet of a Deployment."""
    return f"{app.name}-{word(app.index, 10)}"


def pod_labels(app: App) -> dict[str, str]:
    """Of its pods."""
    return app.labels | ({} if app.kind == "StatefulSet" else {"pod-template-hash": word(app.index, 10)})


def pod_rules(app: App) -> Doc:
    """What the workload's template says beyond the recorded one."""
    selector = {"matchLabels": app.labels}
    container = copy.deepcopy(_recorded("pods")[2]["spec"]["containers"][0])
    container["resources"] = {"requests": {"cpu": f"{app.cpu}m", "memory": f"{app.memory}Mi"}}
    rules: Doc = {"containers": [container], "terminationGracePeriodSeconds": 30}
    if app.trait == "spread":
        rules["topologySpreadConstraints"] = [
            {
                "labelSelector": selector,
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule",
            }
        ]
    if app.trait in ("anti", "quorum", "ingress"):
        term = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
        rules["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    if app.trait == "selector":
        rules["nodeSelector"] = {"node.kubernetes.io/instance-type": selected_instance(app)}
    if app.trait == "ingress":
        rules["nodeSelector"] = {INGRESS_LABEL: "true"}
        container["ports"] = [
            {"containerPort": 80, "hostPort": 80, "protocol": "TCP"},
            {"containerPort": 443, "hostPort": 443, "protocol": "TCP"},
        ]
    return rules


def _volumes(app: App, claim: str) -> list[Doc]:
    if app.trait in ("zonal", "local"):
        return [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    return [{"name": "scratch", "emptyDir": {}}] if app.trait == "soft" else []


def daemon_pod(daemon: str) -> Doc:
    """The pods of a DaemonSet, with marks."""
    made = _pod_like("DaemonSet", "cilium" if daemon == "cilium" else "logd")
    namespace, labels = daemon_place(daemon)
    _marked(made, namespace, labels, owner("DaemonSet", daemon, daemon_number(daemon)))
    required = made["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    required["nodeSelectorTerms"][0]["matchFields"][0]["values"] = ["@NODE@"]
    if daemon == SENSOR:
        made["spec"]["tolerations"] = [{"operator": "Exists"}]
    if daemon == "cilium":
        for container in made["spec"]["containers"] + made["spec"].get("initContainers", []):
            container["image"] = SIDECAR_IMAGE
    return made


def daemon_place(daemon: str) -> tuple[str, dict[str, str]]:
    """Namespace and pod labels of a DaemonSet."""
    if daemon == "cilium":
        return "kube-system", {"k8s-app": "cilium", "app.kubernetes.io/name": "cilium-agent"}
    return "observability", {"app": daemon}


def daemon_number(daemon: str) -> int:
    """Its number among DaemonSets."""
    return {"cilium": 0, "logd": 1, SENSOR: 2}[daemon]


def bare_pod() -> Doc:
    """Somebody's debugging pod, with marks."""
    return _marked(_pod_like("ReplicaSet", "web"), "default", {"run": "debug"}, None)


def job_pod(number: int) -> Doc:
    """A pod of a finished Job, with marks."""
    made = _pod_like("ReplicaSet", "web")
    name = f"report-{29000000 + number}"
    _marked(made, "batch", {"job-name": name}, owner("Job", name, number))
    made["status"] |= {"phase": "Succeeded", "conditions": [{"type": "Ready", "status": "False"}]}
    return made
