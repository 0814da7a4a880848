"""Findings by what would mend them: one remedy often helps many nodes, and several rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.domain.plan import Finding
from rollout.planning.preflight.judge import WAIVED
from rollout.planning.preflight.row import BLOCK, INFO, PASS, UNKNOWN, WARN

_ORDER = {BLOCK: 0, UNKNOWN: 1, WARN: 2, WAIVED: 3, INFO: 4}


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence of one rule, and where it is true."""

    rule: str
    message: str
    nodes: tuple[str, ...]
    """In name order; none: the cluster."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do, and what it mends."""

    text: str
    """Empty for what was waived."""
    status: str
    """The worst among its findings."""
    rules: tuple[str, ...]
    nodes: tuple[str, ...]
    """In name order; none: the cluster."""
    said: tuple[Said, ...]


def by_remedy(findings: Iterable[Finding]) -> tuple[Remedy, ...]:
    """Everything that does not simply hold, by remedy: what blocks first, then what helps most nodes."""
    groups: dict[tuple[str, bool], list[Finding]] = {}
    for one in findings:
        if one.status != PASS:
            groups.setdefault((one.remedy, one.status == WAIVED), []).append(one)
    found = [_remedy(text, rows) for (text, _), rows in groups.items()]
    return tuple(sorted(found, key=lambda r: (_ORDER[r.status], -len(r.nodes), r.rules, r.text)))


def _remedy(text: str, rows: list[Finding]) -> Remedy:
    sentences: dict[tuple[str, str], list[str]] = {}
    for one in rows:
        sentences.setdefault((one.rule, one.message), []).append(one.node)
    return Remedy(
        text,
        min((one.status for one in rows), key=_ORDER.__getitem__),
        tuple(dict.fromkeys(one.rule for one in rows)),
        _nodes(one.node for one in rows),
        tuple(Said(rule, message, _nodes(nodes)) for (rule, message), nodes in sentences.items()),
    )


def _nodes(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if name}))
