"""What a rollout is doing, and why a node is where it is. From the journal alone: no cluster is needed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from rollout.app.consent import consent_for
from rollout.app.journal import load, load_plan
from rollout.app.remaining import Remaining, remaining
from rollout.app.world import World
from rollout.domain.consent import Consent
from rollout.domain.errors import UsageError
from rollout.domain.journal import Entry, NodeState, RolloutState
from rollout.domain.lifecycle import NodePhase, RolloutPhase
from rollout.domain.plan import Plan
from rollout.domain.step import Track
from rollout.engine.rules import current_wave
from rollout.engine.slots import Slots
from rollout.ports.store import RolloutRecord


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node's line."""

    name: str
    wave: int
    phase: NodePhase
    step: str
    done: int
    steps: int
    since: datetime | None
    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """A rollout at a glance."""

    record: RolloutRecord
    plan: Plan
    state: RolloutState
    wave: int | None
    nodes: tuple[NodeStatus, ...]
    counts: dict[str, int]
    next_command: str
    consent: Consent
    """Approvals, judged by the rules in force; of a plan in use, at the moment it was started."""
    remaining: Remaining | None = None
    """How much longer it takes, by the plan's estimate."""


@dataclass(frozen=True, slots=True)
class Why:
    """Everything the journal knows about one node."""

    status: NodeStatus
    state: NodeState
    deadline: datetime | None
    left: timedelta | None
    history: tuple[Entry, ...]


def status(world: World, reference: str) -> RolloutStatus:
    """The rollout's state, its nodes, and the command that would move it on."""
    record, state = load(world.store, reference)
    plan = load_plan(world.store, record.id)
    wave = current_wave(plan, state)
    slots = Slots(plan, state, frozenset(), world.clock.now())
    nodes = tuple(_node_status(plan, state, name, slots) for w in plan.waves for name in w.nodes)
    counts = dict(sorted(Counter(n.phase.value for n in nodes).items()))
    consent = consent_for(world, plan, state)
    command = _next(record.id, state, consent)
    number, left = wave.number if wave else None, remaining(plan, state)
    return RolloutStatus(record, plan, state, number, nodes, counts, command, consent, left)


def why(world: World, reference: str, node: str) -> Why:
    """Why a node is not further. Raises `UsageError` when it is not in the rollout."""
    current = status(world, reference)
    found = next((n for n in current.nodes if n.name == node), None)
    if found is None:
        raise _not_in_plan(current.plan, node)
    state = current.state.node(node)
    deadline = state.intent.deadline if state.intent else None
    left = deadline - world.clock.now() if deadline else None
    history = tuple(e for e in world.store.read(current.record.id) if getattr(e.body, "node", "") == node)
    return Why(found, state, deadline, left, history)


def _not_in_plan(plan: Plan, node: str) -> UsageError:
    left_out = next((e for e in plan.excluded if e.node == node), None)
    if left_out:
        return UsageError(
            "node-left-out",
            f"cannot explain node {node}: the plan left it out: {'; '.join(left_out.reasons)}",
            hint="mend that, then plan it: rollout plan --node " + node,
        )
    return UsageError(
        "node-not-in-rollout",
        f"cannot explain node {node}: it is not in this rollout",
        hint="its nodes: " + ", ".join(n.name for n in plan.nodes[:10]),
    )


def _node_status(plan: Plan, state: RolloutState, name: str, slots: Slots) -> NodeStatus:
    node = state.node(name)
    planned = plan.node(name)
    way = planned.track(node.track)
    done = sum(1 for track, _ in node.done if track is node.track)
    step = node.intent.step.value if node.intent else ""
    reason, hint = _reason(plan, state, node, slots)
    return NodeStatus(
        name,
        plan.wave_of(name).number,
        node.phase,
        step if node.track is Track.FORWARD or not step else f"{step} (back)",
        done,
        len(way),
        node.since,
        reason,
        hint,
    )


def _reason(plan: Plan, state: RolloutState, node: NodeState, slots: Slots) -> tuple[str, str]:
    if node.waiting is not None:
        return node.waiting.reason, node.waiting.hint
    if node.phase in (NodePhase.HELD, NodePhase.QUARANTINED) and node.last is not None:
        return node.last.reason or node.reason, node.last.hint
    if node.phase is NodePhase.DONE and node.name in state.taking_back:
        return f"goes back as soon as max_unavailable lets it: {state.taking_back[node.name]}", ""
    if node.phase is NodePhase.PENDING:
        return _pending_reason(plan, state, node.name, slots)
    return node.reason, ""


def _pending_reason(plan: Plan, state: RolloutState, name: str, slots: Slots) -> tuple[str, str]:
    """Without the cluster: outages by others are told by the process that runs the rollout."""
    if state.phase is RolloutPhase.HELD:
        return f"the rollout is held: {state.reason}", "rollout resume"
    if state.phase is RolloutPhase.DRAFT:
        return "the plan is not approved", "rollout approve"
    if state.phase is RolloutPhase.APPROVED:
        return "the rollout was not started", "rollout apply"
    wave, mine = current_wave(plan, state), plan.wave_of(name)
    if wave is not None and mine.number > wave.number:
        return f"its turn comes with {mine.name}, after the gate of {wave.name}", ""
    wait = slots.closed or slots.refuses(name)
    if wait is not None:
        return wait.why, ""
    limit = plan.policy.most_unavailable(plan.cluster.fleet)
    return f"max_unavailable lets {limit} node(s) be out at once", ""


def _next(rollout: str, state: RolloutState, consent: Consent) -> str:
    if state.phase in (RolloutPhase.DRAFT, RolloutPhase.APPROVED):
        if consent.missing:
            return f"rollout approve {rollout} --by NAME --ticket ID" + (" --sign" if consent.signed else "")
        return f"rollout apply {rollout}"
    if state.phase is RolloutPhase.HELD or (state.phase is RolloutPhase.RUNNING and state.run is None):
        return f"rollout resume {rollout}"
    if state.phase is RolloutPhase.ABORTING:
        return f"rollout resume {rollout}"
    if state.phase is RolloutPhase.COMPLETED and not state.abort:
        return f"rollout rollback {rollout}   (to take it back)"
    return ""
