"""Values that a real server fills in: defaults of specs, and what is set or dropped on create."""

from collections.abc import Callable
from typing import Any

from rollout.lab.apiserver.objects import Obj, dig, encode_secret

# Admission gives every pod these two, so that a short node outage does not move it.
_DEFAULT_EVICTION_SECONDS = 300
_OUTAGE_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def _set_defaults(target: Obj, values: Obj) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def default_container(container: Obj) -> None:
    image = str(container.get("image") or "")
    latest = image.endswith(":latest") or ":" not in image.rpartition("/")[2]
    _set_defaults(
        container,
        {
            "imagePullPolicy": "Always" if latest else "IfNotPresent",
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        },
    )
    for port in container.get("ports") or ():
        _set_defaults(port, {"protocol": "TCP"})


def default_pod_spec(spec: Obj) -> None:
    """Defaults that pods and pod templates share."""
    _set_defaults(
        spec,
        {
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
    )
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        if isinstance(container, dict):
            default_container(container)


def _tolerates_outage(tolerations: list[Obj], key: str) -> bool:
    return any(
        t.get("key", key) in ("", key) and t.get("effect", "NoExecute") in ("", "NoExecute") for t in tolerations
    )


def _quality_of_service(spec: Obj) -> str:
    amounts: list[bool] = []
    any_set = False
    for container in spec.get("containers") or ():
        resources = container.get("resources") or {}
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        any_set = any_set or bool(limits or requests)
        full = {"cpu", "memory"} <= limits.keys()
        amounts.append(full and all(requests.get(k, limits[k]) == limits[k] for k in ("cpu", "memory")))
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if all(amounts) else "Burstable"


def prepare_pod(pod: Obj, *, keep_status: bool) -> None:
    """Admission and defaults of a new pod. A status that the client sent is dropped, as on a real server."""
    spec = pod["spec"]
    default_pod_spec(spec)
    tolerations = spec.setdefault("tolerations", [])
    for key in _OUTAGE_TAINTS:
        if not _tolerates_outage(tolerations, key):
            seconds = {"tolerationSeconds": _DEFAULT_EVICTION_SECONDS}
            tolerations.append({"effect": "NoExecute", "key": key, "operator": "Exists", **seconds})
    priority = _SYSTEM_PRIORITIES.get(str(spec.get("priorityClassName") or ""), 0)
    _set_defaults(
        spec,
        {
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
            "priority": priority,
            "serviceAccountName": "default",
        },
    )
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    if not keep_status:
        pod["status"] = {}
    _set_defaults(pod["status"], {"phase": "Pending", "qosClass": _quality_of_service(spec)})


def _default_template(spec: Obj) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {})
        if isinstance(template.get("spec"), dict):
            default_pod_spec(template["spec"])


def _default_deployment(obj: Obj) -> None:
    spec = obj["spec"]
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    _set_defaults(
        spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "strategy": rolling}
    )
    if spec["strategy"].get("type", "RollingUpdate") == "RollingUpdate":
        _set_defaults(spec["strategy"], {"type": "RollingUpdate", "rollingUpdate": {}})
        _set_defaults(spec["strategy"]["rollingUpdate"], {"maxSurge": "25%", "maxUnavailable": "25%"})
    _default_template(spec)


def _default_daemon_set(obj: Obj) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    _set_defaults(obj["spec"], {"revisionHistoryLimit": 10, "updateStrategy": rolling})
    _default_template(obj["spec"])


def _default_replica_set(obj: Obj) -> None:
    _set_defaults(obj["spec"], {"replicas": 1})
    _default_template(obj["spec"])


def _default_stateful_set(obj: Obj) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    _set_defaults(
        obj["spec"],
        {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10, "updateStrategy": rolling},
    )
    _default_template(obj["spec"])


def _default_service(obj: Obj) -> None:
    spec = obj["spec"]
    _set_defaults(spec, {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})
    for port in spec.get("ports") or ():
        _set_defaults(port, {"protocol": "TCP", "targetPort": port.get("port")})


