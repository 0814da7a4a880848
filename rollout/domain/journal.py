"""Journal entries, and `fold()`: entries to state. There is no second copy of the state to disagree with it.

An intent, with what was there before, is durable before its effect; the outcome after it. The first intent's `before`
wins: a retry after a crash would otherwise take our own cordon for a stranger's (code-models.md 5.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any

from rollout.domain.codec import from_plain, to_plain
from rollout.domain.failures import FailureClass, failure_class
from rollout.domain.lifecycle import (
    NodeEvent,
    NodePhase,
    RolloutEvent,
    RolloutPhase,
    advance_node,
    advance_rollout,
)
from rollout.domain.step import StepKind, Track


class Result(Enum):
    """How an effect ended."""

    DONE = "done"
    FAILED = "failed"
    HELD = "held"
    """It may not go on until a person or the world changes something; nothing is broken."""
    INTERRUPTED = "interrupted"
    """Stopped from outside; to be done again."""
    LOST = "lost"
    """The node is gone, or another machine bears its name."""


class Verb(Enum):
    """What a person asked of a running rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class PlanSaved:
    """The journal's first entry: which plan it is about."""

    digest: str
    cluster: str
    by: str = ""
    """Who made it, as they call themselves; empty in journals from before that was asked."""
    account: str = ""
    """The account it was made from, as user@host."""


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval was given."""

    digest: str
    by: str
    ticket: str
    expires: datetime
    signature: str = ""
    """SSH signature over the approval's statement; empty: unsigned."""


@dataclass(frozen=True, slots=True)
class ApprovalWithdrawn:
    """All approvals of `by` were taken back before the plan was used. `operator` did it."""

    digest: str
    by: str
    operator: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A process took up the rollout; `fencing` grows with every taker of the lease."""

    operator: str
    host: str
    pid: int
    fencing: int


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A process left the rollout of its own will."""

    reason: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A step is about to be performed. `before` is what was there; `deadline` ends all waiting in it."""

    node: str
    track: Track
    step: StepKind
    attempt: int
    before: Mapping[str, Any]
    deadline: datetime
    fencing: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step ended. `settled`: found out by reading after the process that performed it had died."""

    node: str
    track: Track
    step: StepKind
    attempt: int
    result: Result
    code: str = ""
    reason: str = ""
    hint: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a running step is not further: one sentence, and the command that would unblock it."""

    node: str
    step: StepKind
    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class NodeDecided:
    """The engine moved a node to another phase."""

    node: str
    event: NodeEvent
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RolloutDecided:
    """The rollout moved to another phase."""

    event: RolloutEvent
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GateDecided:
    """A wave's gate spoke: proceed, hold or roll-back. `nodes`: whom it wants back; none named: all that finished."""

    wave: int
    decision: str
    reason: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WaveTakenBack:
    """Nodes of a wave are led back to their old mode, each as soon as the limits allow."""

    wave: int
    nodes: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WaitingIntent:
    """The taint on nodes still to do is about to be put on `put` and taken off `free`; `kept` carry it already."""

    put: tuple[str, ...]
    free: tuple[str, ...]
    kept: tuple[str, ...]
    fencing: int


@dataclass(frozen=True, slots=True)
class WaitingOutcome:
    """The taint on nodes still to do was put and taken off, but on `failed`, each with the reason.

    A failure is none of the node: the taint is a preference, and the next process tries again.
    """

    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Control:
    """A person asked for something."""

    verb: Verb
    by: str
    reason: str = ""


Body = (
    PlanSaved
    | Approved
    | ApprovalWithdrawn
    | RunStarted
    | RunEnded
    | Intent
    | Outcome
    | Waiting
    | NodeDecided
    | RolloutDecided
    | GateDecided
    | WaveTakenBack
    | WaitingIntent
    | WaitingOutcome
    | Control
)

