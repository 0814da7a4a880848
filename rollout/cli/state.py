"""state upgrade, check, export."""

from __future__ import annotations

import click

from rollout.cli.config import without_password
from rollout.cli.options import journal_options, output_option
from rollout.cli.render.blocks import Block, Heading, Pairs, Table, Tone
from rollout.cli.session import Session, emit, with_session
from rollout.cli.wiring import StateCheck
from rollout.domain.codec import to_plain
from rollout.domain.errors import ExitCode


@click.group()
def state() -> None:
    """The state database: plans, approvals, journals and observations.

    \b
    Example:
      rollout state check
    """


@state.command()
@journal_options
@with_session
def upgrade(session: Session, /) -> None:
    """Create the state, or bring it to this program's schema after a backup. Refused while a rollout is applied.

    \b
    Example:
      rollout state upgrade --state /var/lib/netkit-rollout/state.db
    """
    done = session.wiring.upgrade_state(session.config)
    place = without_password(session.config.state)
    if not done.before:
        click.echo(f"created the state {place}, schema {done.after}")
    elif done.before == done.after:
        click.echo(f"the state {place} is of schema {done.after} already")
    else:
        click.echo(f"upgraded the state {place} from schema {done.before} to {done.after}")
    if done.backup:
        click.echo(f"the copy made before: {done.backup}")


@state.command()
@output_option("text", "json")
@journal_options
@with_session
def check(session: Session, /, output: str) -> ExitCode:
    """Look at all of it: schema, file, plans, and every journal's hash chain. Changes nothing.

    Exits 0 when it is whole, 4 when its schema is another one, 6 when something in it does not hold.

    \b
    Example:
      rollout state check --output json
    """
    found = session.wiring.check_state(session.config)
    emit(output, _page(without_password(session.config.state), found), to_plain(found))
    if found.ok:
        return ExitCode.DONE
    return ExitCode.UNSETTLED if found.chain or found.integrity else ExitCode.REFUSED


def _page(place: str, found: StateCheck) -> list[Block]:
    rows = (("state", place), ("schema", found.schema or "none"), ("this program's", found.head))
    page: list[Block] = [Heading("State: whole" if found.ok else "State: not in order", 1), Pairs(rows)]
    faults = [(f.rollout, str(f.seq), f.message) for f in found.chain]
    faults += [("", "", text) for text in found.integrity]
    if faults:
        page.append(Table(("rollout", "entry", "fault"), tuple(faults), (Tone.BAD,) * len(faults)))
    return page


@state.command()
@journal_options
@with_session
def export(session: Session, /) -> None:
    """Print the whole state as JSON lines, with every hash, for archives. The last line counts the ones before it.

    \b
    Example:
      rollout state export > rollouts.jsonl
    """
    with session.wiring.export_state(session.config) as lines:
        for line in lines:
            click.echo(line)
