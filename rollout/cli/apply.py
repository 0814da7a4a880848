"""apply and resume."""

from __future__ import annotations

import re
from dataclasses import replace

import click

from rollout.app.apply import Application
from rollout.app.control import unpause
from rollout.app.status import status
from rollout.app.world import World
from rollout.cli.approve import reference_of
from rollout.cli.options import cluster_options, output_option
from rollout.cli.render.json import status_values
from rollout.cli.render.progress_page import status_page
from rollout.cli.session import Session, emit, latest_id, note, with_session
from rollout.cli.steering import steering
from rollout.cli.wiring import Reach
from rollout.domain.errors import ExitCode, Refused
from rollout.domain.journal import RolloutState, failed_nodes
from rollout.domain.lifecycle import RolloutPhase


@click.command()
@click.argument("plan")
@output_option("text", "json", "md")
@cluster_options
@with_session
def apply(session: Session, /, plan: str, output: str) -> ExitCode:
    """Apply an approved plan: a file, an id or a digest's prefix.

    Ctrl-C once pauses: no new node begins, running ones stop where they may rest. Ctrl-C again, or SIGTERM, stops at
    once; `rollout resume` finds out what was done and goes on. Exits 0 when completed, 3 when held, 4 when refused, 5
    when it ended with failed nodes, 130 when stopped or aborted.

    \b
    Example:
      rollout apply plan.json
    """
    with session.world(Reach.ALL, live=True) as world:
        application = Application(world, reference_of(world, plan))
        session.watch(application.plan)
        with steering(application.rounds, world.reporter.note):
            final = application.start()
        _show_end(session, world, application.record.id, output)
    return exit_code_of(final)


@click.command()
@click.argument("rollout", required=False)
@click.option("--retry", multiple=True, metavar="NODE", help="Try this quarantined node again. May be repeated.")
@output_option("text", "json", "md")
@cluster_options
@with_session
def resume(session: Session, /, rollout: str | None, retry: tuple[str, ...], output: str) -> ExitCode:
    """Go on after a pause, a hold or a dead process; the latest rollout when none is named.

    What a dead process left is settled by reading the cluster. Resuming accepts what failed so far; quarantined nodes
    stay as they are unless named with --retry. When another process is applying, the pause is taken back and it goes on
    there.

    \b
    Example:
      rollout resume
      rollout resume 1a2b3c4d5e6f --retry worker-7
    """
    with session.world(Reach.JOURNAL) as world:
        rollout_id = world.store.find(rollout or latest_id(world)).id
        state = unpause(world, rollout_id)
        if not retry and _goes_on_elsewhere(world, rollout_id, state):
            return ExitCode.DONE
    with session.world(Reach.ALL, live=True) as world:
        application = Application(world, rollout_id)
        session.watch(application.plan)
        with steering(application.rounds, world.reporter.note):
            final = application.resume(retry)
        _show_end(session, world, rollout_id, output)
    return exit_code_of(final)


def _goes_on_elsewhere(world: World, rollout: str, state: RolloutState) -> bool:
    """Whether a living process applies this very rollout. Raises `Refused` when it applies another one."""
    if state.run is None or state.phase not in (RolloutPhase.RUNNING, RolloutPhase.ABORTING):
        return False
    try:
        with world.store.exclusive(rollout):
            return False
    except Refused as refused:
        if refused.code != "already-running" or not re.search(rf"\b{state.run.pid}\b", refused.message):
            raise
    note(f"rollout {rollout} goes on in the process that applies it: {state.run.pid} on {state.run.host}")
    return True


def _show_end(session: Session, world: World, rollout: str, output: str) -> None:
    end = status(world, rollout)
    emit(output, status_page(end, session.now(), runner=""), status_values(end))


def exit_code_of(state: RolloutState) -> ExitCode:
    """What the end of an application means for the caller."""
    if state.phase is RolloutPhase.HELD:
        return ExitCode.HELD
    if state.phase is RolloutPhase.ABORTED:
        return ExitCode.INTERRUPTED
    unwell = failed_nodes(replace(state, accepted=frozenset()))
    return ExitCode.STEP_FAILED if unwell else ExitCode.DONE