_TYPES: Mapping[str, type] = {
    "plan-saved": PlanSaved,
    "approved": Approved,
    "approval-withdrawn": ApprovalWithdrawn,
    "run-started": RunStarted,
    "run-ended": RunEnded,
    "intent": Intent,
    "outcome": Outcome,
    "waiting": Waiting,
    "node-decided": NodeDecided,
    "rollout-decided": RolloutDecided,
    "gate-decided": GateDecided,
    "wave-taken-back": WaveTakenBack,
    "waiting-intent": WaitingIntent,
    "waiting-outcome": WaitingOutcome,
    "control": Control,
}
_TAGS: Mapping[type, str] = {cls: tag for tag, cls in _TYPES.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One durable line of a rollout's journal. `seq` starts at 1 and has no gaps."""

    seq: int
    at: datetime
    body: Body


def encode_body(body: Body) -> tuple[str, dict[str, Any]]:
    """An entry's type tag and plain content."""
    plain = to_plain(body)
    assert isinstance(plain, dict)
    return _TAGS[type(body)], plain


def decode_body(tag: str, plain: Mapping[str, Any]) -> Body:
    """Inverse of `encode_body`. Raises `DecodeError`, KeyError for an unknown tag."""
    body: Body = from_plain(_TYPES[tag], dict(plain))
    return body


StepKey = tuple[Track, StepKind]


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as the journal tells it."""

    name: str
    phase: NodePhase = NodePhase.PENDING
    track: Track = Track.FORWARD
    done: tuple[StepKey, ...] = ()
    intent: Intent | None = None
    """The step in progress; `before` is that of its first intent. None between steps."""
    attempts: Mapping[StepKey, int] = field(default_factory=dict)
    befores: Mapping[StepKey, Mapping[str, Any]] = field(default_factory=dict)
    last: Outcome | None = None
    judged: bool = True
    """Whether a decision followed the last outcome."""
    reason: str = ""
    waiting: Waiting | None = None
    since: datetime | None = None
    """When the phase or step last changed."""
    started: datetime | None = None
    ended: datetime | None = None
    times_ms: Mapping[StepKey, int] = field(default_factory=dict)
    intent_at: datetime | None = None
    taken_back: bool = False
    """Whether it was led back with its wave, without a failure of its own."""
    postponed: bool = False
    """Whether it is given back because its window ended: no failure, and its turn comes again."""

    @property
    def armed(self) -> bool:
        """Whether an agent restart may flip this node: from the intent to assign its mode on."""
        return any(step is StepKind.ASSIGN_MODE for _, step in self.befores)


@dataclass(frozen=True, slots=True)
class Waits:
    """Our taint on nodes still to do, as the journal tells it."""

    due: bool = False
    """A process took the rollout up and has not yet looked which nodes carry it."""
    nodes: frozenset[str] = frozenset()
    """Nodes that carry it; after a crash the cluster is read instead."""
    intent: WaitingIntent | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    """Nodes for which it could not be put or taken off by this process."""


@dataclass(frozen=True, slots=True)
class RolloutState:
    """A rollout as its journal tells it."""

    phase: RolloutPhase = RolloutPhase.DRAFT
    digest: str = ""
    cluster: str = ""
    makers: tuple[str, ...] = ()
    """Names of who made the plan, the one they give themselves first; empty when the journal does not say."""
    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    gates: Mapping[int, GateDecided] = field(default_factory=dict)
    approvals: tuple[Entry, ...] = ()
    """`Approved` and `ApprovalWithdrawn`, in order."""
    pause: Control | None = None
    abort: Control | None = None
    reason: str = ""
    run: RunStarted | None = None
    """The process that took up the rollout last; None when it left of its own will."""
    seq: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    used: bool = False
    accepted: frozenset[str] = frozenset()
    """Failed nodes that a person has accepted by resuming; they no longer count against the budget."""
    taking_back: Mapping[str, str] = field(default_factory=dict)
    """Nodes that are to be led back with their wave and are not back yet, each with the reason."""
    waiting: Waits = field(default_factory=Waits)

    def node(self, name: str) -> NodeState:
        """A node's state; a node no entry speaks of is pending."""
        return self.nodes.get(name) or NodeState(name)


def failures(state: RolloutState) -> Mapping[str, FailureClass]:
    """Nodes that count against the failure budget, those a person has accepted excluded, each with its class."""
    found = {name: _class_of(node) for name, node in sorted(state.nodes.items()) if name not in state.accepted}
    return {name: each for name, each in found.items() if each is not None}


def failed_nodes(state: RolloutState) -> frozenset[str]:
    """The names of `failures`."""
    return frozenset(failures(state))


def _class_of(node: NodeState) -> FailureClass | None:
    if node.postponed:
        return None
    code, failed = (node.last.code, node.last.result is Result.FAILED) if node.last else ("", False)
    return failure_class(node.phase, code, failed=failed, taken_back=node.taken_back)


def fold(entries: Iterable[Entry], state: RolloutState | None = None) -> RolloutState:
    """State after `entries`, starting from `state` (an empty one when None), which stays as it is.

    The map of nodes is copied once and then filled in place: a copy for every entry made it quadratic in nodes.
    """
    begin = state or RolloutState()
    result = replace(begin, nodes=dict(begin.nodes))
    for entry in entries:
        result = replace(_fold_one(result, entry), seq=entry.seq)
    return result


def _fold_one(state: RolloutState, entry: Entry) -> RolloutState:
    body = entry.body
    if isinstance(body, PlanSaved):
        return replace(state, digest=body.digest, cluster=body.cluster, makers=_makers(body))
    if isinstance(body, Approved | ApprovalWithdrawn):
        return replace(state, approvals=(*state.approvals, entry))
    if isinstance(body, RunStarted):
        return replace(state, run=body, waiting=replace(state.waiting, due=True, intent=None, failed={}))
    if isinstance(body, RunEnded):
        return replace(state, run=None)
    if isinstance(body, Control):
        return _fold_control(state, body)
    if isinstance(body, GateDecided):
        return replace(state, gates={**state.gates, body.wave: body})
    if isinstance(body, RolloutDecided):
        return _fold_rollout(state, body, entry.at)
    if isinstance(body, WaveTakenBack):
        return _fold_taken_back(state, body)
    if isinstance(body, WaitingIntent):
        return replace(state, waiting=replace(state.waiting, intent=body))
    if isinstance(body, WaitingOutcome):
        return replace(state, waiting=_fold_waiting(state, body))
    state = _with_node(state, _fold_node(state.node(body.node), body, entry.at))
    if isinstance(body, Outcome) and body.step is StepKind.CORDON and body.node in state.waiting.nodes:
        state = _cordoned(state, body)
    return _settle_decision(state, body) if isinstance(body, NodeDecided) else state


def _fold_waiting(state: RolloutState, body: WaitingOutcome) -> Waits:
    """Who carries the taint after the intent was carried out; one that could not be freed carries it still."""
    waits, intent = state.waiting, state.waiting.intent
    if intent is None:
        return replace(waits, due=False)
    put = frozenset(intent.put) - body.failed.keys()
    stuck = frozenset(intent.free) & body.failed.keys()
    base = frozenset(intent.kept) if waits.due else waits.nodes - frozenset(intent.free)
    carry = (name for name in base | put | stuck if not _was_cordoned(state.node(name)))
    return Waits(nodes=frozenset(carry), failed={**waits.failed, **body.failed})


def _was_cordoned(node: NodeState) -> bool:
    return any(step is StepKind.CORDON for _, step in node.done)


def _cordoned(state: RolloutState, body: Outcome) -> RolloutState:
    """The patch that cordons a node takes the taint off it."""
    if body.result is not Result.DONE:
        return state
    return replace(state, waiting=replace(state.waiting, nodes=state.waiting.nodes - {body.node}))


def _makers(body: PlanSaved) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in (body.by, body.account) if name))


