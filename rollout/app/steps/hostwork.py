"""Running a playbook for a step, and what its results mean."""

from __future__ import annotations

from typing import Any

from rollout.app.steps.context import StepContext, StepHeld
from rollout.domain.errors import Cancelled, StepFailed, Unavailable
from rollout.ports.hosts import HostResult, HostRun

_PERSON_NEEDED = frozenset({"host-key-changed", "host-key-unknown", "ssh-auth", "sudo-password", "python-missing"})
"""Failures that trying again does not mend."""


def run_playbook(ctx: StepContext, playbook: str, **more: Any) -> HostRun:
    """Run one playbook on this node, up to the step's deadline.

    Raises `Unavailable` when the host cannot be reached (worth another try), `StepHeld` when a person has to mend the
    access, `StepFailed` when the playbook itself failed, `Cancelled`.
    """
    _require_approved(ctx, playbook)
    left = int((ctx.deadline - ctx.world.clock.now()).total_seconds())
    run = ctx.world.hosts.act(playbook, ctx.host, _variables(ctx) | more, wall_s=max(1, left), cancel=ctx.cancel)
    if run.result is HostResult.SUCCEEDED:
        return run
    if run.result is HostResult.CANCELLED:
        raise Cancelled("cancelled", f"cannot finish {playbook}: it was stopped")
    if run.code in _PERSON_NEEDED:
        raise StepHeld(run.code, run.message, run.hint)
    if run.result in (HostResult.UNREACHABLE, HostResult.TIMED_OUT):
        raise Unavailable(
            run.code or "host-unreachable", f"cannot run {playbook} on {ctx.node.name}: {run.message}", hint=run.hint
        )
    raise StepFailed(
        run.code or "task-failed", f"cannot finish {playbook} on {ctx.node.name}: {run.message}", hint=run.hint
    )


def _require_approved(ctx: StepContext, playbook: str) -> None:
    """Raises `StepHeld` when the playbook, or the programs it ships, are not those the plan was approved with."""
    now = ctx.world.hosts.playbook_digests()
    for name in (playbook, "onnode"):
        if ctx.plan.playbooks.get(name) != now.get(name):
            raise StepHeld(
                "playbook-changed",
                f"{name} is not the one that was approved",
                "restore the file, or make a new plan: rollout plan",
            )


def _variables(ctx: StepContext) -> dict[str, Any]:
    """What every playbook is told."""
    return {
        "rollout": ctx.rollout,
        "fencing": ctx.fencing,
        "node": ctx.node.name,
        "step": ctx.step.value,
        "phase": ctx.track.value,
        "source": ctx.node.source.value,
        "target": ctx.mode.value,
        "boot_id": str(ctx.before.get("boot_id", "")),
        "allowed_count": len(ctx.node.stragglers),
    }
