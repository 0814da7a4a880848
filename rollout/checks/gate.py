"""The rule that turns a wave's state into proceed, hold or roll back. Three-valued; no data holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rollout.domain.policy import OnFailure, Policy
from rollout.domain.verdict import GateDecision, Status

_WORST_FIRST = (GateDecision.ROLL_BACK, GateDecision.HOLD, GateDecision.PROCEED)


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """What one external gate means."""

    gate: str
    decision: GateDecision
    reason: str


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """A finished node, looked at again under load. None: could not be told."""

    ready: bool | None
    agent_ready: bool | None
    schedulable: bool | None


@dataclass(frozen=True, slots=True)
class NodeLook:
    """What the checks say about a finished node under load: the worst of those that count, and the check it is of."""

    status: Status
    check: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class WaveEvidence:
    """All that a wave's gate rests on. The keys of `health` are the nodes that finished."""

    health: Mapping[str, NodeHealth]
    looks: Mapping[str, NodeLook]
    failed: str
    """The wave's failed nodes by class, in words, without those a person has accepted; empty when there is none."""
    answers: tuple[GateAnswer, ...]


@dataclass(frozen=True, slots=True)
class WaveVerdict:
    """What the gate says, and to roll back: whom it wants back."""

    decision: GateDecision
    reason: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Voice:
    """One of the things a gate listens to."""

    decision: GateDecision
    reason: str
    nodes: tuple[str, ...] = ()


def worst(decisions: Iterable[GateDecision]) -> GateDecision:
    """Roll back before hold before proceed. Nothing asked proceeds."""
    found = set(decisions)
    return next((d for d in _WORST_FIRST if d in found), GateDecision.PROCEED)


def judge_wave(evidence: WaveEvidence, policy: Policy) -> WaveVerdict:
    """The worst of all voices. To proceed, every finished node must be well, pass again, and every gate agree.

    A check that fails under load takes back the node or the wave where the policy says so for that check, and holds
    otherwise. A wave whose every node failed has proven nothing, and holds until a person accepts that.
    """
    voices = [*_of_health(evidence.health), *_of_looks(evidence, policy), *_of_answers(evidence)]
    if evidence.failed and not evidence.health:
        voices.append(_Voice(GateDecision.HOLD, f"no node of it was proven ({evidence.failed})"))
    decision = worst(v.decision for v in voices)
    if decision is GateDecision.PROCEED:
        return WaveVerdict(decision, _all_well(evidence))
    telling = [v for v in voices if v.decision is decision]
    wanted = {name for v in telling for name in v.nodes}
    return WaveVerdict(decision, "; ".join(v.reason for v in telling), tuple(n for n in evidence.health if n in wanted))


def _all_well(evidence: WaveEvidence) -> str:
    if not evidence.health:
        return "no node of this wave was moved"
    said = "".join(f"; {a.gate}: {a.reason}" for a in evidence.answers)
    failed = f"; within the failure budget: {evidence.failed}" if evidence.failed else ""
    return f"{len(evidence.health)} node(s) well under load{failed}{said}"


def _of_health(nodes: Mapping[str, NodeHealth]) -> Iterator[_Voice]:
    broken = sorted(n for n, h in nodes.items() if h.ready is False or h.agent_ready is False)
    unknown = sorted(n for n, h in nodes.items() if None in (h.ready, h.agent_ready, h.schedulable) and n not in broken)
    if broken:
        yield _Voice(GateDecision.HOLD, f"not well under load: {', '.join(broken)}")
    if unknown:
        yield _Voice(GateDecision.HOLD, f"could not be told: {', '.join(unknown)}")


def _of_looks(evidence: WaveEvidence, policy: Policy) -> Iterator[_Voice]:
    for name in evidence.health:
        look = evidence.looks.get(name, NodeLook(Status.INCONCLUSIVE, "", "nobody looked"))
        if look.status is Status.FAIL:
            yield _of_failed(evidence, name, look, policy.action_on(look.check))
        elif look.status is not Status.PASS:
            yield _Voice(GateDecision.HOLD, f"could not be told: {name}: {look.check or 'checks'}: {look.message}")


def _of_failed(evidence: WaveEvidence, name: str, look: NodeLook, action: OnFailure) -> _Voice:
    reason = f"node {name} fails {look.check} under load: {look.message}"
    if action is OnFailure.ROLL_BACK_WAVE:
        return _Voice(GateDecision.ROLL_BACK, reason, tuple(evidence.health))
    if action is OnFailure.ROLL_BACK:
        return _Voice(GateDecision.ROLL_BACK, reason, (name,))
    return _Voice(GateDecision.HOLD, reason)


def _of_answers(evidence: WaveEvidence) -> Iterator[_Voice]:
    for answer in evidence.answers:
        nodes = tuple(evidence.health) if answer.decision is GateDecision.ROLL_BACK else ()
        yield _Voice(answer.decision, f"{answer.gate}: {answer.reason}", nodes)
