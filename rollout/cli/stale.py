"""show --stale: a plan held against the cluster as it is now."""

from __future__ import annotations

from rollout.app.stale import Staleness, staleness
from rollout.cli.approve import reference_of
from rollout.cli.render.stale_page import stale_page, stale_values
from rollout.cli.session import Session, emit, latest_id, note
from rollout.cli.wiring import Reach
from rollout.domain.errors import ExitCode, UsageError


def show_stale(session: Session, plan: str | None, output: str) -> ExitCode:
    """Read the cluster, print what moved since the plan. DONE when nothing did, REFUSED when apply would refuse nodes.

    Raises `UsageError` for a form it has not.
    """
    if output not in ("text", "md", "json"):
        raise UsageError("stale-form", f"cannot show what moved as {output}", hint="--output text, md or json")
    note("reading the cluster ...")
    with session.world(Reach.ALL) as world:
        found = staleness(world, reference_of(world, plan) if plan else latest_id(world))
    emit(output, stale_page(found), stale_values(found))
    return exit_code_of(found)


def exit_code_of(found: Staleness) -> ExitCode:
    """Whether apply would refuse any node of it now."""
    return ExitCode.REFUSED if found.moved else ExitCode.DONE
