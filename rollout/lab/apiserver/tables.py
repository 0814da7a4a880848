"""Rows for `kubectl get`: the Table answers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rollout.lab.apiserver.objects import Obj, dig, find_condition, parse_time, utc_now
from rollout.lab.apiserver.resources import ResourceType


@dataclass(frozen=True)
class Column:
    """One column; `wide` ones show only with -o wide."""

    name: str
    cell: Callable[[Obj], Any]
    wide: bool = False


def _path(*keys: str, empty: Any = "") -> Callable[[Obj], Any]:
    return lambda obj: value if (value := dig(obj, *keys)) is not None else empty


def age(text: str | None) -> str:
    """Kubernetes' short duration: 12s, 5m, 3h, 4d."""
    moment = parse_time(text)
    if moment is None:
        return "<unknown>"
    seconds = max(int((utc_now() - moment).total_seconds()), 0)
    for size, letter, limit in ((1, "s", 120), (60, "m", 120), (3600, "h", 48)):
        if seconds < size * limit:
            return f"{seconds // size}{letter}"
    return f"{seconds // 86400}d"


def _age_of(obj: Obj) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


NAME = Column("Name", _path("metadata", "name"))
AGE = Column("Age", _age_of)


def _node_status(node: Obj) -> str:
    ready = find_condition(node, "Ready") or {}
    text = {"True": "Ready"}.get(ready.get("status", ""), "NotReady" if ready else "Unknown")
    return text + (",SchedulingDisabled" if dig(node, "spec", "unschedulable") else "")


def _node_roles(node: Obj) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))) or "<none>"


def _node_address(kind: str) -> Callable[[Obj], str]:
    def cell(node: Obj) -> str:
        found = [a["address"] for a in dig(node, "status", "addresses") or () if a.get("type") == kind]
        return found[0] if found else "<none>"

    return cell


def _containers(pod: Obj) -> list[Obj]:
    statuses: list[Obj] = dig(pod, "status", "containerStatuses") or []
    return statuses


def _pod_ready(pod: Obj) -> str:
    ready = sum(1 for status in _containers(pod) if status.get("ready"))
    return f"{ready}/{len(pod['spec'].get('containers') or ())}"


def _pod_status(pod: Obj) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for status in _containers(pod):
        state = status.get("state") or {}
        reason = dig(state, "waiting", "reason") or dig(state, "terminated", "reason")
        if reason:
            return str(reason)
    return str(dig(pod, "status", "reason") or dig(pod, "status", "phase") or "Unknown")


def _restarts(pod: Obj) -> str:
    return str(sum(status.get("restartCount", 0) for status in _containers(pod)))


def _ready_of(ready: str, wanted: str) -> Callable[[Obj], str]:
    return lambda obj: f"{dig(obj, 'status', ready) or 0}/{dig(obj, 'spec', wanted) or 0}"


def _ports(service: Obj) -> str:
    return ",".join(f"{p['port']}/{p.get('protocol', 'TCP')}" for p in service["spec"].get("ports") or ()) or "<none>"


def _selector(obj: Obj) -> str:
    labels = dig(obj, "spec", "nodeSelector") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items()) or "<none>"


def _data_count(obj: Obj) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


def _event_object(event: Obj) -> str:
    about = event.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


