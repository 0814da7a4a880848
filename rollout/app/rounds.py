"""Decision rounds: what workers report and people ask is folded, decided upon, recorded in one transaction, acted on.

Decision: one thread decides and records, one worker thread per node has effects. Instead of: a lock around shared
state, because the journal's order is the order of decisions, and concurrent nodes share a commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any

from rollout.app.gates import look_at_gate
from rollout.app.lease import LeaseKeeper
from rollout.app.steps.context import StepContext, StepEnd
from rollout.app.steps.run import already_done, perform, read
from rollout.app.waiting import MarksRead, MarksSet, read_marks, set_marks
from rollout.app.world import World
from rollout.domain.errors import Cancelled, Conflict, Refused, RolloutError
from rollout.domain.journal import (
    Body,
    Control,
    Entry,
    GateDecided,
    Intent,
    NodeDecided,
    Outcome,
    Result,
    RolloutState,
    Verb,
    Waiting,
    WaitingIntent,
    WaitingOutcome,
    fold,
)
from rollout.domain.plan import Plan
from rollout.domain.step import StepKind, Track
from rollout.engine.resolver import Action, Begin, Decision, Gate, Settle, Surroundings, decide
from rollout.engine.rules import rests
from rollout.engine.waiting import MarkWaiting, marks_wanted

POLL_S = 0.5
"""How often the journal is asked for what other processes appended: a pause is seen within a second."""

_STOP_GRACE_S = 15.0


@dataclass(frozen=True, slots=True)
class Read:
    """A worker has read what is there; its intent is to be recorded next."""

    action: Begin | Settle
    reading: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker has ended a step."""

    action: Begin | Settle
    end: StepEnd
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """A worker says why it is not further."""

    body: Waiting


@dataclass(frozen=True, slots=True)
class Gated:
    """A gate was looked at. None: it was stopped before it could speak; the next resume looks again."""

    body: GateDecided | None


@dataclass(frozen=True, slots=True)
class Crashed:
    """A worker met a bug: the process ends with it."""

    error: BaseException


Arrival = Read | Ended | Said | Gated | MarksRead | MarksSet | Crashed


