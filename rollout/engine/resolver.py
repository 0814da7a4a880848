"""The resolver: plan, journal state and time to decisions and next actions.

Invariant: at most `max_unavailable` nodes are out by our hand (quarantined nodes free their slot) and no limit of the
plan is exceeded by those, no node of a later wave starts before the gates of all earlier waves proceeded, none starts
while a wave is taken back, a node's finished steps are a prefix of its way, and all of it under the one digest the
journal was opened for. Moves keep it in this order: settle what a dead process left, bring nodes in flight forward,
decide about failed ones, let gates speak, and only then start new nodes: every node of the wave that its limits let go,
in order, whatever those before it wait for. A wave is finite and each of its nodes comes back, so none waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from rollout.domain.failures import failed_check, failures_in_words, is_undecided
from rollout.domain.journal import (
    Body,
    Entry,
    GateDecided,
    NodeDecided,
    NodeState,
    Outcome,
    Result,
    RolloutDecided,
    RolloutState,
    WaveTakenBack,
    failures,
    fold,
)
from rollout.domain.lifecycle import NodeEvent, NodePhase, RolloutEvent, RolloutPhase
from rollout.domain.node import Method
from rollout.domain.plan import NodePlan, Plan, Wave
from rollout.domain.policy import AtWindowEnd, OnFailure
from rollout.domain.step import StepKind, Track
from rollout.domain.verdict import GateDecision
from rollout.engine.rules import check_invariants, current_wave, has_ended, next_step, rests
from rollout.engine.slots import Slots, Wait, has_closed
from rollout.engine.waiting import MarkWaiting, marks_due, may_start


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


Action = Begin | Settle | Gate | MarkWaiting

_BACK = GateDecision.ROLL_BACK.value

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
    """Nodes out of service, whoever did it; they count against every limit. None: the cluster cannot be seen."""
    marking: bool = False
    """Our taint is being put on nodes still to do, or taken off, in this process."""


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
    _slots: Slots | None = None

    @cached_property
    def closed(self) -> bool:
        """Whether nodes that are not armed go back now, since their window has ended."""
        give_back = self.plan.policy.at_window_end is AtWindowEnd.GIVE_BACK
        return give_back and self.state.phase is RolloutPhase.RUNNING and has_closed(self.plan, self.around.now)

    @property
    def slots(self) -> Slots:
        """Who may be taken out of service now. Asked for each node of a wave."""
        if self._slots is None:
            self._slots = Slots(self.plan, self.state, self.around.foreign_out, self.around.now)
        return self._slots

    def wait(self, wait: Wait) -> None:
        """Something may not happen now: the first reason is told, the earliest time to ask again is kept."""
        self.waiting = self.waiting or wait.why
        times = [at for at in (self.wake_at, wait.wake_at) if at is not None]
        self.wake_at = min(times, default=None)

    def note(self, body: Body) -> None:
        """Take a decision: it is part of the state for the rest of this round."""
        self.bodies.append(body)
        self._slots = None
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
    if not around.marking and marks_due(plan, work.state):
        work.actions.append(MarkWaiting())
    if work.state.phase is RolloutPhase.RUNNING and may_start(plan, work.state):
        _advance_waves(work)
    _end_rollout(work)
    check_invariants(plan, work.state, starting=_starting(work))
    return Decision(
        tuple(work.bodies),
        tuple(work.actions),
        work.wake_at,
        work.waiting,
        finished=work.state.phase in _ENDED and not _moving(work) and not work.state.taking_back,
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
    if node.name in work.state.taking_back:
        _take_back(work, node)
    elif work.closed:
        _give_back_at_window_end(work, node)
    state = work.state.node(node.name)
    if state.phase not in (NodePhase.RUNNING, NodePhase.RETURNING, NodePhase.ROLLING_BACK):
        return
    step = next_step(node, state)
    if step is None:
        again = state.postponed and state.phase is NodePhase.RETURNING
        replaced = node.method is Method.REPLACE and state.phase is NodePhase.RUNNING
        ended = NodeEvent.REPLACE if replaced else NodeEvent.FINISH
        work.note(NodeDecided(node.name, NodeEvent.REQUEUE if again else ended))
    elif not rests(work.state, state):
        work.actions.append(Begin(node.name, state.track, step, state.attempts.get((state.track, step), 0) + 1))


def _judge_last(work: _Round, node: NodePlan, state: NodeState) -> None:
    """Turn an outcome that is no success into a phase, once: the decision stands in the journal beside it."""
    last = state.last
    if last is None or last.result in (Result.DONE, Result.INTERRUPTED) or state.judged:
        return
    if state.phase not in (NodePhase.RUNNING, NodePhase.RETURNING, NodePhase.ROLLING_BACK):
        return
    work.note(NodeDecided(node.name, _event_for(work, state, last), last.reason))
    if state.phase is NodePhase.RUNNING and state.armed and last.result is Result.FAILED:
        _widen(work, node, last)


def _event_for(work: _Round, state: NodeState, last: Outcome) -> NodeEvent:
    if last.result is Result.LOST:
        return NodeEvent.LOSE
    if state.phase is not NodePhase.RUNNING:
        return NodeEvent.QUARANTINE
    goes_back = state.name in work.state.taking_back
    if last.result is Result.HELD and not (goes_back and state.armed and is_undecided(last.code)):
        return NodeEvent.HOLD
    if state.armed:
        back = goes_back or _action_on(work, last) in (OnFailure.ROLL_BACK, OnFailure.ROLL_BACK_WAVE)
        return NodeEvent.ROLL_BACK if back else NodeEvent.QUARANTINE
    return NodeEvent.GIVE_BACK if _touched(state) else NodeEvent.SKIP


def _action_on(work: _Round, last: Outcome) -> OnFailure:
    """What the policy says about a failure of an armed node. A gate that failed a node has asked for its way back."""
    if last.code.startswith("gate-"):
        return OnFailure.ROLL_BACK
    return work.plan.policy.action_on(failed_check(last.code))


def _widen(work: _Round, node: NodePlan, last: Outcome) -> None:
    """What an armed node's failure means for others: nothing, or no more starts, or its whole wave goes back."""
    action = _action_on(work, last)
    blamed = failed_check(last.code) or last.step.value
    if action is OnFailure.HOLD_ROLLOUT:
        _hold(work, f"node {node.name} failed {blamed}: {last.reason}")
    elif action is OnFailure.ROLL_BACK_WAVE:
        reason = f"node {node.name} failed {blamed}: {last.reason}"
        wave = work.plan.wave_of(node.name)
        _decide_taking_back(work, wave, [node.name, *(n for n in wave.nodes if n != node.name)], reason)


