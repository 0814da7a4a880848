"""The operator's own playbooks around a node."""

from __future__ import annotations

from rollout.app.steps.context import StepContext, StepHeld
from rollout.app.steps.hostwork import run_playbook


def run_hook(ctx: StepContext, name: str) -> None:
    """Run a hook unless it has no tasks. Raises `StepHeld` when its content is not what was approved."""
    hook = next((h for h in ctx.plan.hooks if h.name == name), None)
    if hook is None or hook.empty:
        return
    digest, _ = ctx.world.hosts.hooks()[name]
    if digest != hook.sha256:
        raise StepHeld(
            "hook-changed",
            f"the hook {name} is not the one that was approved",
            "restore the file, or make a new plan: rollout plan",
        )
    run_playbook(ctx, f"hooks/{name}.yml", phase=name)
