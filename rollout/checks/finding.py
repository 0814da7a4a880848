"""Several comparisons under one check: each a finding, together one verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollout.checks.material import Case
from rollout.domain.verdict import Status, Verdict

_WORST_FIRST = (Status.FAIL, Status.INCONCLUSIVE)
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison: what was compared, what it came to, in words, and the numbers."""

    name: str
    status: Status
    words: str
    evidence: Mapping[str, object] = field(default_factory=dict)


def conclude(
    case: Case, check: str, findings: Sequence[Finding], passed: str, more: Mapping[str, object] | None = None
) -> Verdict:
    """The worst finding decides and speaks; `passed` is said when none objects."""
    evidence = {**(more or {}), "compared": {each.name: dict(each.evidence) for each in findings}}
    for status in _WORST_FIRST:
        words = [each.words for each in findings if each.status is status]
        if words:
            return case.say(check, status, named(words, "; "), evidence)
    return case.say(check, Status.PASS, passed, evidence)


def named(words: Sequence[str], between: str = ", ") -> str:
    """The first few, and how many more there are."""
    rest = len(words) - _MOST_NAMED
    return between.join(words[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