def _decide_taking_back(work: _Round, wave: Wave, names: Iterable[str], reason: str) -> None:
    """Finished and running nodes go back as slots allow; held and quarantined ones stay for a person to look at."""
    going = (NodePhase.DONE, NodePhase.RUNNING, NodePhase.ROLLING_BACK)
    nodes = tuple(n for n in names if work.state.node(n).phase in going and n not in work.state.taking_back)
    if nodes:
        work.note(WaveTakenBack(wave.number, nodes, reason))
    what = f"{wave.name} is taken back" if nodes else f"{wave.name} has nothing to take back"
    _hold(work, f"{what}: {reason}; behind it: rollout resume goes on without these nodes, rollout abort ends it")


def _hold(work: _Round, reason: str) -> None:
    if work.state.phase in (RolloutPhase.RUNNING, RolloutPhase.HELD):
        work.note(RolloutDecided(RolloutEvent.HOLD, reason))


def _take_back(work: _Round, node: NodePlan) -> None:
    """Turn a node around: one in flight at once, one that is in service only when it may be taken out of it."""
    state = work.state.node(node.name)
    reason = work.state.taking_back[node.name]
    if state.phase is NodePhase.RUNNING:
        undo = NodeEvent.GIVE_BACK if _touched(state) else NodeEvent.SKIP
        work.note(NodeDecided(node.name, NodeEvent.ROLL_BACK if state.armed else undo, reason))
    elif state.phase is NodePhase.DONE and _take_slot(work, node.name) is None:
        work.note(NodeDecided(node.name, NodeEvent.ROLL_BACK, reason))


