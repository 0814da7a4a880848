"""Plain values to and from the domain's dataclasses, and canonical JSON.

Decision: a small typed codec here instead of a library, because the core may use the standard library only
and a digest must not depend on a library's choices. Instead of: msgspec, which serves the adapters.
Types are looked at once each, since plans of big fleets hold hundreds of thousands of values.
Floats are refused: their text is not canonical. Durations are whole seconds or milliseconds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

T = TypeVar("T")


class DecodeError(ValueError):
    """A plain value does not fit the type; the message says where."""


_PLAIN = frozenset({str, int, bool, type(None)})


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """A dataclass's fields; None for any other type."""
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def to_plain(value: Any) -> Any:
    """Turn a domain value into dicts, lists, strings, integers, booleans and None."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple or kind is list:
        return [to_plain(item) for item in value]
    names = _names(kind)
    if names is not None:
        return {name: to_plain(getattr(value, name)) for name in names}
    return _rare_to_plain(value)


def _rare_to_plain(value: Any) -> Any:
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


def from_plain(cls: type[T], data: Any, where: str = "$") -> T:
    """Build a domain value of type `cls` from plain values.

    Unknown keys are refused, since a digest over half-understood content would be a promise not kept.
    Raises `DecodeError` naming the place.
    """
    try:
        return cast(T, _reader(cast(Any, cls))(data))
    except _Misfit as error:
        place = "".join(reversed(error.path))
        raise DecodeError(f"{where}{place}: {error.said}") from error.__cause__


Reader = Callable[[Any], Any]


class _Misfit(Exception):
    """A value that does not fit. Its place is put together on the way out: sound documents do not pay for it."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said
        self.path: list[str] = []


@cache
def _reader(kind: Any) -> Reader:
    """What reads values of a type, made once for each. Raises TypeError for a type that the codec does not know."""
    origin = typing.get_origin(kind)
    if kind is Any or kind is object:
        return lambda data: data
    if origin in (typing.Union, types.UnionType):
        return _union_reader(typing.get_args(kind))
    if origin in (tuple, frozenset):
        return _sequence_reader(origin, _reader(typing.get_args(kind)[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(*map(_reader, typing.get_args(kind)))
    if dataclasses.is_dataclass(kind):
        return _record_reader(cast(type, kind))
    return _scalar_reader(kind)


def _union_reader(options: tuple[Any, ...]) -> Reader:
    optional = type(None) in options
    readers = [_reader(option) for option in options if option is not type(None)]

    def read(data: Any) -> Any:
        if data is None and optional:
            return None
        for reader in readers[:-1]:
            try:
                return reader(data)
            except _Misfit:
                continue
        return readers[-1](data)

    return read


def _sequence_reader(make: Callable[[Iterable[Any]], Any], item: Reader) -> Reader:
    def read(data: Any) -> Any:
        values = []
        try:
            for each in _expect(list, data):
                values.append(item(each))
        except _Misfit as error:
            if isinstance(data, list):
                error.path.append(f"[{len(values)}]")
            raise
        return make(values)

    return read


def _mapping_reader(key: Reader, item: Reader) -> Reader:
    def read(data: Any) -> Any:
        values = {}
        for name, each in _expect(dict, data).items():
            read_name = key(name)
            try:
                values[read_name] = item(each)
            except _Misfit as error:
                error.path.append(f".{name}")
                raise
        return values

    return read


def _record_reader(cls: type) -> Reader:
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    specs = [
        (f.name, f.default is missing and f.default_factory is missing, _reader(hints[f.name]))
        for f in dataclasses.fields(cls)
    ]
    known = frozenset(name for name, _, _ in specs)

    def read(data: Any) -> Any:
        if not _expect(dict, data).keys() <= known:
            raise _Misfit(f"unknown field {next(key for key in data if key not in known)!r}")
        values = {}
        for name, required, reader in specs:
            if name in data:
                try:
                    values[name] = reader(data[name])
                except _Misfit as error:
                    error.path.append(f".{name}")
                    raise
            elif required:
                raise _Misfit(f"field {name!r} is missing")
        return cls(**values)

    return read


def _scalar_reader(kind: Any) -> Reader:
    if kind is bool or kind is str:
        return lambda data: _expect(kind, data)
    if kind is int:
        return _read_int
    if kind is datetime:
        return _read_time
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_reader(kind)
    raise TypeError(f"the codec does not know {kind!r}")


def _enum_reader(kind: type[Enum]) -> Reader:
    def read(data: Any) -> Any:
        try:
            return kind(data)
        except ValueError as error:
            known = ", ".join(str(member.value) for member in kind)
            raise _Misfit(f"{data!r} is not one of {known}") from error

    return read


def _read_int(data: Any) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise _Misfit(f"expected int, found {type(data).__name__}")
    return data


def _read_time(data: Any) -> datetime:
    try:
        return datetime.fromisoformat(_expect(str, data))
    except ValueError as error:
        raise _Misfit(f"{data!r} is not an ISO 8601 time") from error


def _expect(kind: type[T], data: Any) -> T:
    if not isinstance(data, kind):
        raise _Misfit(f"expected {kind.__name__}, found {type(data).__name__}")
    return data
