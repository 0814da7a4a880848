"""Drive one step: read, perhaps find it done, act; turn errors into outcomes and transient ones into another try."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rollout.app.steps.context import NodeLost, StepContext, StepEnd, StepHeld
from rollout.app.steps.rig import drop_rig
from rollout.app.steps.table import HANDLERS
from rollout.domain.errors import (
    Cancelled,
    Conflict,
    NotFound,
    NotPermitted,
    Refused,
    RolloutError,
    TooManyRequests,
    Unavailable,
)
from rollout.domain.journal import Result
from rollout.engine.recovery import is_done

T = TypeVar("T")

_TRIES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between tries when a collaborator is away; the last is kept up to the step's deadline."""
_BASELINE_TRIES = 3
"""An untouched node that cannot be observed is given up after this many tries: nothing is lost by leaving it."""


def read(ctx: StepContext) -> dict[str, Any] | StepEnd:
    """The step's reading, or how it ended because it could not be read at all."""
    return _trying(ctx, HANDLERS[ctx.step].look)


def already_done(ctx: StepContext, before: Mapping[str, Any], reading: Mapping[str, Any]) -> bool:
    """Whether an unsettled step turns out to have reached what it is for."""
    return is_done(ctx.step, ctx.track, ctx.node, before, reading, ctx.world.clock.now())


def perform(ctx: StepContext) -> StepEnd:
    """Act. Never raises our errors: every one of them becomes an outcome. A node that stops keeps no probe pods."""
    end = _trying(ctx, HANDLERS[ctx.step].act)
    if end.result is not Result.DONE:
        drop_rig(ctx)
    return end


def _trying(ctx: StepContext, call: Callable[[StepContext], T]) -> T | StepEnd:
    tries = 0
    while True:
        try:
            return call(ctx)
        except (Unavailable, TooManyRequests, Conflict) as error:
            end = _again(ctx, error, tries)
            if end is not None:
                return end
            tries += 1
        except RolloutError as error:
            return _end_of(ctx, error)
        except NodeLost as lost:
            return StepEnd(Result.LOST, "node-lost", str(lost), "plan its successor: rollout plan")
        except StepHeld as held:
            return StepEnd(Result.HELD, held.code, held.reason, held.hint)


def _again(ctx: StepContext, error: RolloutError, tries: int) -> StepEnd | None:
    """Wait for another try; an end when there is none."""
    wait = _TRIES[min(tries, len(_TRIES) - 1)]
    if isinstance(error, TooManyRequests) and error.retry_after:
        wait = float(error.retry_after)
    if ctx.step.value == "baseline" and tries + 1 >= _BASELINE_TRIES:
        return StepEnd(Result.FAILED, error.code, error.message, error.hint)
    ctx.say(f"trying again: {error.message}", error.hint)
    try:
        ctx.pause(wait)
    except Cancelled as stop:
        return _end_of(ctx, stop)
    except RolloutError:
        return StepEnd(
            Result.FAILED, error.code, f"{error.message} (until the deadline of {ctx.step.value})", error.hint
        )
    return None


def _end_of(ctx: StepContext, error: RolloutError) -> StepEnd:
    if isinstance(error, Cancelled):
        return StepEnd(Result.INTERRUPTED, error.code, error.message)
    if isinstance(error, NotFound) and _node_is_gone(ctx):
        return StepEnd(Result.LOST, "node-lost", f"node {ctx.node.name} does not exist any more")
    if isinstance(error, NotPermitted | Refused):
        return StepEnd(Result.HELD, error.code, error.message, error.hint)
    return StepEnd(Result.FAILED, error.code, error.message, error.hint)


def _node_is_gone(ctx: StepContext) -> bool:
    try:
        ctx.world.cluster.read_node(ctx.node.name)
    except NotFound:
        return True
    except RolloutError:
        return False
    return False
