"""adopt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rollout.app.adopt import fleet_coverage, plan_adoption
from rollout.cli.calendars import with_freezes
from rollout.cli.options import DURATION, LABEL, MODES, cluster_options, maker_option, output_option, policy_values
from rollout.cli.plan import OUT_OPTION, finish_plan, require_writable
from rollout.cli.policy import resolve_policy
from rollout.cli.render.coverage_page import coverage_page, coverage_values
from rollout.cli.session import Session, emit, note, with_session
from rollout.cli.wiring import Reach
from rollout.domain.policy import MethodChoice

_METHODS = [m.value for m in MethodChoice if m is not MethodChoice.REPLACE]


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE]...")
@click.option("--list", "only_list", is_flag=True, help="Show how much of the fleet is on target; plan nothing.")
@click.option("--since", metavar="PLAN", help="With --list: which nodes joined or vanished since this plan.")
@click.option("--target", type=click.Choice(sorted(MODES)), help="Mode to move to.")
@click.option("--selector", type=LABEL, multiple=True, help="Adopt only nodes with this label. May be repeated.")
@click.option("--method", type=click.Choice(_METHODS), help="How agents are brought up anew.")
@click.option("--max-unavailable", metavar="N|N%", help="Most nodes out at once; foreign outages count.")
@click.option("--soak-loaded", "soak_loaded_s", type=DURATION, help="Watch a wave in service so long.")
@maker_option
@OUT_OPTION
@output_option("text", "json", "md")
@cluster_options
@with_session
def adopt(
    session: Session,
    /,
    nodes: tuple[str, ...],
    only_list: bool,
    since: str | None,
    out: Path | None,
    output: str,
    **given: Any,
) -> None:
    """Make the plan that labels newly joined nodes which have no endpoint of the old kind yet. Touches no node.

    Without names every such node is taken; a node that holds old endpoints, or is right already, is left out with the
    reason. The plan needs an approval, then `rollout apply`. --list looks at every node and plans nothing.

    \b
    Example:
      rollout adopt --list
      rollout adopt worker-17 worker-18 --out adopt.json
    """
    if since and not only_list:
        raise click.UsageError("--since says nothing without --list")
    if only_list and out is not None:
        raise click.UsageError("--list makes no plan, so there is nothing to write with --out")
    policy = with_freezes(
        resolve_policy(session.config.policy, policy_values({**given, "nodes": nodes})), session.now()
    )
    require_writable(out)
    note("reading the cluster and observing its nodes ...")
    if only_list:
        with session.world(Reach.ALL if since else Reach.NODES) as world:
            found = fleet_coverage(world, policy, since or "")
        emit(output, coverage_page(found), coverage_values(found))
        return
    with session.world(Reach.ALL, create_state=True) as world:
        result = plan_adoption(world, policy)
    finish_plan(result, out, output)
