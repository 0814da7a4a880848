"""The resolver: plan, journal state and time to decisions and next actions.

Invariant: at most `max_unavailable` nodes are out by our hand (quarantined nodes free their slot), no node of a later
wave starts before the gates of all earlier waves proceeded, a node's finished steps are a prefix of its way, and all of
it under the one digest the journal was opened for. Moves keep it in this order: settle what a dead process left, bring
nodes in flight forward, decide about failed ones, let gates speak, and only then start new nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rollout.domain.journal import (
    Body,
    Entry,
    NodeDecided,
    NodeState,
    Outcome,
    Result,
    RolloutDecided,
    RolloutState,
    failed_nodes,
    fold,
)
from rollout.domain.lifecycle import FENCED_PHASES, SETTLED_PHASES, NodeEvent, NodePhase, RolloutEvent, RolloutPhase
from rollout.domain.plan import NodePlan, Plan, Wave
from rollout.domain.policy import OnFailure
from rollout.domain.step import STEPS, StepKind, Track


class InvariantBroken(AssertionError):
    """The state contradicts what must always hold. A bug; the process stops rather than go on."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Read what is there, write the intent, perform the step."""

    node: str
    track: Track
    step: StepKind
    attempt: int


@dataclass(frozen=True, slots=True)
class Settle:
    """A dead process left this intent: find out by reading, and go on from there."""

    node: str
    track: Track
    step: StepKind
    attempt: int


@dataclass(frozen=True, slots=True)
class Gate:
    """All nodes of a wave have ended: look at them again and let the gate speak."""

    wave: int


Action = Begin | Settle | Gate

_LOOK_AGAIN = timedelta(seconds=5)
_BLIND = "no node is started while the cluster cannot be seen: other nodes may be out of service"

_ENDED = frozenset({RolloutPhase.HELD, RolloutPhase.COMPLETED, RolloutPhase.ABORTED})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the resolver is told beside plan and journal."""

    now: datetime
    busy: frozenset[str] = frozenset()
    """Nodes with work in flight in this process."""
    gating: bool = False
    """A gate is being looked at in this process."""
    foreign_out: frozenset[str] | None = frozenset()
    """Nodes out of service, whoever did it; they count against max_unavailable. None: the cluster cannot be seen."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Entries to make durable, then actions to take. `wake_at`: when to ask again though nothing happened."""

    bodies: tuple[Body, ...] = ()
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    waiting: str = ""
    finished: bool = False
    """Nothing more will happen without a person."""


@dataclass
class _Round:
    """One call's work in progress."""

    plan: Plan
    state: RolloutState
    around: Surroundings
    bodies: list[Body] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    wake_at: datetime | None = None
    waiting: str = ""

    def note(self, body: Body) -> None:
        """Take a decision: it is part of the state for the rest of this round."""
        self.bodies.append(body)
        self.state = fold([Entry(self.state.seq + 1, self.around.now, body)], self.state)


def decide(plan: Plan, state: RolloutState, around: Surroundings) -> Decision:
    """The next decisions and actions. Raises `InvariantBroken`."""
    check_invariants(plan, state)
    work = _Round(plan, state, around)
    if state.phase is RolloutPhase.RUNNING and state.abort is not None:
        work.note(RolloutDecided(RolloutEvent.ABORT, f"asked by {state.abort.by}: {state.abort.reason}".rstrip(": ")))
    for node in plan.nodes:
        if node.name not in around.busy:
            _move_node(work, node)
    if work.state.phase is RolloutPhase.RUNNING:
        _hold_on_failures(work)
    if work.state.phase is RolloutPhase.RUNNING:
        _advance_waves(work)
    _end_rollout(work)
    check_invariants(plan, work.state, starting=_starting(work))
    return Decision(
        tuple(work.bodies),
        tuple(work.actions),
        work.wake_at,
        work.waiting,
        finished=work.state.phase in _ENDED and not _moving(work),
    )


# --- one node ----------------------------------------------------------------------------------------------------


def _move_node(work: _Round, node: NodePlan) -> None:
    state = work.state.node(node.name)
    if state.intent is not None:
        intent = state.intent
        work.actions.append(Settle(node.name, intent.track, intent.step, intent.attempt))
        return
    _judge_last(work, node, state)
    if work.state.phase is RolloutPhase.ABORTING:
        _abort_node(work, node)
    state = work.state.node(node.name)
    if state.phase not in (NodePhase.RUNNING, NodePhase.RETURNING, NodePhase.ROLLING_BACK):
        return
    step = next_step(node, state)
    if step is None:
        work.note(NodeDecided(node.name, NodeEvent.FINISH))
    elif not rests(work.state, state):
        work.actions.append(Begin(node.name, state.track, step, state.attempts.get((state.track, step), 0) + 1))


