"""Validation and pruning of custom resources by the structural schema of their definition."""

import re
from typing import Any

from rollout.lab.apiserver.errors import Cause, invalid_value, not_supported, required, type_invalid
from rollout.lab.apiserver.objects import Obj

_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "object": dict,
    "string": str,
}


def _type_name(value: Any) -> str:
    for name in ("boolean", "integer", "number", "string", "object", "array"):
        if isinstance(value, _TYPES[name]):
            return name
    return "null"


def _is_type(value: Any, name: str) -> bool:
    if name in ("integer", "number") and isinstance(value, bool):
        return False
    return isinstance(value, _TYPES[name])


def schema_causes(schema: Obj, value: Any, path: str) -> list[Cause]:
    """What in a value breaks the schema."""
    if value is None:
        if schema.get("nullable") or not schema.get("type"):
            return []
        return [type_invalid(path, value, f'{path} in body must be of type {schema["type"]}: "null"')]
    if schema.get("x-kubernetes-int-or-string"):
        return (
            [] if isinstance(value, int | str) else [type_invalid(path, value, f"{path} in body must be int or string")]
        )
    expected = schema.get("type")
    if expected and not _is_type(value, expected):
        text = f'{path} in body must be of type {expected}: "{_type_name(value)}"'
        return [type_invalid(path, value if not isinstance(value, dict | list) else _type_name(value), text)]
    causes = _scalar_causes(schema, value, path)
    if isinstance(value, dict):
        causes += _object_causes(schema, value, path)
    if isinstance(value, list):
        for index, item in enumerate(value):
            causes += schema_causes(schema.get("items") or {}, item, f"{path}[{index}]")
    return causes


def _scalar_causes(schema: Obj, value: Any, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if schema.get("enum") and value not in schema["enum"]:
        causes.append(not_supported(path, value, [str(item) for item in schema["enum"]]))
    if isinstance(value, str):
        if schema.get("pattern") and not re.search(schema["pattern"], value):
            causes.append(invalid_value(path, value, f"{path} in body should match '{schema['pattern']}'"))
        if len(value) > schema.get("maxLength", len(value)):
            causes.append(
                Cause("FieldValueTooLong", path, f"Too long: may not be more than {schema['maxLength']} bytes")
            )
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            causes.append(
                invalid_value(path, value, f"{path} in body should be greater than or equal to {schema['minimum']}")
            )
        if value > schema.get("maximum", value):
            causes.append(
                invalid_value(path, value, f"{path} in body should be less than or equal to {schema['maximum']}")
            )
    return causes


def _object_causes(schema: Obj, value: Obj, path: str) -> list[Cause]:
    prefix = f"{path}." if path else ""
    causes = [required(prefix + key) for key in schema.get("required") or () if key not in value]
    properties = schema.get("properties") or {}
    extra = schema.get("additionalProperties")
    for key, item in value.items():
        child = properties.get(key, extra if isinstance(extra, dict) else None)
        if child:
            causes += schema_causes(child, item, prefix + key)
    return causes


def prune(schema: Obj, value: Any, path: str = "") -> list[str]:
    """Drop fields that the schema does not know, in place. Returns their paths."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [gone for index, item in enumerate(value) for gone in prune(items, item, f"{path}[{index}]")]
    if not isinstance(value, dict):
        return []
    properties, extra = schema.get("properties"), schema.get("additionalProperties")
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or extra is True or not schema
    gone: list[str] = []
    for key in list(value):
        where = f"{path}.{key}" if path else key
        child = (properties or {}).get(key, extra if isinstance(extra, dict) else None)
        if child is not None:
            gone += prune(child, value[key], where)
        elif not open_ended:
            del value[key]
            gone.append(where)
    return gone


def prune_object(schema: Obj, obj: Obj) -> list[str]:
    """Prune a whole custom resource; its metadata and type are not the schema's business."""
    gone: list[str] = []
    properties = schema.get("properties") or {}
    for key in [key for key in obj if key not in ("apiVersion", "kind", "metadata")]:
        if key in properties:
            gone += prune(properties[key], obj[key], key)
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            del obj[key]
            gone.append(key)
    return gone


def fill_defaults(schema: Obj, value: Any) -> None:
    """Write the schema's defaults into absent fields, in place."""
    if isinstance(value, list):
        for item in value:
            fill_defaults(schema.get("items") or {}, item)
    if not isinstance(value, dict):
        return
    for key, child in (schema.get("properties") or {}).items():
        if key not in value and "default" in child:
            value[key] = child["default"]
        if key in value:
            fill_defaults(child, value[key])
