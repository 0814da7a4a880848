"""pause and abort, from any process; a running apply sees them within a second."""

from __future__ import annotations

from rollout.app.journal import load
from rollout.app.world import World
from rollout.domain.errors import Refused
from rollout.domain.journal import Body, Control, RolloutDecided, RolloutState, Verb
from rollout.domain.lifecycle import RolloutEvent, RolloutPhase

_LIVE = (RolloutPhase.RUNNING, RolloutPhase.HELD)


def pause(world: World, reference: str, reason: str = "") -> RolloutState:
    """Ask for no new nodes, and running ones to stop where they may rest. Repeat-safe."""
    record, state = load(world.store, reference)
    _require(state, record.id, "pause", _LIVE)
    if state.pause is None:
        _append(world, record.id, (Control(Verb.PAUSE, world.who.operator, reason),))
    return load(world.store, record.id)[1]


def unpause(world: World, reference: str) -> RolloutState:
    """Take a pause back, so that a running apply goes on, and the next resume is not paused at once."""
    record, state = load(world.store, reference)
    if state.pause is not None:
        _append(world, record.id, (Control(Verb.RESUME, world.who.operator),))
    return load(world.store, record.id)[1]


def abort(world: World, reference: str, reason: str = "") -> RolloutState:
    """Ask for the end: untouched nodes are skipped, fenced ones given back, armed ones brought to their end.

    An approved plan that never ran is aborted at once; else a running apply, or the next resume, carries it out.
    """
    record, state = load(world.store, reference)
    _require(state, record.id, "abort", (*_LIVE, RolloutPhase.APPROVED, RolloutPhase.ABORTING))
    bodies: tuple[Body, ...] = (Control(Verb.ABORT, world.who.operator, reason),)
    if state.phase is RolloutPhase.APPROVED or state.phase is RolloutPhase.HELD:
        bodies = (*bodies, RolloutDecided(RolloutEvent.ABORT, reason))
    if state.abort is None:
        _append(world, record.id, bodies)
    return load(world.store, record.id)[1]


def _append(world: World, rollout: str, bodies: tuple[Body, ...]) -> None:
    world.store.append(rollout, bodies, now=world.clock.now())


def _require(state: RolloutState, rollout: str, verb: str, phases: tuple[RolloutPhase, ...]) -> None:
    if state.phase not in phases:
        raise Refused(
            f"not-{verb}able", f"cannot {verb} rollout {rollout}: it is {state.phase.value}", hint="see: rollout status"
        )
