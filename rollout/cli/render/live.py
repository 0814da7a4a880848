"""The rows of the live table: what is moving and what is in trouble, and a count of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from rollout.cli.render.words import plain
from rollout.domain.journal import NodeState, RolloutState
from rollout.domain.lifecycle import SETTLED_PHASES, NodePhase
from rollout.domain.plan import Plan

_QUIET = (SETTLED_PHASES - {NodePhase.LOST}) | {NodePhase.PENDING}

COLOURS: Mapping[str, str] = {
    "held": "yellow",
    "quarantined": "red",
    "lost": "red",
    "returning": "yellow",
    "rolling-back": "yellow",
    "rest": "dim",
}


class LiveRows:
    """`plan` is set when it is known; until then there is nothing to draw."""

    def __init__(self) -> None:
        self.plan: Plan | None = None

    def __call__(self, state: RolloutState) -> tuple[tuple[str, str, str, str, str], ...]:
        """Node, phase, step, steps done, why."""
        if self.plan is None:
            return ()
        nodes = [state.node(name) for wave in self.plan.waves for name in wave.nodes]
        rows = [_row(self.plan, node) for node in nodes if node.phase not in _QUIET]
        quiet = Counter(node.phase.value for node in nodes if node.phase in _QUIET)
        words = ", ".join(f"{number} {phase}" for phase, number in sorted(quiet.items()))
        return (*rows, (f"rollout {state.phase.value}", "rest", "", "", words))


def _row(plan: Plan, node: NodeState) -> tuple[str, str, str, str, str]:
    way = plan.node(node.name).track(node.track)
    done = sum(1 for track, _ in node.done if track is node.track)
    step = node.intent.step.value if node.intent else ""
    why = node.waiting.reason if node.waiting else node.reason
    return plain(node.name), node.phase.value, step, f"{done}/{len(way)}", plain(why)
