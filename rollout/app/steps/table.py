"""Which functions read and do each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rollout.app.steps import empty, fence, proof, surge, switch
from rollout.app.steps.context import StepContext, StepEnd
from rollout.domain.step import StepKind


@dataclass(frozen=True, slots=True)
class Handler:
    """A step's reading and its act."""

    look: Callable[[StepContext], dict[str, Any]]
    act: Callable[[StepContext], StepEnd]


HANDLERS: Mapping[StepKind, Handler] = {
    StepKind.RECHECK: Handler(fence.look_recheck, fence.act_recheck),
    StepKind.BASELINE: Handler(proof.look_nothing, proof.act_baseline),
    StepKind.CORDON: Handler(fence.look_cordon, fence.act_cordon),
    StepKind.DRAIN: Handler(empty.look_drain, empty.act_drain),
    StepKind.EVACUATE: Handler(empty.look_evacuate, empty.act_evacuate),
    StepKind.ASSIGN_MODE: Handler(switch.look_assign, switch.act_assign),
    StepKind.RESTART_AGENT: Handler(switch.look_restart, switch.act_restart),
    StepKind.REBOOT: Handler(switch.look_reboot, switch.act_reboot),
    StepKind.CLEAR_STRAGGLERS: Handler(switch.look_clear, switch.act_clear),
    StepKind.CONFIRM_MODE: Handler(proof.look_nothing, proof.act_confirm),
    StepKind.RELEASE: Handler(fence.look_release, fence.act_release),
    StepKind.VERIFY: Handler(proof.look_nothing, proof.act_verify),
    StepKind.SOAK: Handler(proof.look_soak, proof.act_soak),
    StepKind.UNCORDON: Handler(fence.look_uncordon, fence.act_uncordon),
    StepKind.AWAIT_CAPACITY: Handler(surge.look_capacity, surge.act_capacity),
    StepKind.RETIRE: Handler(surge.look_retire, surge.act_retire),
}
