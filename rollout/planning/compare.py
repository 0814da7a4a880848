"""Two values of the domain, field by field: where they differ, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

_NAMES = (
    ("kind", "namespace", "name", "cause"),
    ("rule", "node"),
    ("rule", "by"),
    ("name", "start"),
    ("name",),
    ("wave",),
    ("key",),
    ("kind",),
)
"""Fields that tell records of one list apart; the first set that a record has."""

_REASONS = ("why", "reason", "message", "consequence", "binding", "advice")
"""Fields that say why a record is as it is; the first that a record has."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place that differs. None: not there."""

    path: str
    before: str | None
    after: str | None
    why: str = ""


def compare(path: str, before: Any, after: Any, why: str = "") -> Iterator[Difference]:
    """Every difference of two values. Values that are not equal give one at least."""
    if before == after:
        return
    if dataclasses.is_dataclass(before) and type(before) is type(after):
        yield from _records(path, before, after)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _mappings(path, before, after, why)
    elif _lists_of_records(before, after):
        yield from _lists(path, before, after)
    else:
        yield Difference(path, _told(before), _told(after), why)


def words(value: Any) -> str:
    """A value as text: lists with commas, records as their fields that say something."""
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return ", ".join(f"{name} {words(each)}" for name, each in pairs if each not in ("", (), {}, None))
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return ", ".join(f"{words(key)}={words(each)}" for key, each in sorted(value.items()))
    if isinstance(value, tuple | list):
        return ", ".join(words(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _told(value: Any) -> str | None:
    return None if value is None else words(value)


def _join(path: str, name: str) -> str:
    return f"{path}: {name}" if path else name


def _records(path: str, before: Any, after: Any) -> Iterator[Difference]:
    why = _why(after)
    for field in dataclasses.fields(before):
        yield from compare(_join(path, field.name), getattr(before, field.name), getattr(after, field.name), why)


def _why(record: Any) -> str:
    return next((str(getattr(record, name)) for name in _REASONS if getattr(record, name, "")), "")


def _mappings(path: str, before: Mapping[Any, Any], after: Mapping[Any, Any], why: str) -> Iterator[Difference]:
    for key in sorted({*before, *after}, key=str):
        place = _join(path, words(key))
        if key not in after:
            yield Difference(place, words(before[key]), None, why)
        elif key not in before:
            yield Difference(place, None, words(after[key]), why)
        else:
            yield from compare(place, before[key], after[key], why)


def _lists_of_records(before: Any, after: Any) -> bool:
    if not isinstance(before, tuple) or not isinstance(after, tuple):
        return False
    return any(dataclasses.is_dataclass(each) for each in (*before[:1], *after[:1]))


def _lists(path: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[Difference]:
    old, new = _by_key(before), _by_key(after)
    found = False
    for key in (*old, *(key for key in new if key not in old)):
        for each in _entry(_join(path, key), old.get(key), new.get(key)):
            found = True
            yield each
    if not found:
        yield Difference(_join(path, "order"), ", ".join(old), ", ".join(new))


def _entry(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if before is None:
        yield Difference(path, None, words(after), _why(after))
    elif after is None:
        yield Difference(path, words(before), None, _why(before))
    else:
        yield from compare(path, before, after)


def _by_key(records: Sequence[Any]) -> dict[str, Any]:
    """Records by what tells them apart; those that nothing does are numbered."""
    found: dict[str, Any] = {}
    for record in records:
        names = next((n for n in _NAMES if all(hasattr(record, each) for each in n)), ())
        told = [getattr(record, each) for each in names]
        key = " ".join(words(each) for each in told if each not in ("", None)) or "entry"
        number, unique = 1, key
        while unique in found:
            number += 1
            unique = f"{key} #{number}"
        found[unique] = record
    return found
