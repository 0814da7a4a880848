"""diff."""

from __future__ import annotations

import click

from rollout.app.journal import load_plan
from rollout.cli.options import journal_options, output_option
from rollout.cli.render.diff_page import diff_page
from rollout.cli.render.plan_view import MOST_ROWS
from rollout.cli.session import Session, as_file, emit, read_plan, with_session
from rollout.cli.wiring import Reach
from rollout.domain.codec import to_plain
from rollout.domain.plan import Plan
from rollout.planning.diff import diff_plans


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--all", "every", is_flag=True, help="Lists in full, however long; JSON always is.")
@output_option("text", "md", "json")
@journal_options
@with_session
def diff(session: Session, /, before: str, after: str, every: bool, output: str) -> None:
    """What changed from one plan to another, and why: files, ids or digests' prefixes.

    Whom it touches comes first, then what was waived, what becomes of pods, limits, policy, findings, time, and the
    facts below. Nodes that change alike are one line. Exits 0 whether or not anything changed: read what is printed.

    \b
    Example:
      rollout diff 3f2a9c1b7d40 plan.json
      rollout diff old.json new.json --output md
    """
    found = diff_plans(_plan(session, before), _plan(session, after))
    emit(output, list(diff_page(found, None if every else MOST_ROWS)), to_plain(found))


def _plan(session: Session, reference: str) -> Plan:
    file = as_file(reference)
    if file is not None:
        return read_plan(file)
    with session.world(Reach.JOURNAL) as world:
        return load_plan(world.store, reference)