def _default_namespace(obj: Obj) -> None:
    _set_defaults(obj["spec"], {"finalizers": ["kubernetes"]})
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
    _set_defaults(obj["status"], {"phase": "Active"})


def _default_secret(obj: Obj) -> None:
    obj.setdefault("type", "Opaque")
    texts = obj.pop("stringData", None)
    if texts:
        obj.setdefault("data", {}).update({key: encode_secret(text) for key, text in texts.items()})


def _default_crd(obj: Obj) -> None:
    names = obj["spec"].setdefault("names", {})
    if names.get("kind"):
        _set_defaults(names, {"singular": names["kind"].lower(), "listKind": f"{names['kind']}List"})
    _set_defaults(obj["spec"], {"conversion": {"strategy": "None"}})


def _default_claim(obj: Obj) -> None:
    _set_defaults(obj["spec"], {"volumeMode": "Filesystem"})
    _set_defaults(obj["status"], {"phase": "Pending"})


def _default_storage_class(obj: Obj) -> None:
    _set_defaults(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


_DEFAULTERS: dict[str, Callable[[Obj], None]] = {
    "customresourcedefinitions.apiextensions.k8s.io": _default_crd,
    "daemonsets.apps": _default_daemon_set,
    "deployments.apps": _default_deployment,
    "namespaces": _default_namespace,
    "persistentvolumeclaims": _default_claim,
    "replicasets.apps": _default_replica_set,
    "replicationcontrollers": _default_replica_set,
    "secrets": _default_secret,
    "services": _default_service,
    "statefulsets.apps": _default_stateful_set,
    "storageclasses.storage.k8s.io": _default_storage_class,
}
# These have neither spec nor status; every other built-in kind always shows a spec, and a status where it has one.
_FLAT = {
    "configmaps", "controllerrevisions.apps", "endpoints", "endpointslices.discovery.k8s.io", "events",
    "priorityclasses.scheduling.k8s.io", "runtimeclasses.node.k8s.io", "secrets", "serviceaccounts",
    "storageclasses.storage.k8s.io",
}  # fmt: skip
_EMPTY_STATUS: dict[str, Callable[[], Obj]] = {
    "daemonsets.apps": lambda: {
        "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
    },
    "replicasets.apps": lambda: {"replicas": 0},
    "replicationcontrollers": lambda: {"replicas": 0},
    "statefulsets.apps": lambda: {"availableReplicas": 0, "replicas": 0},
    "services": lambda: {"loadBalancer": {}},
    "poddisruptionbudgets.policy": lambda: {
        "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
    },
}  # fmt: skip


def shape_builtin(resource_id: str, obj: Obj, has_status: bool) -> None:
    """Clients may rely on `spec` and `status` being there; some crash without."""
    if resource_id in _FLAT:
        return
    if not isinstance(obj.get("spec"), dict):
        obj["spec"] = obj.get("spec") or {}
    if has_status and obj.get("status") is None:
        obj["status"] = {}


def prepare_create(resource_id: str, obj: Obj, has_status: bool, *, keep_status: bool) -> None:
    """Bring a new built-in object into the shape a real server would store."""
    shape_builtin(resource_id, obj, has_status)
    if not isinstance(obj.get("spec", {}), dict):
        return
    if resource_id == "pods":
        prepare_pod(obj, keep_status=keep_status)
        return
    # A kubelet registers its node with the status in the same request, so nodes keep it.
    if has_status and not keep_status and resource_id != "nodes":
        obj["status"] = _EMPTY_STATUS.get(resource_id, dict)()
    apply_defaults(resource_id, obj)


def apply_defaults(resource_id: str, obj: Obj) -> None:
    """Defaults that hold on update as well as on create."""
    if resource_id == "pods":
        default_pod_spec(obj["spec"])
        return
    defaulter = _DEFAULTERS.get(resource_id)
    if defaulter is not None and isinstance(obj.get("spec", {}), dict):
        obj.setdefault("status", {}) if resource_id in ("namespaces", "persistentvolumeclaims") else None
        defaulter(obj)


def template_of(obj: Obj) -> Any:
    return dig(obj, "spec", "template")
