"""Plain values to and from the domain's dataclasses, and canonical JSON.

Decision: a small typed codec here instead of a library, because the core may use the standard library only
and a digest must not depend on a library's choices. Instead of: msgspec, which serves the adapters.
Floats are refused: their text is not canonical. Durations are whole seconds or milliseconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")


class DecodeError(ValueError):
    """A plain value does not fit the type; the message says where."""


def to_plain(value: Any) -> Any:
    """Turn a domain value into dicts, lists, strings, integers, booleans and None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(to_plain(k)): to_plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, frozenset | set):
        return sorted(to_plain(item) for item in value)
    if isinstance(value, float):
        raise TypeError("cannot encode a float canonically; use integers with a stated unit")
    return value


def canonical(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, no floats. Equal values give equal bytes."""
    return json.dumps(
        to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256(data: bytes) -> str:
    """SHA-256 as lower-case hex."""
    return hashlib.sha256(data).hexdigest()


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def from_plain(cls: type[T], data: Any, where: str = "$") -> T:
    """Build a domain value of type `cls` from plain values.

    Unknown keys are refused, since a digest over half-understood content would be a promise not kept.
    Raises `DecodeError` naming the place.
    """
    return cast(T, _decode(cls, data, where))


def _decode(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any or kind is object:
        return data
    if origin in (typing.Union, types.UnionType):
        return _decode_union(typing.get_args(kind), data, where)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        return tuple(_decode(item, v, f"{where}[{i}]") for i, v in enumerate(_expect(list, data, where)))
    if origin is frozenset:
        item = typing.get_args(kind)[0]
        return frozenset(_decode(item, v, f"{where}[{i}]") for i, v in enumerate(_expect(list, data, where)))
    if origin is not None and issubclass(origin, Mapping):
        key, item = typing.get_args(kind)
        pairs = _expect(dict, data, where).items()
        return {_decode(key, k, where): _decode(item, v, f"{where}.{k}") for k, v in pairs}
    if dataclasses.is_dataclass(kind):
        return _decode_record(cast(type, kind), data, where)
    return _decode_scalar(kind, data, where)


def _decode_union(options: tuple[Any, ...], data: Any, where: str) -> Any:
    if data is None and type(None) in options:
        return None
    rest = [o for o in options if o is not type(None)]
    for option in rest[:-1]:
        try:
            return _decode(option, data, where)
        except DecodeError:
            continue
    return _decode(rest[-1], data, where)


def _decode_record(cls: type, data: Any, where: str) -> Any:
    plain = _expect(dict, data, where)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in plain:
        if key not in fields:
            raise DecodeError(f"{where}: unknown field {key!r}")
    hints, values = _hints(cls), {}
    for name, spec in fields.items():
        if name in plain:
            values[name] = _decode(hints[name], plain[name], f"{where}.{name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise DecodeError(f"{where}: field {name!r} is missing")
    return cls(**values)


def _decode_scalar(kind: Any, data: Any, where: str) -> Any:
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(data)
        except ValueError as error:
            known = ", ".join(str(member.value) for member in kind)
            raise DecodeError(f"{where}: {data!r} is not one of {known}") from error
    if kind is datetime:
        try:
            return datetime.fromisoformat(_expect(str, data, where))
        except ValueError as error:
            raise DecodeError(f"{where}: {data!r} is not an ISO 8601 time") from error
    if kind is bool or kind is str:
        return _expect(kind, data, where)
    if kind is int:
        if isinstance(data, bool) or not isinstance(data, int):
            raise DecodeError(f"{where}: expected int, found {type(data).__name__}")
        return data
    raise TypeError(f"{where}: the codec does not know {kind!r}")


def _expect(kind: type[T], data: Any, where: str) -> T:
    if not isinstance(data, kind):
        raise DecodeError(f"{where}: expected {kind.__name__}, found {type(data).__name__}")
    return data
