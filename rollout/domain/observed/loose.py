"""Reading of documents that come from nodes: every odd value becomes an empty one, nothing raises.

A document is written by our own program, but of whatever version was shipped, on a machine that may be ill.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rollout.domain.inventory import Observation

Row = Mapping[str, Any]

_MOST = 1 << 63
"""Larger numbers are no counts: the kernel's are 64 bits wide."""


def document(observation: Observation | None) -> Row | None:
    """The document of an observation; None when there is none that says anything."""
    if observation is None or not observation.readable:
        return None
    found: Any = observation.document
    return found if isinstance(found, Mapping) and not found.get("failed") else None


def row(value: Any) -> Row:
    """A map; empty for anything else."""
    return value if isinstance(value, Mapping) else {}


def rows(value: Any) -> tuple[Row, ...]:
    """The maps of a list."""
    return tuple(item for item in values(value) if isinstance(item, Mapping))


def values(value: Any) -> Sequence[Any]:
    """A list; empty for anything else."""
    return value if isinstance(value, list | tuple) else ()


def text(value: Any) -> str:
    """A text; empty for null, maps and lists."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def count(value: Any) -> int:
    """A number that is not negative; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value < _MOST else 0


def counts(value: Any) -> tuple[int, ...]:
    """The numbers of a list."""
    found = values(value)
    if set(map(type, found)) == {int} and min(found) >= 0 and max(found) < _MOST:  # round trips by the thousand
        return tuple(found)
    return tuple(count(item) for item in found if isinstance(item, int | float) and not isinstance(item, bool))


def texts(value: Any) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(item for item in values(value) if isinstance(item, str))
