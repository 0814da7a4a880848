"""The rule that turns a wave's state into proceed, hold or roll back. Three-valued; no data holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rollout.domain.verdict import GateDecision

_WORST_FIRST = (GateDecision.ROLL_BACK, GateDecision.HOLD, GateDecision.PROCEED)


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What one external gate means."""

    gate: str
    decision: GateDecision
    reason: str


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """A finished node, looked at again under load. None: could not be told."""

    ready: bool | None
    agent_ready: bool | None
    schedulable: bool | None


def worst(decisions: Iterable[GateDecision]) -> GateDecision:
    """Roll back before hold before proceed. Nothing asked proceeds."""
    found = set(decisions)
    return next((d for d in _WORST_FIRST if d in found), GateDecision.PROCEED)


def judge_gate(nodes: Mapping[str, NodeHealth]) -> tuple[GateDecision, str]:
    """Proceed only when every finished node of the wave is Ready, schedulable and has a Ready agent."""
    unknown = sorted(n for n, h in nodes.items() if None in (h.ready, h.agent_ready, h.schedulable))
    broken = sorted(n for n, h in nodes.items() if h.ready is False or h.agent_ready is False)
    if broken:
        return GateDecision.HOLD, f"not well under load: {', '.join(broken)}"
    if unknown:
        return GateDecision.HOLD, f"could not be told: {', '.join(unknown)}"
    return GateDecision.PROCEED, f"{len(nodes)} node(s) well under load" if nodes else "no node of this wave was moved"
