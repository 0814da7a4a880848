"""Plan the way back: the same planner, the mode reversed, for all, one wave or named nodes of a rollout."""

from __future__ import annotations

from dataclasses import replace

from rollout.app.collect import collect
from rollout.app.journal import load, load_plan
from rollout.app.make_plan import PlanResult, moved_itself, save_plan
from rollout.app.world import World
from rollout.domain.errors import Refused, UsageError
from rollout.domain.journal import RolloutState
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.plan import Plan
from rollout.domain.policy import Policy
from rollout.engine.rules import comes_to_rest
from rollout.planning.planner import TakesBack


def plan_rollback(world: World, reference: str, *, wave: int | None = None, nodes: tuple[str, ...] = ()) -> PlanResult:
    """Make and save the plan that takes a rollout back. It needs an approval of its own.

    Raises `Refused` while the rollout still moves or when nothing of it is left to take back, `UsageError` for a wave
    or node that is not in it.
    """
    record, state = load(world.store, reference)
    plan = load_plan(world.store, record.id)
    if state.phase not in (RolloutPhase.HELD, RolloutPhase.COMPLETED, RolloutPhase.ABORTED):
        raise Refused(
            "still-running",
            f"cannot roll back rollout {record.id}: it is {state.phase.value}",
            hint="first: rollout pause, or rollout abort",
        )
    if comes_to_rest(state):
        raise Refused(
            "not-at-rest",
            f"cannot roll back rollout {record.id}: nodes of it are still on their way back",
            hint="bring them to rest first: rollout resume",
        )
    chosen = [n for n in _asked(plan, wave, nodes) if _was_moved(state, n)]
    if not chosen:
        raise Refused(
            "nothing-to-take-back",
            f"cannot roll back rollout {record.id}: none of these nodes was moved by it",
            hint="see: rollout status",
        )
    sources = {plan.node(name).source for name in chosen}
    if len(sources) > 1:
        raise UsageError(
            "several-modes",
            "cannot roll back at once: the nodes came from different modes",
            hint="roll them back in groups: "
            + "; ".join(
                f"{mode.value}: --node " + " --node ".join(n for n in chosen if plan.node(n).source is mode)
                for mode in sorted(sources, key=lambda m: m.value)
            ),
        )
    policy = at_any_time(moved_itself(replace(plan.policy, target=sources.pop(), nodes=tuple(chosen), selector={})))
    return save_plan(world, collect(world, chosen), policy, TakesBack(record.id, plan.policy.target))


def at_any_time(policy: Policy) -> Policy:
    """The policy without windows and freezes: harm is not left where it is until the next window opens."""
    return replace(policy, windows=(), freezes=(), calendars=())


def _asked(plan: Plan, wave: int | None, nodes: tuple[str, ...]) -> tuple[str, ...]:
    known = tuple(n.name for n in plan.nodes)
    for name in nodes:
        if name not in known:
            raise UsageError(
                "node-not-in-rollout",
                f"cannot roll back node {name}: it is not in this rollout",
                hint=f"its nodes: {', '.join(known[:10])}",
            )
    if nodes:
        return nodes
    if wave is None:
        return known
    if not 0 <= wave < len(plan.waves):
        raise UsageError(
            "unknown-wave", f"cannot roll back wave {wave}: there are {len(plan.waves)}", hint="count from 0"
        )
    return plan.waves[wave].nodes


_NOT_MOVED = frozenset(
    {
        NodePhase.ROLLED_BACK,
        NodePhase.RETURNED,
        NodePhase.LOST,
        NodePhase.REPLACED,
        NodePhase.SKIPPED,
        NodePhase.PENDING,
    }
)
"""Phases of nodes of which nothing is left to take back; of one that was replaced there is no machine any more."""


def _was_moved(state: RolloutState, name: str) -> bool:
    node = state.node(name)
    if node.phase in _NOT_MOVED:
        return False
    return node.phase is NodePhase.DONE or node.armed or node.phase is NodePhase.QUARANTINED
