"""The refusals (422) of built-in kinds that clients and operators really meet."""

from collections.abc import Callable
from typing import Any

from rollout.lab.apiserver.errors import Cause, forbidden_field, invalid_value, not_supported, required
from rollout.lab.apiserver.names import label_value_faults, qualified_name_faults
from rollout.lab.apiserver.objects import Obj, clone, dig
from rollout.lab.apiserver.selectors import selector_matches

_TAINT_EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"]
_SELECTOR_OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"]


def _pod_spec_causes(spec: Any, path: str) -> list[Cause]:
    if not isinstance(spec, dict) or not spec.get("containers"):
        return [required(f"{path}.containers")]
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, container in enumerate(spec["containers"]):
        where = f"{path}.containers[{index}]"
        name = container.get("name") or ""
        if not name:
            causes.append(required(f"{where}.name"))
        elif name in seen:
            causes.append(Cause("FieldValueDuplicate", f"{where}.name", f'Duplicate value: "{name}"'))
        seen.add(name)
        if not container.get("image"):
            causes.append(required(f"{where}.image"))
    policy = spec.get("restartPolicy")
    if policy not in ("Always", "OnFailure", "Never"):
        causes.append(not_supported(f"{path}.restartPolicy", policy, ["Always", "OnFailure", "Never"]))
    return causes + _toleration_causes(spec.get("tolerations") or [], path)


def _toleration_causes(tolerations: list[Obj], path: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, toleration in enumerate(tolerations):
        where = f"{path}.tolerations[{index}]"
        if not toleration.get("key") and toleration.get("operator") != "Exists":
            detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.append(invalid_value(f"{where}.operator", toleration.get("operator", ""), detail))
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            causes.append(invalid_value(f"{where}.effect", toleration.get("effect", ""), detail))
    return causes


def _pod_causes(pod: Obj, old: Obj | None) -> list[Cause]:
    causes = _pod_spec_causes(pod.get("spec"), "spec")
    if old is not None and not causes and _frozen_pod_spec(pod) != _frozen_pod_spec(old):
        detail = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
            "negative)"
        )
        causes.append(forbidden_field("spec", detail))
    return causes


def _frozen_pod_spec(pod: Obj) -> Obj:
    spec: Obj = clone(pod["spec"])
    for key in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"):
        spec.pop(key, None)
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        container.pop("image", None)
    return spec


def _node_causes(node: Obj, old: Obj | None) -> list[Cause]:
    causes: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(dig(node, "spec", "taints") or ()):
        where = f"spec.taints[{index}]"
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        causes += [invalid_value(f"{where}.key", key, fault) for fault in qualified_name_faults(key)]
        causes += [
            invalid_value(f"{where}.value", taint["value"], f) for f in label_value_faults(taint.get("value") or "")
        ]
        if not effect:
            causes.append(required(f"{where}.effect"))
        elif effect not in _TAINT_EFFECTS:
            causes.append(not_supported(f"{where}.effect", effect, _TAINT_EFFECTS))
        if (key, effect) in seen:
            causes.append(
                Cause("FieldValueDuplicate", where, "Duplicate value: taints must be unique by key and effect pair")
            )
        seen.add((key, effect))
    if old is not None and old["spec"].get("podCIDR") and node["spec"].get("podCIDR") != old["spec"]["podCIDR"]:
        causes.append(forbidden_field("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
    return causes


def _selector_causes(selector: Any, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for index, expression in enumerate((selector or {}).get("matchExpressions") or ()):
        operator = expression.get("operator")
        where = f"{path}.matchExpressions[{index}]"
        if operator not in _SELECTOR_OPERATORS:
            causes.append(invalid_value(f"{where}.operator", operator, "not a valid selector operator"))
        elif operator in ("In", "NotIn") and not expression.get("values"):
            causes.append(required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    return causes


def _workload_causes(obj: Obj, old: Obj | None) -> list[Cause]:
    spec = obj["spec"]
    selector, template = spec.get("selector"), spec.get("template")
    if not selector:
        return [required("spec.selector")]
    causes = _selector_causes(selector, "spec.selector")
    if not causes and not selector_matches(selector, dig(template, "metadata", "labels") or {}):
        detail = "`selector` does not match template `labels`"
        causes.append(invalid_value("spec.template.metadata.labels", dig(template, "metadata", "labels") or {}, detail))
    causes += _pod_spec_causes(dig(template, "spec"), "spec.template.spec")
    if old is not None and old["spec"].get("selector") != selector:
        causes.append(invalid_value("spec.selector", selector, "field is immutable"))
    replicas = spec.get("replicas", 0)
    if isinstance(replicas, int) and replicas < 0:
        causes.append(invalid_value("spec.replicas", replicas, "must be greater than or equal to 0"))
    return causes


def _pdb_causes(obj: Obj, _old: Obj | None) -> list[Cause]:
    spec = obj["spec"]
    causes = _selector_causes(spec.get("selector"), "spec.selector")
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        causes.append(invalid_value("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
    for key in ("minAvailable", "maxUnavailable"):
        causes += _amount_causes(spec.get(key), f"spec.{key}")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy not in (None, "IfHealthyBudget", "AlwaysAllow"):
        causes.append(not_supported("spec.unhealthyPodEvictionPolicy", policy, ["AlwaysAllow", "IfHealthyBudget"]))
    return causes


def _amount_causes(value: Any, path: str) -> list[Cause]:
    if isinstance(value, str):
        if not (value.endswith("%") and value[:-1].isdigit()):
            return [
                invalid_value(path, value, "a valid percent string must be a numeric string followed by an ending '%'")
            ]
        if int(value[:-1]) > 100:
            return [invalid_value(path, value, "must not be greater than 100%")]
    elif isinstance(value, int) and value < 0:
        return [invalid_value(path, value, "must be greater than or equal to 0")]
    return []


def _lease_causes(obj: Obj, _old: Obj | None) -> list[Cause]:
    seconds = obj["spec"].get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        return [invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0")]
    return []


def _immutable_map_causes(obj: Obj, old: Obj | None) -> list[Cause]:
    if old is not None and old.get("immutable") and (obj.get("data") != old.get("data") or not obj.get("immutable")):
        return [forbidden_field("data", "field is immutable when `immutable` is set")]
    return []


_VALIDATORS: dict[str, Callable[[Obj, Obj | None], list[Cause]]] = {
    "configmaps": _immutable_map_causes,
    "daemonsets.apps": _workload_causes,
    "deployments.apps": _workload_causes,
    "leases.coordination.k8s.io": _lease_causes,
    "nodes": _node_causes,
    "poddisruptionbudgets.policy": _pdb_causes,
    "pods": _pod_causes,
    "replicasets.apps": _workload_causes,
    "secrets": _immutable_map_causes,
    "statefulsets.apps": _workload_causes,
}


def builtin_causes(resource_id: str, obj: Obj, old: Obj | None) -> list[Cause]:
    """Everything a real server would refuse in this object, as far as this stand-in knows."""
    validator = _VALIDATORS.get(resource_id)
    return validator(obj, old) if validator else []
