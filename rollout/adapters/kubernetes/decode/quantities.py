"""Quantities, and what a pod asks for in all. Exact: no float is ever made."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rollout.adapters.kubernetes.decode.wire import decode
from rollout.domain.scheduling import Labels

_QUANTITY = re.compile(r"([+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.)(?:(m|u|n|[kMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?")
_SCALE = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: dict[str, int] = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", start=1)}
_COUNTED = ("cpu", "memory", "pods")
"""Resources that have a field of their own."""

Asked = Mapping[str, int]
"""Whole numbers by resource; `cpu` in thousandths of a core."""


@lru_cache(maxsize=4096)
def _quantity(text: str) -> Fraction:
    """A Kubernetes quantity; 0 for text that is none (the API admits no such object)."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return Fraction(0)
    number, suffix = Fraction(match[1].removesuffix(".")), match[2]
    if suffix in _BINARY:
        return number * _BINARY[suffix]
    power = _SCALE[suffix] if suffix else int(match[3] or 0)
    scale: int = 10 ** abs(power)
    return number * scale if power >= 0 else number / scale


@lru_cache(maxsize=4096)
def cpu_millis(text: str) -> int:
    """Thousandths of a core, rounded up."""
    return math.ceil(_quantity(text) * 1000)


@lru_cache(maxsize=4096)
def memory_bytes(text: str) -> int:
    """Bytes (or any other whole amount), rounded up."""
    return math.ceil(_quantity(text))


def others(amounts: Mapping[str, str | int | float]) -> Labels:
    """Resources beside CPU, memory and pods, in name order, without those of which there is none."""
    found = ((name, memory_bytes(str(amount))) for name, amount in sorted(amounts.items()) if name not in _COUNTED)
    return tuple((name, str(amount)) for name, amount in found if amount)


@dataclass(frozen=True, slots=True)
class Requests:
    """What the scheduler counts for a pod."""

    cpu_millis: int
    memory_bytes: int
    extra: Labels


def requests_of(init: Sequence[tuple[bool, bytes]], main: Iterable[bytes], whole: bytes, overhead: bytes) -> Requests:
    """Containers plus sidecars, or the largest init container, plus overhead.

    What the pod as a whole asks for takes the place of its containers' sum. `init` tells of each init container whether
    it is a sidecar. All amounts are undecoded.
    """
    asked = _most(init, _sum(map(_amounts, main))) | _amounts(whole)
    asked = _sum((asked, _amounts(overhead)))
    extra = tuple((name, str(amount)) for name, amount in sorted(asked.items()) if name not in _COUNTED and amount)
    return Requests(asked.get("cpu", 0), asked.get("memory", 0), extra)


@lru_cache(maxsize=4096)
def _amounts(raw: bytes) -> dict[str, int]:
    if not raw:
        return {}
    found: dict[str, str | int | float] | None = decode(
        raw,
        dict[str, str | int | float] | None,  # type: ignore[arg-type]
        "requests",
    )
    return {
        name: cpu_millis(str(amount)) if name == "cpu" else memory_bytes(str(amount))
        for name, amount in (found or {}).items()
    }


def _sum(parts: Iterable[Asked]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0) + amount
    return total


def _most(init: Sequence[tuple[bool, bytes]], main: Asked) -> dict[str, int]:
    """Sidecars start in order and stay; an init container runs beside the sidecars started before it."""
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for sidecar, raw in init:
        own = _amounts(raw)
        now = _sum((sidecars, own))
        if sidecar:
            sidecars = now
        peak = {name: max(peak.get(name, 0), now.get(name, 0)) for name in peak.keys() | now.keys()}
    steady = _sum((main, sidecars))
    return {name: max(peak.get(name, 0), steady.get(name, 0)) for name in peak.keys() | steady.keys()}
