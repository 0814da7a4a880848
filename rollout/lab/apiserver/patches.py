"""JSON patch, merge patch and strategic merge patch."""

import re
from typing import Any

import jsonpatch
import jsonpointer

from rollout.lab.apiserver.errors import ApiError, bad_request
from rollout.lab.apiserver.objects import Obj, clone

# Lists merged by a key, by the name of their field. A list that is not here (taints, tolerations, podCIDR ranges of a
# service, …) is atomic: a patch replaces it whole.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "volumes": "name",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "conditions": "type",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "hostIPs": "ip",
    "resourceClaims": "name",
}
_SETS = {"finalizers", "podCIDRs"}
_DIRECTIVES = re.compile(r"^\$(patch|retainKeys|setElementOrder/.*|deleteFromPrimitiveList/.*)$")


def merge_key(kind: str, path: tuple[str, ...]) -> str | None:
    """The key by which the list at `path` merges in objects of `kind`; None if it is atomic."""
    name = path[-1]
    if name == "ports":
        if len(path) > 1 and path[-2] in ("containers", "initContainers"):
            return "containerPort"
        return "port" if kind == "Service" else None
    if name == "addresses":
        return "type" if kind == "Node" else None
    if name == "secrets":
        return "name" if kind == "ServiceAccount" else None
    return _MERGE_KEYS.get(name)


def is_set(path: tuple[str, ...]) -> bool:
    """Whether the list at `path` is merged as a set of scalars."""
    return path[-1] in _SETS


def apply_json_patch(obj: Obj, operations: Any) -> Obj:
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    try:
        patched: Obj = jsonpatch.JsonPatch(operations).apply(clone(obj))
    except jsonpatch.JsonPatchTestFailed as error:
        raise _json_patch_failure(f"testing value failed: test failed: {error}".splitlines()[0]) from error
    except (jsonpatch.JsonPatchConflict, jsonpointer.JsonPointerException) as error:
        raise _json_patch_failure(str(error)) from error
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"error decoding patch: {error}") from error
    return patched


def _json_patch_failure(text: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {text}", {})


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386. Returns a new value; neither argument changes."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = clone(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


def apply_strategic_patch(kind: str, obj: Obj, patch: Obj) -> Obj:
    """A merge patch in which some lists merge by key."""
    merged: Obj = _merge_map(kind, (), clone(obj), patch)
    return merged


def _merge_map(kind: str, path: tuple[str, ...], target: Obj, patch: Obj) -> Obj:
    if patch.get("$patch") == "replace":
        return {key: clone(value) for key, value in patch.items() if not _DIRECTIVES.match(key)}
    if patch.get("$patch") == "delete":
        return {}
    if "$retainKeys" in patch:
        target = {key: value for key, value in target.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            target[field] = [item for item in target.get(field) or () if item not in value]
    for key, value in patch.items():
        if _DIRECTIVES.match(key):
            continue
        if value is None:
            target.pop(key, None)
        else:
            target[key] = _merge_value(kind, (*path, key), target.get(key), value)
    _order_elements(kind, path, target, patch)
    return target


def _merge_value(kind: str, path: tuple[str, ...], old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return _merge_map(kind, path, old if isinstance(old, dict) else {}, new)
    if not isinstance(new, list):
        return new
    key = merge_key(kind, path)
    if key and all(isinstance(item, dict) for item in new):
        return _merge_keyed_list(kind, path, key, old if isinstance(old, list) else [], new)
    if is_set(path) and isinstance(old, list):
        return old + [item for item in new if item not in old]
    return clone(new)


def _merge_keyed_list(kind: str, path: tuple[str, ...], key: str, old: list[Obj], new: list[Obj]) -> list[Obj]:
    if any(item.get("$patch") == "replace" for item in new):
        return [clone(item) for item in new if "$patch" not in item]
    merged = list(old)
    for item in new:
        if "$patch" not in item and key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        index = next((i for i, present in enumerate(merged) if present.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            merged = [present for present in merged if present.get(key) != item.get(key)]
        elif index is None:
            merged.append(_merge_map(kind, path, {}, item))
        else:
            merged[index] = _merge_map(kind, path, merged[index], item)
    return merged


def _order_elements(kind: str, path: tuple[str, ...], target: Obj, patch: Obj) -> None:
    """`$setElementOrder`: listed elements come in the patch's order, others keep their places behind."""
    for directive, order in patch.items():
        if not directive.startswith("$setElementOrder/"):
            continue
        field = directive.partition("/")[2]
        items = target.get(field)
        if not isinstance(items, list):
            continue
        key = merge_key(kind, (*path, field))
        wanted = [item.get(key) if key and isinstance(item, dict) else item for item in order]
        ranks = {value: rank for rank, value in enumerate(wanted)}
        items.sort(key=lambda item: ranks.get(item.get(key) if key else item, len(ranks)))