def next_step(node: NodePlan, state: NodeState) -> StepKind | None:
    """The first step of the node's way that is not done; None at its end."""
    for step in node.track(state.track):
        if (state.track, step.kind) not in state.done:
            return step.kind
    return None


def rests(rollout: RolloutState, node: NodeState) -> bool:
    """Whether a pause keeps the node where it is: only behind a step where a node may be left."""
    pausing = rollout.pause is not None and rollout.phase is not RolloutPhase.ABORTING
    if not pausing or node.track is not Track.FORWARD:
        return False
    forward = [step for track, step in node.done if track is Track.FORWARD]
    return not forward or STEPS[forward[-1]].rest_after


def _judge_last(work: _Round, node: NodePlan, state: NodeState) -> None:
    """Turn an outcome that is no success into a phase, once: the decision stands in the journal beside it."""
    last = state.last
    if last is None or last.result in (Result.DONE, Result.INTERRUPTED) or state.judged:
        return
    if state.phase not in (NodePhase.RUNNING, NodePhase.RETURNING, NodePhase.ROLLING_BACK):
        return
    work.note(NodeDecided(node.name, _event_for(work, state, last), last.reason))


def _event_for(work: _Round, state: NodeState, last: Outcome) -> NodeEvent:
    if last.result is Result.LOST:
        return NodeEvent.LOSE
    if state.phase is not NodePhase.RUNNING:
        return NodeEvent.QUARANTINE
    if last.result is Result.HELD:
        return NodeEvent.HOLD
    if state.armed:
        back = work.plan.policy.on_failure is OnFailure.ROLL_BACK
        return NodeEvent.ROLL_BACK if back else NodeEvent.QUARANTINE
    return NodeEvent.GIVE_BACK if _touched(state) else NodeEvent.SKIP


def _touched(state: NodeState) -> bool:
    return (Track.FORWARD, StepKind.CORDON) in state.befores


def _abort_node(work: _Round, node: NodePlan) -> None:
    state = work.state.node(node.name)
    if state.phase is NodePhase.PENDING:
        work.note(NodeDecided(node.name, NodeEvent.SKIP, "the rollout was aborted before its turn"))
    elif state.phase in (NodePhase.RUNNING, NodePhase.HELD) and not state.armed:
        event = NodeEvent.GIVE_BACK if _touched(state) else NodeEvent.SKIP
        work.note(NodeDecided(node.name, event, "the rollout was aborted"))
    elif state.phase is NodePhase.HELD:
        work.note(NodeDecided(node.name, NodeEvent.QUARANTINE, "aborted while held after it was armed"))


# --- the rollout -------------------------------------------------------------------------------------------------


def _hold_on_failures(work: _Round) -> None:
    failed = failed_nodes(work.state)
    held = sorted(n.name for n in work.state.nodes.values() if n.phase is NodePhase.HELD)
    moving = _moving(work)
    if len(failed) > work.plan.policy.failure_budget:
        names = ", ".join(sorted(failed))
        reason = f"{len(failed)} node(s) failed ({names}), the budget is {work.plan.policy.failure_budget}"
        work.note(RolloutDecided(RolloutEvent.HOLD, reason))
    elif work.state.pause is not None and not moving:
        pause = work.state.pause
        work.note(
            RolloutDecided(RolloutEvent.HOLD, f"paused by {pause.by}" + (f": {pause.reason}" if pause.reason else ""))
        )
    elif held and not moving:
        first = work.state.node(held[0])
        work.note(RolloutDecided(RolloutEvent.HOLD, f"node {first.name} is held: {first.reason}"))


def _moving(work: _Round) -> bool:
    return bool(work.actions or work.around.busy or work.around.gating)


def current_wave(plan: Plan, state: RolloutState) -> Wave | None:
    """The first wave whose gate has not let the rollout proceed; None behind the last."""
    for wave in plan.waves:
        gate = state.gates.get(wave.number)
        if gate is None or gate.decision != "proceed":
            return wave
    return None


def _ended(state: NodeState) -> bool:
    return state.phase in SETTLED_PHASES or state.phase is NodePhase.QUARANTINED


