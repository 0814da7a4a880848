"""pause and abort."""

from __future__ import annotations

import click

from rollout.app import control
from rollout.cli.options import journal_options
from rollout.cli.session import Session, latest_id, with_session
from rollout.cli.wiring import Reach
from rollout.domain.journal import RolloutState
from rollout.domain.lifecycle import RolloutPhase

_REASON = click.option("--reason", default="", metavar="TEXT", help="Why; kept in the journal.")


@click.command()
@click.argument("rollout", required=False)
@_REASON
@journal_options
@with_session
def pause(session: Session, /, rollout: str | None, reason: str) -> None:
    """Start no further node; running ones stop where they may rest. The latest rollout when none is named.

    A node is never left between the assignment of its mode and its proof, nor with DaemonSet pods kept away: it is
    brought to the next place where it may rest. The process that applies it sees this within a second.

    \b
    Example:
      rollout pause --reason "incident 4711"
    """
    with session.world(Reach.JOURNAL) as world:
        rollout_id = world.store.find(rollout or latest_id(world)).id
        state = control.pause(world, rollout_id, reason)
    click.echo(_paused(rollout_id, state))


def _paused(rollout: str, state: RolloutState) -> str:
    go_on = f"go on with: rollout resume {rollout}"
    if state.phase is RolloutPhase.HELD:
        return f"rollout {rollout} is held already and will stay so; {go_on}"
    return f"rollout {rollout} is asked to pause; follow it with: rollout status {rollout}; {go_on}"


@click.command()
@click.argument("rollout", required=False)
@_REASON
@journal_options
@with_session
def abort(session: Session, /, rollout: str | None, reason: str) -> None:
    """End a rollout for good. The latest one when none is named.

    Untouched nodes are skipped, fenced ones given back, nodes whose mode was assigned brought to their end. Nodes that
    are done stay in their new mode; `rollout rollback` takes them back.

    \b
    Example:
      rollout abort --reason "freeze"
    """
    with session.world(Reach.JOURNAL) as world:
        rollout_id = world.store.find(rollout or latest_id(world)).id
        state = control.abort(world, rollout_id, reason)
    click.echo(_aborted(rollout_id, state))


def _aborted(rollout: str, state: RolloutState) -> str:
    if state.phase is RolloutPhase.ABORTED:
        return f"rollout {rollout} is aborted; no node was touched"
    if state.run is not None:
        return (
            f"rollout {rollout} is asked to abort; the process that applies it carries that out. "
            f"Follow it with: rollout status {rollout}; if that process is gone: rollout resume {rollout}"
        )
    return f"rollout {rollout} is aborting; no process applies it, so carry it out with: rollout resume {rollout}"
