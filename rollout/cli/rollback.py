"""rollback."""

from __future__ import annotations

from pathlib import Path

import click

from rollout.app.rollback import plan_rollback
from rollout.cli.options import cluster_options, maker_option, output_option
from rollout.cli.plan import OUT_OPTION, finish_plan, require_writable
from rollout.cli.session import Session, latest_id, note, with_session
from rollout.cli.wiring import Reach


@click.command()
@click.argument("rollout", required=False)
@click.option("--wave", type=int, help="Take back this wave only; the first is 0.")
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="Take back this node only. May be repeated.")
@maker_option
@OUT_OPTION
@output_option("text", "json", "md")
@cluster_options
@with_session
def rollback(
    session: Session, /, rollout: str | None, wave: int | None, nodes: tuple[str, ...], out: Path | None, output: str
) -> None:
    """Make the plan that takes a rollout back: all of it, one wave or named nodes. Touches no node.

    The plan needs an approval of its own, then `rollout apply`. The latest rollout when none is named.

    \b
    Example:
      rollout rollback 1a2b3c4d5e6f --wave 0 --out back.json
    """
    if wave is not None and nodes:
        raise click.UsageError("--wave and --node exclude each other")
    require_writable(out)
    note("reading the cluster and observing its nodes ...")
    with session.world(Reach.ALL) as world:
        result = plan_rollback(world, rollout or latest_id(world), wave=wave, nodes=nodes)
    finish_plan(result, out, output)