def _advance_waves(work: _Round) -> None:
    wave = current_wave(work.plan, work.state)
    if wave is None or work.state.pause is not None:
        return
    nodes = [work.state.node(name) for name in wave.nodes]
    if all(_ended(n) for n in nodes):
        _gate(work, wave, nodes)
        return
    _start_nodes(work, wave)


def _gate(work: _Round, wave: Wave, nodes: Iterable[NodeState]) -> None:
    gate = work.state.gates.get(wave.number)
    if work.around.gating:
        return
    if gate is not None:
        work.note(RolloutDecided(RolloutEvent.HOLD, f"the gate of {wave.name} holds: {gate.reason}"))
        return
    ends = [n.ended for n in nodes if n.phase is NodePhase.DONE and n.ended]
    due = max(ends) + timedelta(seconds=work.plan.policy.soak_loaded_s) if ends else work.around.now
    if due > work.around.now:
        work.wake_at, work.waiting = due, f"{wave.name} is watched under load until {due:%H:%M:%S} UTC"
        return
    work.actions.append(Gate(wave.number))


def _start_nodes(work: _Round, wave: Wave) -> None:
    limit = work.plan.policy.most_unavailable(work.plan.cluster.fleet)
    ours = {n.name for n in work.state.nodes.values() if n.phase in FENCED_PHASES}
    out = {n.name for n in work.state.nodes.values() if _out(n)}
    if work.around.foreign_out is None:
        work.waiting, work.wake_at = _BLIND, work.around.now + _LOOK_AGAIN
        return
    foreign = set(work.around.foreign_out - ours)
    for name in wave.nodes:
        if work.state.node(name).phase is not NodePhase.PENDING:
            continue
        if len(out | foreign | {name}) > limit:
            if foreign and not out:
                work.waiting = f"node(s) {', '.join(sorted(foreign))} are out of service, which uses up max_unavailable"
                work.wake_at = work.around.now + _LOOK_AGAIN
            continue
        out.add(name)
        work.note(NodeDecided(name, NodeEvent.START))
        work.actions.append(Begin(name, Track.FORWARD, StepKind.RECHECK, 1))


def _out(node: NodeState) -> bool:
    return node.phase in FENCED_PHASES and node.phase is not NodePhase.QUARANTINED


def _end_rollout(work: _Round) -> None:
    if work.actions or work.around.busy or work.around.gating:
        return
    ended = all(_ended(work.state.node(n.name)) for n in work.plan.nodes)
    if work.state.phase is RolloutPhase.ABORTING and ended:
        work.note(RolloutDecided(RolloutEvent.COMPLETE, "aborted"))
    elif work.state.phase is RolloutPhase.RUNNING and ended and current_wave(work.plan, work.state) is None:
        work.note(RolloutDecided(RolloutEvent.COMPLETE))


# --- invariants --------------------------------------------------------------------------------------------------


def _starting(work: _Round) -> frozenset[str]:
    return frozenset(a.node for a in work.actions if isinstance(a, Begin) and a.step is StepKind.RECHECK)


def check_invariants(plan: Plan, state: RolloutState, starting: frozenset[str] = frozenset()) -> None:
    """What must hold at every moment. Raises `InvariantBroken`."""
    if state.digest and state.digest != plan.digest:
        raise InvariantBroken(f"the journal is about plan {state.digest[:12]}, not {plan.digest[:12]}")
    out = [n.name for n in state.nodes.values() if _out(n)]
    limit = plan.policy.most_unavailable(plan.cluster.fleet)
    if len(out) > limit:
        raise InvariantBroken(f"{len(out)} nodes are out ({', '.join(sorted(out))}), the limit is {limit}")
    wave = current_wave(plan, state)
    for name, node in state.nodes.items():
        if wave is not None and plan.wave_of(name).number > wave.number and node.started is not None:
            raise InvariantBroken(f"node {name} of a later wave was started before the gate of {wave.name}")
        _check_prefix(plan.node(name), node)
    unknown = starting - {n.name for n in plan.nodes}
    if unknown:
        raise InvariantBroken(f"nodes {', '.join(sorted(unknown))} are not in the plan")


def _check_prefix(plan: NodePlan, state: NodeState) -> None:
    for track in Track:
        way = [step.kind for step in plan.track(track)]
        done = [step for t, step in state.done if t is track]
        if done != way[: len(done)]:
            raise InvariantBroken(f"node {plan.name} finished {[s.value for s in done]} out of order")
