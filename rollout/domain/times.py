"""How long steps took before: what an estimate is made from."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.domain.step import StepKind


@dataclass(frozen=True, slots=True)
class StepTime:
    """Times of one kind of step on nodes of one cohort, in whole seconds, from journals of this state."""

    cohort: str
    """Empty: all nodes together."""
    step: StepKind
    nodes: int
    """Runs that ended well."""
    p50_s: int
    p90_s: int