def _give_back_at_window_end(work: _Round, node: NodePlan) -> None:
    """A node that is not armed goes back as it was and waits for the next window; an armed one goes on to its end."""
    state = work.state.node(node.name)
    if state.phase is NodePhase.RUNNING and not state.armed:
        event = NodeEvent.POSTPONE if _touched(state) else NodeEvent.REQUEUE
        work.note(NodeDecided(node.name, event, "its window has ended, its turn comes again"))


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
    found = failures(work.state)
    held = sorted(n.name for n in work.state.nodes.values() if n.phase is NodePhase.HELD)
    moving = _moving(work)
    if len(found) > work.plan.policy.failure_budget:
        budget = f"the budget is {work.plan.policy.failure_budget}"
        _hold(work, f"{len(found)} node(s) failed or could not be told ({failures_in_words(found)}), {budget}")
    elif work.state.pause is not None and not moving:
        pause = work.state.pause
        _hold(work, f"paused by {pause.by}" + (f": {pause.reason}" if pause.reason else ""))
    elif held and not moving:
        first = work.state.node(held[0])
        _hold(work, f"node {first.name} is held: {first.reason}")


def _moving(work: _Round) -> bool:
    return bool(work.actions or work.around.busy or work.around.gating or work.around.marking)


def _advance_waves(work: _Round) -> None:
    wave = current_wave(work.plan, work.state)
    if wave is None or work.state.pause is not None or work.state.taking_back:
        return
    if all(has_ended(work.state, name) for name in wave.nodes):
        _gate(work, wave)
        return
    _start_nodes(work, wave)


def _gate(work: _Round, wave: Wave) -> None:
    gate = work.state.gates.get(wave.number)
    if work.around.gating:
        return
    finished = [n for n in map(work.state.node, wave.nodes) if n.phase is NodePhase.DONE]
    if gate is not None:
        _obey_gate(work, wave, gate, finished)
        return
    ends = [n.ended for n in finished if n.ended]
    due = max(ends) + timedelta(seconds=work.plan.policy.soak_loaded_s) if ends else work.around.now
    if due > work.around.now:
        work.wake_at, work.waiting = due, f"{wave.name} is watched under load until {due:%H:%M:%S} UTC"
        return
    work.actions.append(Gate(wave.number))


def _obey_gate(work: _Round, wave: Wave, gate: GateDecided, finished: list[NodeState]) -> None:
    """The gate did not proceed: hold, and lead back whom it wants back."""
    reason = f"the gate of {wave.name} {'rolls back' if gate.decision == _BACK else 'holds'}: {gate.reason}"
    if gate.decision == _BACK:
        _decide_taking_back(work, wave, gate.nodes or [n.name for n in finished], reason)
    else:
        _hold(work, reason)


def _start_nodes(work: _Round, wave: Wave) -> None:
    pending = [name for name in wave.nodes if work.state.node(name).phase is NodePhase.PENDING]
    closed = work.slots.closed if pending else None
    if closed is not None:
        work.wait(closed)
        return
    waits = {name: _take_slot(work, name) for name in pending}
    for name in (name for name, wait in waits.items() if wait is None):
        work.note(NodeDecided(name, NodeEvent.START))
        work.actions.append(Begin(name, Track.FORWARD, StepKind.RECHECK, _attempt(work, name)))
    if waits and all(wait is not None and wait.for_person for wait in waits.values()) and not _moving(work):
        _hold(work, next(wait.why for wait in waits.values() if wait is not None))


def _attempt(work: _Round, name: str) -> int:
    """A node given back at the end of a window begins again: its first step was tried before."""
    return work.state.node(name).attempts.get((Track.FORWARD, StepKind.RECHECK), 0) + 1


def _take_slot(work: _Round, name: str) -> Wait | None:
    """Take a node that is in service out of it, if it may go now: it counts from then on. Why not, else."""
    wait = work.slots.refuses(name)
    if wait is None:
        work.slots.take(name)
    elif wait.wake_at is not None:
        work.wait(wait)
    return wait


def _end_rollout(work: _Round) -> None:
    if _moving(work):
        return
    ended = all(has_ended(work.state, n.name) for n in work.plan.nodes)
    if work.state.phase is RolloutPhase.ABORTING and ended:
        work.note(RolloutDecided(RolloutEvent.COMPLETE, "aborted"))
    elif work.state.phase is RolloutPhase.RUNNING and ended and current_wave(work.plan, work.state) is None:
        work.note(RolloutDecided(RolloutEvent.COMPLETE))


def _starting(work: _Round) -> frozenset[str]:
    return frozenset(a.node for a in work.actions if isinstance(a, Begin) and a.step is StepKind.RECHECK)
