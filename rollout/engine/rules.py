"""What must hold at every moment of a rollout, and the questions about its state that more than one module asks."""

from __future__ import annotations

from rollout.domain.journal import NodeState, RolloutState
from rollout.domain.lifecycle import FENCED_PHASES, SETTLED_PHASES, NodePhase, RolloutPhase
from rollout.domain.plan import NodePlan, Plan, Wave
from rollout.domain.step import STEPS, StepKind, Track


class InvariantBroken(AssertionError):
    """The state contradicts what must always hold. A bug; the process stops rather than go on."""


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


def current_wave(plan: Plan, state: RolloutState) -> Wave | None:
    """The first wave whose gate has not let the rollout proceed; None behind the last."""
    for wave in plan.waves:
        gate = state.gates.get(wave.number)
        if gate is None or gate.decision != "proceed":
            return wave
    return None


def is_out(node: NodeState) -> bool:
    """Whether a node takes one of the slots of `max_unavailable`. A quarantined one has given its slot back."""
    return node.phase in FENCED_PHASES and node.phase is not NodePhase.QUARANTINED


def exceeded_with(plan: Plan, state: RolloutState, names: tuple[str, ...]) -> tuple[str, ...]:
    """Limits that would be exceeded by our own hand were `names` taken up again; empty when all hold."""
    out = {node.name for node in state.nodes.values() if is_out(node)}
    return plan.limit_index.broken(out | set(names))


def has_ended(state: RolloutState, name: str) -> bool:
    """Whether nothing more happens to a node by itself."""
    phase = state.node(name).phase
    return name not in state.taking_back and (phase in SETTLED_PHASES or phase is NodePhase.QUARANTINED)


def comes_to_rest(state: RolloutState) -> bool:
    """Whether a rollout that was held still has something to bring to its end, which a dead process left."""
    moving = (NodePhase.RETURNING, NodePhase.ROLLING_BACK)
    return bool(state.taking_back) or any(n.intent or n.phase in moving for n in state.nodes.values())


def check_invariants(plan: Plan, state: RolloutState, starting: frozenset[str] = frozenset()) -> None:
    """What must hold at every moment. Raises `InvariantBroken`."""
    if state.digest and state.digest != plan.digest:
        raise InvariantBroken(f"the journal is about plan {state.digest[:12]}, not {plan.digest[:12]}")
    out = [n.name for n in state.nodes.values() if is_out(n)]
    limit = plan.policy.most_unavailable(plan.cluster.fleet)
    if len(out) > limit:
        raise InvariantBroken(f"{len(out)} nodes are out ({', '.join(sorted(out))}), the limit is {limit}")
    exceeded = plan.limit_index.broken(set(out)) if plan.limits else ()
    if exceeded:
        raise InvariantBroken(f"nodes {', '.join(sorted(out))} are out, which exceeds {', '.join(exceeded)}")
    wave = current_wave(plan, state)
    for name, node in state.nodes.items():
        if wave is not None and plan.wave_of(name).number > wave.number and node.started is not None:
            raise InvariantBroken(f"node {name} of a later wave was started before the gate of {wave.name}")
        _check_prefix(plan.node(name), node)
    if starting and state.taking_back:
        raise InvariantBroken(f"nodes {', '.join(sorted(starting))} were started while a wave is taken back")
    unknown = (starting | set(state.taking_back)) - {n.name for n in plan.nodes}
    if unknown:
        raise InvariantBroken(f"nodes {', '.join(sorted(unknown))} are not in the plan")


def _check_prefix(plan: NodePlan, state: NodeState) -> None:
    for track in Track:
        way = [step.kind for step in plan.track(track)]
        done = [step for t, step in state.done if t is track]
        if done != way[: len(done)]:
            raise InvariantBroken(f"node {plan.name} finished {[s.value for s in done]} out of order")
