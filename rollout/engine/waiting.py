"""Our taint on nodes still to do: which nodes should carry it, and when to look.

A preference, so it decides nothing: no node fails for it and no rollout stops. A process that takes a rollout up reads
which nodes carry it, puts it on those that wait for their turn, and takes it off all others; from then on the journal
is followed. The patch that cordons a node takes it off, so the nodes named here are only those that never came to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rollout.domain.journal import RolloutState, WaitingIntent
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.plan import NodePlan, Plan
from rollout.domain.step import StepKind


@dataclass(frozen=True, slots=True)
class MarkWaiting:
    """See which nodes carry our taint, then put it on those still to do and take it off the others."""


_LIVE = (RolloutPhase.RUNNING, RolloutPhase.ABORTING)


def marks_due(plan: Plan, state: RolloutState) -> bool:
    """Whether there is anything to put or to take off now. Where a rollout is held or paused, nodes still to do keep
    theirs, and nothing new is put on."""
    if state.phase not in (*_LIVE, RolloutPhase.HELD) or not _wanted(plan):
        return False
    if state.waiting.due:
        return state.phase in _LIVE and (state.pause is None or state.phase is RolloutPhase.ABORTING)
    spoken_of = state.waiting.nodes & state.nodes.keys()  # all others are pending: asked in every round
    return bool(_to_free(plan, state, spoken_of))


def may_start(plan: Plan, state: RolloutState) -> bool:
    """Whether nodes may begin: evicted pods need to know first which nodes to keep away from."""
    return not (_wanted(plan) and state.waiting.due)


def marks_wanted(
    plan: Plan, state: RolloutState, rollout: str, carriers: Mapping[str, str], fencing: int
) -> WaitingIntent:
    """What to change, given the nodes that carry the taint now, each with the rollout it names.

    `carriers` is read from a watch, which may lag behind our own hand: what the journal knows is added to it.
    """
    known = dict.fromkeys(state.waiting.nodes, rollout) | {
        name: owner for name, owner in carriers.items() if owner in (rollout, plan.supersedes)
    }
    pending = {node.name for node in plan.nodes if _waits(plan, state, node.name)}
    free = _to_free(plan, state, known)
    kept = {name for name, owner in known.items() if owner == rollout} - set(free)
    put = pending - kept if state.waiting.due and state.phase is RolloutPhase.RUNNING else set()
    return WaitingIntent(tuple(sorted(put)), free, tuple(sorted(kept)) if state.waiting.due else (), fencing)


def _wanted(plan: Plan) -> bool:
    """A way back has the marks of the rollout it supersedes to replace or to take off, whatever its own policy."""
    return plan.takes_back or (plan.policy.soft_taint and any(_drains(node) for node in plan.nodes))


def _drains(node: NodePlan) -> bool:
    return any(step.kind is StepKind.DRAIN for step in node.steps)


def _waits(plan: Plan, state: RolloutState, name: str) -> bool:
    pending = plan.has(name) and state.node(name).phase is NodePhase.PENDING
    return pending and plan.policy.soft_taint and _drains(plan.node(name))


def _comes_to_cordon(plan: Plan, state: RolloutState, name: str) -> bool:
    """On its way to the step that takes the taint off by itself."""
    node = state.node(name)
    on_its_way = node.phase in (NodePhase.RUNNING, NodePhase.HELD)
    return on_its_way and plan.policy.soft_taint and not any(step is StepKind.CORDON for _, step in node.done)


def _to_free(plan: Plan, state: RolloutState, carriers: Iterable[str]) -> tuple[str, ...]:
    """Carriers that neither wait for their turn nor come to the cordon, nodes of other plans among them."""
    able = (name for name in carriers if name not in state.waiting.failed)
    return tuple(sorted(n for n in able if not _waits(plan, state, n) and not _comes_to_cordon(plan, state, n)))
