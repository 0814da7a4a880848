"""JSON Schema (draft 2020-12) from dataclasses: fields by their types, descriptions from their docstrings.

Decision: generated, because a hand-kept schema of two hundred fields is wrong after a week. Every field is required and
no other is allowed, since the codec writes all of them and refuses the rest.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from rollout.cli.render.json import ShownPlan
from rollout.cli.schema import FILE
from rollout.domain.errors import ExitCode
from rollout.domain.plan import SCHEMA, Plan

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
}


def schema() -> dict[str, Any]:
    """The whole schema. Raises TypeError for a field whose type the codec would not write."""
    defs: dict[str, Any] = {}
    root = _kind(ShownPlan, defs)
    defs[Plan.__name__]["properties"]["schema"]["const"] = SCHEMA
    return {
        "$schema": DIALECT,
        "$id": f"urn:netkit-rollout:plan:{SCHEMA}",
        "title": "A plan of netkit-rollout, as `rollout show --output json` prints it",
        "$comment": "the document that `rollout plan --out` writes is #/$defs/Plan",
        **root,
        "$defs": dict(sorted(defs.items())),
    }


def text() -> str:
    """The schema's text, ending in one newline."""
    return json.dumps(schema(), indent=2, ensure_ascii=True) + "\n"


def _kind(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_kind(each, defs) for each in arguments]}
    if origin in (tuple, frozenset):
        return {"type": "array", "items": _kind(arguments[0], defs)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _kind(arguments[1], defs)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _named(kind, defs, _members)
    if dataclasses.is_dataclass(kind):
        return _named(kind, defs, _record)
    raise TypeError(f"cannot describe {kind!r}")


def _named(kind: Any, defs: dict[str, Any], describe: Any) -> dict[str, Any]:
    if kind.__name__ not in defs:
        defs[kind.__name__] = {}  # before its fields: a record may hold itself
        defs[kind.__name__] = describe(kind, defs)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _members(kind: type[Enum], _defs: dict[str, Any]) -> dict[str, Any]:
    told = _told(kind)
    words = [f"{member.value}: {told[member.name]}" for member in kind if member.name in told]
    return {
        "description": " ".join([_said(kind), *words]).strip(),
        "enum": [member.value for member in kind],
    }


def _record(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    hints, told = typing.get_type_hints(kind), _told(kind)
    properties = {}
    for field in dataclasses.fields(kind):
        properties[field.name] = _kind(hints[field.name], defs)
        if field.name in told:
            properties[field.name]["description"] = told[field.name]
    return {
        "description": _said(kind),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _said(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


@cache
def _told(kind: type) -> dict[str, str]:
    """Docstrings that follow the fields of a class, by field."""
    found: dict[str, str] = {}
    (body,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    assert isinstance(body, ast.ClassDef)
    names: list[str] = []
    for each in body.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            names = [each.target.id]
        elif isinstance(each, ast.Assign):
            names = [target.id for target in each.targets if isinstance(target, ast.Name)]
        elif isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant) and isinstance(each.value.value, str):
            found.update({name: " ".join(each.value.value.split()) for name in names})
            names = []
        else:
            names = []
    return found


def main(arguments: list[str]) -> ExitCode:
    """`write` makes the published file current; without it the schema is printed."""
    if arguments == ["write"]:
        Path(__file__).with_name(FILE).write_text(text(), encoding="utf-8")
    else:
        sys.stdout.write(text())
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