def _with_node(state: RolloutState, node: NodeState) -> RolloutState:
    """Put a node's state into the map that `fold` made for itself."""
    assert isinstance(state.nodes, dict)
    state.nodes[node.name] = node
    return state


_NO_FAILURE_YET = frozenset({NodePhase.RUNNING, NodePhase.DONE})
_STILL_TO_COME = frozenset({NodePhase.RUNNING, NodePhase.DONE, NodePhase.RETURNING, NodePhase.ROLLING_BACK})
"""Phases in which a node that is to be led back is not back yet. Held and quarantined ones wait for a person."""


def _fold_taken_back(state: RolloutState, body: WaveTakenBack) -> RolloutState:
    for name in body.nodes:
        node = state.node(name)
        state = _with_node(state, replace(node, taken_back=node.taken_back or node.phase in _NO_FAILURE_YET))
    return replace(state, taking_back={**state.taking_back, **dict.fromkeys(body.nodes, body.reason)})


def _settle_decision(state: RolloutState, body: NodeDecided) -> RolloutState:
    """What a node's decision means for the rollout: who is back, and who counts again."""
    name = body.node
    if body.event is NodeEvent.CONTINUE:  # tried again: a new failure is a new one
        state = replace(state, accepted=state.accepted - {name})
    if name in state.taking_back and state.node(name).phase not in _STILL_TO_COME:
        left = {other: reason for other, reason in state.taking_back.items() if other != name}
        state = replace(state, taking_back=left)
    return state


