"""How much longer a rollout takes: the plan's own estimate, less what is behind."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.domain.journal import RolloutState
from rollout.domain.lifecycle import RolloutPhase
from rollout.domain.plan import Plan, WaveEstimate
from rollout.engine.rules import current_wave, has_ended


@dataclass(frozen=True, slots=True)
class Remaining:
    """A range in seconds, counted from when work goes on, with what binds the wave under way."""

    low_s: int
    high_s: int
    binding: str


_TO_COME = (RolloutPhase.DRAFT, RolloutPhase.APPROVED, RolloutPhase.RUNNING, RolloutPhase.HELD)


def remaining(plan: Plan, state: RolloutState) -> Remaining | None:
    """None when nothing is left to do, or the plan has no estimate.

    The wave under way counts by its nodes that have not ended, a whole node at least: its soak is still to come.
    """
    wave = current_wave(plan, state)
    if plan.estimate is None or wave is None or state.phase not in _TO_COME:
        return None
    rows = {row.wave: row for row in plan.estimate.waves}
    mine = rows.get(wave.number)
    left = max(1, sum(1 for name in wave.nodes if not has_ended(state, name)))
    low, high = _share(mine, left, len(wave.nodes)) if mine else (0, 0)
    later = [row for number, row in rows.items() if number > wave.number]
    low, high = low + sum(row.low_s for row in later), high + sum(row.high_s for row in later)
    return Remaining(low, high, mine.binding if mine else plan.estimate.binding)


def _share(row: WaveEstimate, left: int, nodes: int) -> tuple[int, int]:
    return -(-row.low_s * left // max(1, nodes)), -(-row.high_s * left // max(1, nodes))