class Rounds:
    """The loop. `request_pause` and `request_stop` may be called from signal handlers and other threads."""

    def __init__(self, world: World, plan: Plan, rollout: str, state: RolloutState) -> None:
        self._world, self._plan, self._rollout = world, plan, rollout
        self.state = state
        self._arrivals: Queue[Arrival] = Queue()
        self._busy: set[str] = set()
        self._gating = False
        self._marking = False
        self._cancel = Event()
        self._pause_by = ""
        self._told = ""
        self._lease: LeaseKeeper | None = None

    def request_pause(self, by: str) -> None:
        """As `rollout pause`: no new node, the running ones stop where they may rest."""
        self._pause_by = by

    def request_stop(self) -> None:
        """Stop waiting for anything: what is unsettled then is settled by the next resume."""
        self._cancel.set()

    def record(self, bodies: Callable[[RolloutState], Iterable[Body]]) -> None:
        """Make durable, outside a round, what `bodies` finds right for the state as it is at that moment."""
        while True:
            self._sync()
            if self._commit(list(bodies(self.state))):
                return

    def run(self, lease: LeaseKeeper) -> RolloutState:
        """Rounds until nothing moves any more. Raises `Cancelled` when stopped, `Refused` when the lease was lost."""
        self._lease = lease
        arrivals: list[Arrival] = []
        while True:
            decision = self._round(arrivals)
            if decision.finished:
                return self.state
            self._tell(decision.waiting)
            arrivals = self._gather(decision)
            self._check_stop(lease, arrivals)

    def _tell(self, waiting: str) -> None:
        """Say once why nothing moves."""
        if waiting and waiting != self._told:
            self._world.reporter.note(waiting)
        self._told = waiting

    # --- one round ---------------------------------------------------------------------------------------------

    def _round(self, arrivals: list[Arrival]) -> Decision:
        self._take_over_busy(arrivals)
        self._sync()
        while True:
            bodies, go_on = self._bodies(arrivals)
            decision = decide(self._plan, self._tentative(bodies), self._surroundings())
            if self._commit([*bodies, *decision.bodies]):
                break
        for action in go_on:
            self._in_thread(lambda a=action: self._perform(a))
        for intent in (body for body in bodies if isinstance(body, WaitingIntent)):
            self._in_thread(lambda i=intent: self._set_marks(i))
        if not self._suspended():
            for fresh in decision.actions:
                self._dispatch(fresh)
        return decision

    def _take_over_busy(self, arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            if isinstance(arrival, Crashed):
                raise arrival.error
            if isinstance(arrival, Ended):
                self._busy.discard(arrival.action.node)
            if isinstance(arrival, Gated):
                self._gating = False
            if isinstance(arrival, MarksSet):
                self._marking = False

    def _bodies(self, arrivals: list[Arrival]) -> tuple[list[Body], list[Begin]]:
        bodies: list[Body] = []
        go_on: list[Begin] = []
        if self._pause_by and self.state.pause is None:
            bodies.append(Control(Verb.PAUSE, self._pause_by))
        for arrival in arrivals:
            if isinstance(arrival, Ended):
                bodies.append(_outcome(arrival))
            elif isinstance(arrival, Said | Gated) and arrival.body is not None:
                bodies.append(arrival.body)
            elif isinstance(arrival, Read):
                self._take_up(arrival, bodies, go_on)
            elif isinstance(arrival, MarksRead):
                self._take_up_marks(arrival, bodies)
            elif isinstance(arrival, MarksSet):
                bodies.append(arrival.body)
        return bodies, go_on

    def _take_up_marks(self, arrival: MarksRead, bodies: list[Body]) -> None:
        """Record what is about to be changed on nodes still to do; nothing when the cluster could not be read."""
        assert self._lease is not None
        state = self._tentative(bodies)
        if self._suspended() or (arrival.carriers is None and state.waiting.due):
            self._marking = False
            bodies.extend([] if self._suspended() else [WaitingOutcome()])
            return
        bodies.append(marks_wanted(self._plan, state, self._rollout, arrival.carriers or {}, self._lease.fencing))

    def _take_up(self, arrival: Read, bodies: list[Body], go_on: list[Begin]) -> None:
        """Record the intent of a step that was read for, unless a pause or abort came in between."""
        action = arrival.action
        state = self._tentative(bodies)
        held_back = isinstance(action, Begin) and rests(state, state.node(action.node))
        if held_back or self._suspended():
            self._busy.discard(action.node)
            return
        now = self._world.clock.now()
        deadline = now + timedelta(seconds=self._deadline_s(action))
        assert self._lease is not None
        attempt = action.attempt + (1 if isinstance(action, Settle) else 0)
        again = Begin(action.node, action.track, action.step, attempt)
        bodies.append(
            Intent(action.node, action.track, action.step, attempt, arrival.reading, deadline, self._lease.fencing)
        )
        go_on.append(again)

    def _tentative(self, bodies: list[Body]) -> RolloutState:
        now = self._world.clock.now()
        return fold((Entry(self.state.seq + n, now, body) for n, body in enumerate(bodies, 1)), self.state)

    def _commit(self, bodies: list[Body]) -> bool:
        """Append; False when another process appended meanwhile and all must be thought through again."""
        if not bodies:
            return True
        try:
            entries = self._world.store.append(
                self._rollout, bodies, now=self._world.clock.now(), expect_seq=self.state.seq
            )
        except Conflict:
            self._sync()
            return False
        self._learn(entries)
        return True

    def _sync(self) -> None:
        entries = self._world.store.read(self._rollout, self.state.seq)
        if entries:
            self._learn(entries)

    def _learn(self, entries: tuple[Entry, ...]) -> None:
        self.state = fold(entries, self.state)
        self._world.reporter.entries(entries, self.state)
        for entry in entries:
            if isinstance(entry.body, NodeDecided):
                body = entry.body
                message = f"rollout {self._rollout}: {body.event.value}" + (f": {body.reason}" if body.reason else "")
                self._in_thread(lambda b=body, m=message: self._world.cluster.record_event(b.node, "NetkitRollout", m))

    def _surroundings(self) -> Surroundings:
        now, busy = self._world.clock.now(), frozenset(self._busy)
        return Surroundings(now, busy, self._gating, self._foreign_out(), self._marking)

    def _foreign_out(self) -> frozenset[str] | None:
        """Nodes out of service, None when the cluster cannot be seen: that stops nothing but the start of nodes."""
        try:
            return self._world.cluster.out_of_service()
        except RolloutError:
            return None

    def _gather(self, decision: Decision) -> list[Arrival]:
        """What arrived until the next poll is due; several arrivals share one round."""
        wait = POLL_S
        if decision.wake_at is not None:
            wait = min(wait, max(0.01, (decision.wake_at - self._world.clock.now()).total_seconds()))
        found: list[Arrival] = []
        try:
            found.append(self._arrivals.get(timeout=wait))
            while True:
                found.append(self._arrivals.get_nowait())
        except Empty:
            return found

    # --- stopping ----------------------------------------------------------------------------------------------

    def _suspended(self) -> bool:
        """Whether no new effect may begin: somebody else may hold the lease."""
        assert self._lease is not None
        return self._lease.lost.is_set() or self._lease.stale()

    def _check_stop(self, lease: LeaseKeeper, arrivals: list[Arrival]) -> None:
        if not (self._cancel.is_set() or lease.lost.is_set()):
            return
        self._cancel.set()
        self._drain_workers(arrivals)
        if lease.lost.is_set():
            raise Refused(
                "lease-lost", "cannot go on: another process took the cluster's lease", hint="see who: rollout status"
            )
        raise Cancelled("stopped", "stopped; what is unsettled is settled by: rollout resume")

    def _drain_workers(self, arrivals: list[Arrival]) -> None:
        """Give workers a moment to end and record how they ended, what had arrived already first."""
        for arrival in arrivals:
            self._put_down(arrival)
        deadline = self._world.clock.now() + timedelta(seconds=_STOP_GRACE_S)
        while (self._busy or self._gating or self._marking) and self._world.clock.now() < deadline:
            try:
                arrival = self._arrivals.get(timeout=POLL_S)
            except Empty:
                continue
            self._put_down(arrival)

    def _put_down(self, arrival: Arrival) -> None:
        """A worker is through; what it ended is recorded, what it was about to begin is not begun."""
        if isinstance(arrival, Ended):
            self._busy.discard(arrival.action.node)
            self.record(lambda _state: [_outcome(arrival)])
        elif isinstance(arrival, Gated):
            self._gating = False
        elif isinstance(arrival, MarksSet):
            self._marking = False
            self.record(lambda _state: [arrival.body])
        elif isinstance(arrival, MarksRead):
            self._marking = False
        elif isinstance(arrival, Read):
            self._busy.discard(arrival.action.node)

    # --- workers -----------------------------------------------------------------------------------------------

    def _dispatch(self, action: Action) -> None:
        if isinstance(action, Gate):
            self._gating = True
            self._in_thread(lambda: self._look_at_gate(action.wave))
        elif isinstance(action, MarkWaiting):
            self._marking = True
            self._in_thread(lambda: self._arrivals.put(read_marks(self._world)))
        else:
            self._busy.add(action.node)
            self._in_thread(lambda: self._read(action))

    def _in_thread(self, work: Any) -> None:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - a worker's bug must end the process, not vanish
                self._arrivals.put(Crashed(error))

        Thread(target=guarded, daemon=True).start()

    def _read(self, action: Begin | Settle) -> None:
        ctx = self._context(action, fresh=True)
        reading = read(ctx)
        if isinstance(reading, StepEnd):
            self._arrivals.put(Ended(action, reading))
            return
        if isinstance(action, Settle):
            intent = self.state.node(action.node).intent
            if intent is not None and already_done(ctx, intent.before, reading):
                end = StepEnd(Result.DONE, reason="found done when the journal was taken up again")
                self._arrivals.put(Ended(action, end, settled=True))
                return
        self._arrivals.put(Read(action, reading))

    def _perform(self, action: Begin) -> None:
        self._arrivals.put(Ended(action, perform(self._context(action, fresh=False))))

    def _context(self, action: Begin | Settle, *, fresh: bool) -> StepContext:
        """`fresh`: a reading gets a deadline of its own; the one of an intent may have passed while nobody ran."""
        state = self.state.node(action.node)
        now = self._world.clock.now()
        assert self._lease is not None
        return StepContext(
            world=self._world,
            plan=self._plan,
            node=self._plan.node(action.node),
            rollout=self._rollout,
            track=action.track,
            step=action.step,
            attempt=action.attempt,
            fencing=self._lease.fencing,
            before=state.befores.get((action.track, action.step), {}),
            deadline=state.intent.deadline
            if state.intent and not fresh
            else now + timedelta(seconds=self._deadline_s(action)),
            cancel=self._cancel,
            say=_Sayer(self._arrivals, action.node, action.step),
        )

    def _deadline_s(self, action: Begin | Settle) -> int:
        steps = self._plan.node(action.node).track(action.track)
        seconds = next(s.deadline_s for s in steps if s.kind is action.step)
        if action.step is StepKind.SOAK and action.track is Track.FORWARD:
            return seconds + self._plan.policy.soak_fenced_s
        return seconds

    def _set_marks(self, intent: WaitingIntent) -> None:
        body = set_marks(self._world, self._plan, self._rollout, intent, self._cancel.is_set)
        self._arrivals.put(MarksSet(body))

    def _look_at_gate(self, number: int) -> None:
        try:
            body = look_at_gate(self._world, self._plan, self._rollout, number, self.state, self._cancel)
        except Cancelled:
            body = None
        self._arrivals.put(Gated(body))


class _Sayer:
    """Says why a step is not further, once per reason."""

    def __init__(self, arrivals: Queue[Arrival], node: str, step: StepKind) -> None:
        self._arrivals, self._node, self._step, self._last = arrivals, node, step, ""

    def __call__(self, reason: str, hint: str) -> None:
        if reason != self._last:
            self._last = reason
            self._arrivals.put(Said(Waiting(self._node, self._step, reason, hint)))


def _outcome(arrival: Ended) -> Outcome:
    action, end = arrival.action, arrival.end
    return Outcome(
        action.node,
        action.track,
        action.step,
        action.attempt,
        end.result,
        end.code,
        end.reason,
        end.hint,
        end.evidence,
        arrival.settled,
    )