_COLUMNS: dict[str, tuple[Column, ...]] = {
    "nodes": (
        NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE,
        Column("Version", _path("status", "nodeInfo", "kubeletVersion")),
        Column("Internal-IP", _node_address("InternalIP"), wide=True),
        Column("External-IP", _node_address("ExternalIP"), wide=True),
        Column("OS-Image", _path("status", "nodeInfo", "osImage", empty="<unknown>"), wide=True),
        Column("Kernel-Version", _path("status", "nodeInfo", "kernelVersion", empty="<unknown>"), wide=True),
        Column(
            "Container-Runtime", _path("status", "nodeInfo", "containerRuntimeVersion", empty="<unknown>"), wide=True
        ),
    ),
    "pods": (
        NAME,
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _restarts),
        AGE,
        Column("IP", _path("status", "podIP", empty="<none>"), wide=True),
        Column("Node", _path("spec", "nodeName", empty="<none>"), wide=True),
        Column("Nominated Node", _path("status", "nominatedNodeName", empty="<none>"), wide=True),
        Column("Readiness Gates", lambda _pod: "<none>", wide=True),
    ),
    "deployments.apps": (
        NAME,
        Column("Ready", _ready_of("readyReplicas", "replicas")),
        Column("Up-to-date", _path("status", "updatedReplicas", empty=0)),
        Column("Available", _path("status", "availableReplicas", empty=0)),
        AGE,
    ),
    "replicasets.apps": (
        NAME,
        Column("Desired", _path("spec", "replicas", empty=0)),
        Column("Current", _path("status", "replicas", empty=0)),
        Column("Ready", _path("status", "readyReplicas", empty=0)),
        AGE,
    ),
    "daemonsets.apps": (
        NAME,
        Column("Desired", _path("status", "desiredNumberScheduled", empty=0)),
        Column("Current", _path("status", "currentNumberScheduled", empty=0)),
        Column("Ready", _path("status", "numberReady", empty=0)),
        Column("Up-to-date", _path("status", "updatedNumberScheduled", empty=0)),
        Column("Available", _path("status", "numberAvailable", empty=0)),
        Column("Node Selector", lambda ds: _selector({"spec": dig(ds, "spec", "template", "spec") or {}})),
        AGE,
    ),
    "statefulsets.apps": (NAME, Column("Ready", _ready_of("readyReplicas", "replicas")), AGE),
    "poddisruptionbudgets.policy": (
        NAME,
        Column("Min Available", _path("spec", "minAvailable", empty="N/A")),
        Column("Max Unavailable", _path("spec", "maxUnavailable", empty="N/A")),
        Column("Allowed Disruptions", _path("status", "disruptionsAllowed", empty=0)),
        AGE,
    ),
    "namespaces": (NAME, Column("Status", _path("status", "phase")), AGE),
    "services": (
        NAME,
        Column("Type", _path("spec", "type")),
        Column("Cluster-IP", _path("spec", "clusterIP", empty="<none>")),
        Column("External-IP", lambda _service: "<none>"),
        Column("Port(s)", _ports),
        AGE,
    ),
    "configmaps": (NAME, Column("Data", _data_count), AGE),
    "secrets": (NAME, Column("Type", _path("type")), Column("Data", _data_count), AGE),
    "leases.coordination.k8s.io": (NAME, Column("Holder", _path("spec", "holderIdentity")), AGE),
    "customresourcedefinitions.apiextensions.k8s.io": (
        NAME,
        Column("Created At", _path("metadata", "creationTimestamp")),
    ),
    "events": (
        Column("Last Seen", lambda e: age(e.get("lastTimestamp") or e["metadata"].get("creationTimestamp"))),
        Column("Type", _path("type")),
        Column("Reason", _path("reason")),
        Column("Object", _event_object),
        Column("Message", _path("message")),
        Column("Name", _path("metadata", "name"), wide=True),
    ),
}

_STEP = re.compile(r"""\.((?:\\.|[^.\[\\])+)|\[(\d+)\]|\[\?\(@\.(\w+)\s*==\s*["']([^"']*)["']\)\]""")


def read_json_path(obj: Any, path: str) -> Any:
    """The small part of JSONPath that printer columns use."""
    for key, index, field, value in _STEP.findall(path):
        if key:
            obj = obj.get(key.replace("\\.", ".")) if isinstance(obj, dict) else None
        elif index:
            obj = obj[int(index)] if isinstance(obj, list) and int(index) < len(obj) else None
        else:
            obj = next((item for item in obj or () if str(item.get(field)) == value), None)
    return obj


def _custom_columns(resource: ResourceType) -> tuple[Column, ...]:
    def cell(column: Obj) -> Callable[[Obj], Any]:
        path = column["jsonPath"]
        if column.get("type") == "date":
            return lambda obj: age(read_json_path(obj, path))
        return lambda obj: value if (value := read_json_path(obj, path)) is not None else ""

    made = tuple(Column(c["name"], cell(c), wide=c.get("priority", 0) > 0) for c in resource.columns)
    return (NAME, *made) if made else (NAME, AGE)


def columns_of(resource: ResourceType) -> tuple[Column, ...]:
    if resource.custom:
        return _custom_columns(resource)
    return _COLUMNS.get(resource.id, (NAME, AGE))


def partial_metadata(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def render_table(
    resource: ResourceType, objects: list[Obj], metadata: Obj, include: str = "Metadata", *, headers: bool = True
) -> Obj:
    """A Table of objects. `include` says what travels along with each row: None, Metadata or Object."""
    columns = columns_of(resource)
    wholes: dict[str, Callable[[Obj], Any]] = {"None": lambda _obj: None, "Object": lambda obj: obj}
    whole = wholes.get(include, partial_metadata)
    rows = [{"cells": [column.cell(obj) for column in columns], "object": whole(obj)} for obj in objects]
    definitions = [
        {
            "name": column.name,
            "type": "string",
            "format": "name" if column is NAME else "",
            "description": "",
            "priority": 1 if column.wide else 0,
        }
        for column in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions if headers else None,
        "rows": rows,
    }
