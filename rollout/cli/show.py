"""show."""

from __future__ import annotations

from pathlib import Path

import click

from rollout.app.approve import approvals_of
from rollout.app.journal import load_plan
from rollout.cli.options import cluster_options, output_option
from rollout.cli.render.json import plan_values
from rollout.cli.render.plan_page import plan_page
from rollout.cli.session import Session, as_file, emit, latest_id, note, read_document, with_session
from rollout.cli.stale import show_stale
from rollout.cli.wiring import Reach
from rollout.domain.approval import Approval
from rollout.domain.errors import ExitCode, NotFound, Refused
from rollout.domain.plan import Plan, decode_plan


@click.command()
@click.argument("plan", required=False)
@click.option("--stale", is_flag=True, help="Show instead what moved in the cluster since the plan was made.")
@output_option("text", "json", "md")
@cluster_options
@with_session
def show(session: Session, /, plan: str | None, stale: bool, output: str) -> ExitCode:
    """Show a plan for review: a file, an id or a digest's prefix; the latest when none is named.

    A file is shown as it is, and needs no state. Page one says what happens to whom, when, how it stops and how it is
    undone; then follows every node.

    \b
    Example:
      rollout show plan.json --output md
      rollout show plan.json --stale
    """
    if stale:
        return show_stale(session, plan, output)
    file = as_file(plan) if plan else None
    shown, approvals = _from_file(session, file) if file else _from_state(session, plan)
    emit(output, plan_page(shown, shown.digest, approvals), plan_values(shown, shown.digest, approvals))
    return ExitCode.DONE


def _from_state(session: Session, reference: str | None) -> tuple[Plan, tuple[Approval, ...]]:
    with session.world(Reach.JOURNAL) as world:
        rollout = reference or latest_id(world)
        return load_plan(world.store, rollout), approvals_of(world, rollout)


def _from_file(session: Session, file: Path) -> tuple[Plan, tuple[Approval, ...]]:
    plan = decode_plan(read_document(file))
    try:
        with session.world(Reach.JOURNAL) as world:
            return plan, approvals_of(world, plan.digest)
    except (NotFound, Refused):
        note("this state does not know the plan, so its approvals cannot be told")
        return plan, ()
