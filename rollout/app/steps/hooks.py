"""The operator's own playbooks around a node."""

from __future__ import annotations

from rollout.app.steps.context import StepContext
from rollout.app.steps.hostwork import run_playbook


def run_hook(ctx: StepContext, name: str) -> None:
    """Run a hook unless it has no tasks."""
    hook = next((h for h in ctx.plan.hooks if h.name == name), None)
    if hook is None or hook.empty:
        return
    run_playbook(ctx, f"hooks/{name}.yml", phase=name)
