"""Gates: external ones asked, finished nodes of a wave looked at again under load, and all of it put together.

Asking and looking happen here; what it means is decided in `rollout.checks.gate` and `rollout.checks.signals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event
from typing import Any

from rollout.app.look_again import look_again
from rollout.app.steps.context import StepContext, StepEnd, agent_ready
from rollout.app.world import World
from rollout.checks.gate import GateAnswer, NodeHealth, NodeLook, WaveEvidence, judge_wave, worst
from rollout.checks.signals import judge_signal
from rollout.domain.codec import to_plain
from rollout.domain.errors import Cancelled, RolloutError
from rollout.domain.failures import failures_in_words, undecided_code
from rollout.domain.journal import GateDecided, Result, RolloutState, failures
from rollout.domain.lifecycle import NodePhase
from rollout.domain.plan import Plan, Wave
from rollout.domain.policy import ExternalGate, GateScope
from rollout.domain.signal import SignalAnswer, Subjects
from rollout.domain.step import StepKind, Track
from rollout.domain.verdict import GateDecision, Status

_TRIES = 3
"""Times a gate is asked while there is no answer at all: one lost packet is no reason to stop."""
_BETWEEN_S = 2.0
_LOOK_EVERY_S = 3.0
_FAILS_TO_BELIEVE = 2
"""A failing look is believed when it is seen twice: endpoints come and go under load."""


def ask_gates(
    world: World, plan: Plan, scope: GateScope, wave: Wave, node: str = "", *, cancel: Event | None = None
) -> tuple[GateAnswer, ...]:
    """What each external gate of `scope` means for a wave, or for one node of it. Raises `Cancelled`."""
    subjects = Subjects(wave.name, wave.nodes, node)
    gates = [gate for gate in plan.policy.gates if gate.scope is scope]
    return tuple(judge_signal(gate, _ask(world, gate, subjects, cancel)) for gate in gates)


def _ask(world: World, gate: ExternalGate, subjects: Subjects, cancel: Event | None) -> SignalAnswer:
    answer = world.signals.ask(gate, subjects)
    for _ in range(_TRIES - 1):
        if not answer.error and answer.status < 500:
            break
        if world.clock.wait(_BETWEEN_S, cancel):
            raise Cancelled("cancelled", f"cannot ask gate {gate.name}: it was stopped")
        answer = world.signals.ask(gate, subjects)
    return answer


def gates_end(ctx: StepContext, evidence: Mapping[str, Any]) -> StepEnd | None:
    """How verify ends by the external gates of scope node, what they said added to `evidence`; None: none is asked.

    On the way back nobody is asked: what is sound enough to be restored is not for others to stop. Raises `Cancelled`.
    """
    if ctx.track is not Track.FORWARD:
        return None
    wave = ctx.plan.wave_of(ctx.node.name)
    answers = ask_gates(ctx.world, ctx.plan, GateScope.NODE, wave, ctx.node.name, cancel=ctx.cancel)
    if not answers:
        return None
    decision = worst(a.decision for a in answers)
    said = next(a for a in answers if a.decision is decision)
    evidence = {**evidence, "gates": [to_plain(a) for a in answers]}
    if decision is GateDecision.PROCEED:
        return StepEnd(Result.DONE, evidence=evidence)
    if decision is GateDecision.ROLL_BACK:
        reason = f"the gate {said.gate} rolls back: {said.reason}"
        return StepEnd(Result.FAILED, f"gate-{said.gate}", reason, f"rollout why {ctx.node.name}", evidence)
    reason = f"the gate {said.gate} holds: {said.reason}"
    return StepEnd(Result.HELD, undecided_code("gate", said.gate), reason, "when it is sound: rollout resume", evidence)


# --- the gate behind a wave --------------------------------------------------------------------------------------


def look_at_gate(
    world: World, plan: Plan, rollout: str, number: int, state: RolloutState, cancel: Event
) -> GateDecided:
    """Look at a wave's finished nodes again, ask its external gates, and let the gate speak. Raises `Cancelled`."""
    wave = plan.waves[number]
    done = tuple(name for name in wave.nodes if state.node(name).phase is NodePhase.DONE)
    health = {name: _health(world, plan, name) for name in done}
    looks = _Looks(world, plan, rollout, number, cancel).at(done)
    moved = Wave(wave.number, wave.name, done or wave.nodes)
    answers = ask_gates(world, plan, GateScope.WAVE, moved, cancel=cancel)
    failed = {name: each for name, each in failures(state).items() if name in wave.nodes}
    verdict = judge_wave(WaveEvidence(health, looks, failures_in_words(failed), answers), plan.policy)
    return GateDecided(number, verdict.decision.value, verdict.reason, verdict.nodes)


def _health(world: World, plan: Plan, name: str) -> NodeHealth:
    try:
        view = world.cluster.view(name)
    except RolloutError:
        return NodeHealth(None, None, None)
    if view.node is None:
        return NodeHealth(False, False, False)
    return NodeHealth(view.node.ready, agent_ready(view, plan), not view.node.unschedulable)


@dataclass(frozen=True, slots=True)
class _Looks:
    """The quick look at nodes in service: all at once, and again at those that are not sure yet."""

    world: World
    plan: Plan
    rollout: str
    wave: int
    cancel: Event

    def at(self, names: Sequence[str]) -> dict[str, NodeLook]:
        """What the checks say about each node; inconclusive is asked again up to the deadline of verify."""
        ends = self.world.clock.now() + timedelta(seconds=self.plan.policy.deadline_s(StepKind.VERIFY))
        found: dict[str, NodeLook] = {}
        fails = dict.fromkeys(names, 0)
        left, tries = list(names), 0
        while left:
            tries += 1
            found |= self._once(left, tries)
            for name in left:
                fails[name] = fails[name] + 1 if found[name].status is Status.FAIL else 0
            left = [n for n in left if found[n].status is not Status.PASS and fails[n] < _FAILS_TO_BELIEVE]
            if not left or self.world.clock.now() >= ends:
                break
            if self.world.clock.wait(_LOOK_EVERY_S, self.cancel):
                raise Cancelled("cancelled", "cannot finish the look at a gate: it was stopped")
        return {name: _believed(look, fails[name]) for name, look in found.items()}

    def _once(self, names: Sequence[str], number: int) -> dict[str, NodeLook]:
        return look_again(self.world, self.plan, self.rollout, names, f"gate/{self.wave}/{number}", self.cancel)


def _believed(look: NodeLook, fails: int) -> NodeLook:
    """A failure that the deadline left no time to see twice is none yet, but nothing to proceed on either."""
    if look.status is Status.FAIL and fails < _FAILS_TO_BELIEVE:
        return NodeLook(Status.INCONCLUSIVE, look.check, look.message)
    return look
