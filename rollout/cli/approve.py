"""approve."""

from __future__ import annotations

from datetime import timedelta

import click

from rollout.app.apply import reference_of_document
from rollout.app.approve import approve as record_approval
from rollout.app.world import World
from rollout.cli.options import DURATION, journal_options, output_option
from rollout.cli.render.blocks import Block, Commands, Heading, Pairs
from rollout.cli.render.words import moment
from rollout.cli.session import Session, as_file, emit, read_document, with_session
from rollout.cli.wiring import Reach
from rollout.domain.codec import to_plain


@click.command()
@click.argument("plan")
@click.option("--by", required=True, metavar="NAME", help="Who approves.")
@click.option("--ticket", required=True, metavar="ID", help="The change record.")
@click.option("--valid", type=DURATION, default="24h", show_default=True, help="How long the approval stands.")
@output_option("text", "json")
@journal_options
@with_session
def approve(session: Session, /, plan: str, by: str, ticket: str, valid: int, output: str) -> None:
    """Record a person's consent to exactly this plan: a file, an id or a digest's prefix.

    The approval is of the plan's digest. Another plan, even of the same nodes, needs its own.

    \b
    Example:
      rollout approve plan.json --by ann --ticket CHG-1042 --valid 8h
    """
    with session.world(Reach.JOURNAL) as world:
        approval = record_approval(
            world, reference_of(world, plan), by=by, ticket=ticket, valid=timedelta(seconds=valid)
        )
    rows = (
        ("digest", approval.digest),
        ("by", approval.by),
        ("ticket", approval.ticket),
        ("at", moment(approval.at)),
        ("valid until", moment(approval.expires)),
    )
    page: list[Block] = [Heading(f"Approved: plan {approval.digest[:12]}", 1), Pairs(rows)]
    page += [Heading("Next"), Commands((f"rollout apply {approval.digest[:12]}",))]
    emit(output, page, to_plain(approval))


def reference_of(world: World, plan: str) -> str:
    """The id of the plan that a file or reference names."""
    file = as_file(plan)
    return reference_of_document(world, read_document(file)) if file else plan
