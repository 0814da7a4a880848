"""status and why."""

from __future__ import annotations

from dataclasses import replace

import click

from rollout.app import status as use_case
from rollout.app.journal import load
from rollout.cli.options import journal_options, output_option
from rollout.cli.render.json import record_values, status_values, why_values
from rollout.cli.render.progress_page import rollouts_page, status_page, why_page
from rollout.cli.session import Session, emit, latest_id, with_session
from rollout.cli.wiring import Reach
from rollout.domain.journal import RolloutState


@click.command()
@click.argument("rollout", required=False)
@click.option("--all", "every", is_flag=True, help="List all rollouts of this state instead.")
@output_option("text", "json", "md")
@journal_options
@with_session
def status(session: Session, /, rollout: str | None, every: bool, output: str) -> None:
    """Where a rollout stands: phase, wave, every node, why it is not further and the command that moves it on.

    Read from the journal alone, so it answers while the cluster is down. The latest rollout when none is named.

    \b
    Example:
      rollout status
      rollout status --all
    """
    if every:
        _list(session, output)
        return
    with session.world(Reach.JOURNAL) as world:
        found = use_case.status(world, rollout or latest_id(world))
    runner, gone = _runner(session, found.state)
    if gone and not found.next_command:
        found = replace(found, next_command=f"rollout resume {found.record.id}")
    emit(output, status_page(found, session.now(), runner=runner), status_values(found))


def _list(session: Session, output: str) -> None:
    with session.world(Reach.JOURNAL) as world:
        rows = tuple((record, load(world.store, record.id)[1].phase) for record in world.store.rollouts())
    values = {"rollouts": [{**record_values(record), "phase": phase.value} for record, phase in rows]}
    emit(output, rollouts_page(rows), values)


def _runner(session: Session, state: RolloutState) -> tuple[str, bool]:
    """One sentence about the process that took it up last, and whether it surely is gone."""
    run, here = state.run, session.wiring.who()
    if run is None:
        return "", False
    words = f"{run.operator} on {run.host}, process {run.pid}"
    if run.host != here.host:
        return f"{words} (from here it cannot be told whether it still runs)", False
    if session.wiring.alive(run.pid):
        return words, False
    return f"{words}, which is gone: what it left is settled by resuming", True


@click.command()
@click.argument("node")
@click.argument("rollout", required=False)
@output_option("text", "json", "md")
@journal_options
@with_session
def why(session: Session, /, node: str, rollout: str | None, output: str) -> None:
    """Why a node is where it is: one sentence, the deadline, the command that unblocks it, its history.

    \b
    Example:
      rollout why worker-7
    """
    with session.world(Reach.JOURNAL) as world:
        found = use_case.why(world, rollout or latest_id(world), node)
    emit(output, why_page(found, session.now()), why_values(found))
