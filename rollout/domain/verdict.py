"""Verdicts: the judgement of observations about one claim."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Status(Enum):
    """pass, fail, inconclusive, skipped. No data is inconclusive, never pass."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"


class GateDecision(Enum):
    """What a gate says."""

    PROCEED = "proceed"
    HOLD = "hold"
    ROLL_BACK = "roll-back"


_WORST_FIRST = (Status.FAIL, Status.INCONCLUSIVE, Status.PASS)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check's judgement of one node, with what was compared.

    `evidence` holds integers with the unit in their names, strings, booleans, lists and maps: no floats.
    """

    check: str
    node: str
    status: Status
    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    excused: bool = False
    """Skipped on a ground that the policy accepts or that leaves nothing to judge: a required check does not hold."""


def merge(verdicts: Iterable[Verdict], required: Iterable[str]) -> Status:
    """The worst of the verdicts. A required check that is missing or was skipped unexcused counts as inconclusive.

    Merging by a fixed order of severity, so that a later result never improves an earlier one. Excused verdicts alone
    are no proof: something must have passed.
    """
    verdicts = tuple(verdicts)
    answered = {v.check for v in verdicts if v.status is not Status.SKIPPED or v.excused}
    found = {v.status for v in verdicts if v.status is not Status.SKIPPED}
    if not set(required) <= answered:
        found.add(Status.INCONCLUSIVE)
    return next((status for status in _WORST_FIRST if status in found), Status.INCONCLUSIVE)