def _fold_control(state: RolloutState, body: Control) -> RolloutState:
    if body.verb is Verb.PAUSE:
        return replace(state, pause=body)
    if body.verb is Verb.ABORT:
        return replace(state, abort=body)
    return replace(state, pause=None)


def _fold_rollout(state: RolloutState, body: RolloutDecided, at: datetime) -> RolloutState:
    phase = advance_rollout(state.phase, body.event)
    started = state.started or (at if body.event is RolloutEvent.START else None)
    ended = at if phase in (RolloutPhase.COMPLETED, RolloutPhase.ABORTED) else None
    used = state.used or body.event is RolloutEvent.START
    if body.event is RolloutEvent.RESUME:  # what held is looked at afresh, what failed is accepted
        gates = {wave: gate for wave, gate in state.gates.items() if gate.decision == "proceed"}
        state = replace(state, gates=gates, accepted=state.accepted | failed_nodes(state))
    return replace(state, phase=phase, reason=body.reason, started=started, ended=ended, used=used)


_TRACK_OF = {NodePhase.RETURNING: Track.RETURN, NodePhase.ROLLING_BACK: Track.BACK}


def _fold_node(node: NodeState, body: Intent | Outcome | Waiting | NodeDecided, at: datetime) -> NodeState:
    if isinstance(body, Intent):
        return _fold_intent(node, body, at)
    if isinstance(body, Outcome):
        return _fold_outcome(node, body, at)
    if isinstance(body, Waiting):
        return replace(node, waiting=body)
    phase = advance_node(node.phase, body.event)
    if body.event is NodeEvent.REQUEUE:  # as if never begun; attempts go on counting, so that none is taken for another
        return NodeState(node.name, attempts=node.attempts, reason=body.reason, since=at)
    if body.event is NodeEvent.CONTINUE:
        node = replace(node, done=_done_to_keep(node))
    started = node.started or (at if body.event is NodeEvent.START else None)
    return replace(
        node,
        phase=phase,
        track=_TRACK_OF.get(phase, node.track),
        reason=body.reason,
        since=at,
        waiting=None,
        judged=True,
        started=started,
        ended=at if body.event is NodeEvent.FINISH else None,
        postponed=body.event is NodeEvent.POSTPONE,
    )


def _done_to_keep(node: NodeState) -> tuple[StepKey, ...]:
    """What stays done when a person lets a node go on: pods may have come back on it, so it is emptied again.

    Behind the agent's restart nothing is forgotten: the node is in its new mode already.
    """
    if any(step in (StepKind.RESTART_AGENT, StepKind.REBOOT) for _, step in node.done):
        return node.done
    emptying = (StepKind.DRAIN, StepKind.EVACUATE, StepKind.ASSIGN_MODE)
    return tuple(key for key in node.done if key[1] not in emptying)


def _fold_intent(node: NodeState, body: Intent, at: datetime) -> NodeState:
    key = (body.track, body.step)
    first = node.befores.get(key, body.before)
    return replace(
        node,
        intent=replace(body, before=first),
        befores={**node.befores, key: first},
        attempts={**node.attempts, key: body.attempt},
        since=at,
        intent_at=at,
        waiting=None,
    )


def _fold_outcome(node: NodeState, body: Outcome, at: datetime) -> NodeState:
    key = (body.track, body.step)
    done = (*node.done, key) if body.result is Result.DONE and key not in node.done else node.done
    spent = int((at - node.intent_at).total_seconds() * 1000) if node.intent_at else 0
    times = {**node.times_ms, key: node.times_ms.get(key, 0) + spent}
    return replace(
        node, intent=None, last=body, judged=False, done=done, since=at, waiting=None, times_ms=times, intent_at=None
    )
