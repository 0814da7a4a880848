"""Which nodes count against the failure budget, and as what. No data is never taken for fine."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from rollout.domain.lifecycle import NodePhase


class FailureClass(Enum):
    """Why a node counts, the gravest first."""

    LOST = "lost"
    QUARANTINED = "quarantined"
    UNREACHABLE = "unreachable"
    """It could not be observed, or its host could not be reached."""
    UNDECIDED = "undecided"
    """Its checks or gates could not tell."""
    FAILED = "failed"
    TAKEN_BACK = "taken back"
    """Led back with its wave, without a failure of its own."""


UNREACHABLE_CODES = frozenset(
    {
        "not-observed",
        "host-unreachable",
        "host-key-changed",
        "host-key-unknown",
        "ssh-auth",
        "ssh-refused",
        "ssh-timeout",
        "ssh-name",
        "wall-timeout",
        "idle-timeout",
    }
)
"""Codes of outcomes that say nothing about the node but that it could not be reached."""

NO_BPF = "bpf-unavailable"
"""Code of a node that is held since required eBPF probes cannot run there."""
_UNDECIDED = "-inconclusive"
_LED_BACK = frozenset({NodePhase.RETURNING, NodePhase.RETURNED, NodePhase.ROLLING_BACK, NodePhase.ROLLED_BACK})


def is_undecided(code: str) -> bool:
    """Whether an outcome's code says that a check or an external gate could not tell."""
    return code.startswith(("check-", "gate-")) and code.endswith(_UNDECIDED)


def failed_check(code: str) -> str:
    """The name of the check that an outcome's code blames; empty when it is no check."""
    return code.removeprefix("check-") if code.startswith("check-") and not is_undecided(code) else ""


def undecided_code(kind: str, name: str) -> str:
    """The code of a held outcome: a `check` or a `gate` that could not tell."""
    return f"{kind}-{name}{_UNDECIDED}"


def failure_class(phase: NodePhase, code: str, *, failed: bool, taken_back: bool) -> FailureClass | None:
    """The class of a node in `phase` whose last outcome had `code` and failed or not; None when it does not count."""
    if phase is NodePhase.LOST:
        return FailureClass.LOST
    if phase is NodePhase.HELD:
        return _of_held(code)
    if phase is NodePhase.QUARANTINED:
        return FailureClass.UNREACHABLE if code in UNREACHABLE_CODES else FailureClass.QUARANTINED
    if phase in _LED_BACK and taken_back:
        return FailureClass.TAKEN_BACK
    if phase in _LED_BACK or (phase is NodePhase.SKIPPED and failed):
        return FailureClass.UNREACHABLE if failed and code in UNREACHABLE_CODES else FailureClass.FAILED
    return None


def _of_held(code: str) -> FailureClass | None:
    """A held node counts when nothing is known about it; other holds wait for the world, not for knowledge."""
    if is_undecided(code) or code == NO_BPF:
        return FailureClass.UNDECIDED
    return FailureClass.UNREACHABLE if code in UNREACHABLE_CODES else None


def failures_in_words(found: Mapping[str, FailureClass]) -> str:
    """`lost: n1; undecided: n4, n7`, the gravest first."""
    groups = {each: sorted(n for n, own in found.items() if own is each) for each in FailureClass}
    return "; ".join(f"{each.value}: {', '.join(names)}" for each, names in groups.items() if names)
