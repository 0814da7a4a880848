"""Whether a step has reached what it is for, by a fresh reading, compared with what was there before it.

Decision: one predicate serves three moments (settling an intent that a dead process left, skipping an effect that is
not needed, and the end of waiting), because three separate tests of one fact would come to differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from rollout.domain.plan import NodePlan
from rollout.domain.step import StepKind, Track

Reading = Mapping[str, Any]


def is_done(step: StepKind, track: Track, node: NodePlan, before: Reading, now_reads: Reading, now: datetime) -> bool:
    """True when nothing is left to do. Steps that observe are never done by reading: they are made again."""
    rule = _RULES.get(step)
    return rule is not None and rule(track, node, before, now_reads, now)


def wanted_label(track: Track, node: NodePlan) -> str:
    """The value our label should have on this way; empty when it should be absent."""
    return node.assign_back if track is Track.BACK else node.assign


def _recheck(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return not reads["drift"]


def _cordon(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["unschedulable"]) and bool(reads["ours"])


def _drain(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return not reads["evictable"]


def _evacuate(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["taint"]) and not reads["left"]


def _assign(track: Track, node: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["label"] == wanted_label(track, node))


def _restart(_t: Track, _n: NodePlan, before: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["agent_pod"]) and reads["agent_pod"] != before["agent_pod"]


def _reboot(_t: Track, _n: NodePlan, before: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["boot_id"]) and reads["boot_id"] != before["boot_id"] and bool(reads["ready"])


def _clear(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["agent_ready"])


def _release(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return not reads["taint"] and not reads["missing"]


def _soak(_t: Track, _n: NodePlan, before: Reading, _reads: Reading, now: datetime) -> bool:
    return now >= datetime.fromisoformat(before["until"])


def _uncordon(_t: Track, _n: NodePlan, before: Reading, reads: Reading, _now: datetime) -> bool:
    return not reads["ours"] and (not reads["unschedulable"] or bool(before.get("prior_unschedulable")))


def _await_capacity(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["room"])


def _retire(_t: Track, _n: NodePlan, _b: Reading, reads: Reading, _now: datetime) -> bool:
    return bool(reads["gone"])


_RULES: Mapping[StepKind, Callable[[Track, NodePlan, Reading, Reading, datetime], bool]] = {
    StepKind.RECHECK: _recheck,
    StepKind.CORDON: _cordon,
    StepKind.DRAIN: _drain,
    StepKind.EVACUATE: _evacuate,
    StepKind.ASSIGN_MODE: _assign,
    StepKind.RESTART_AGENT: _restart,
    StepKind.REBOOT: _reboot,
    StepKind.CLEAR_STRAGGLERS: _clear,
    StepKind.RELEASE: _release,
    StepKind.SOAK: _soak,
    StepKind.UNCORDON: _uncordon,
    StepKind.AWAIT_CAPACITY: _await_capacity,
    StepKind.RETIRE: _retire,
}
