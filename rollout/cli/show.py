"""show."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import click

from rollout.app.approve import approvals_of, consent_of
from rollout.app.journal import load_plan
from rollout.cli.options import cluster_options, output_option
from rollout.cli.render.json import plan_values, render_json
from rollout.cli.render.markdown import render_markdown
from rollout.cli.render.plan_view import PlanView
from rollout.cli.render.text import render_text
from rollout.cli.report import require_folder, write_text
from rollout.cli.session import Session, as_file, coloured, latest_id, note, read_plan, with_session
from rollout.cli.stale import show_stale
from rollout.cli.wiring import Reach
from rollout.domain.errors import ExitCode, NotFound, Refused


@click.command()
@click.argument("plan", required=False)
@click.option("--all", "every", is_flag=True, help="Lists in full, however long; HTML and JSON always are.")
@click.option("--out", type=click.Path(path_type=Path), help="Write it to this file instead of standard output.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of what --output json prints, and no plan.")
@click.option("--stale", is_flag=True, help="Show instead what moved in the cluster since the plan was made.")
@output_option("text", "html", "md", "json")
@cluster_options
@with_session
def show(
    session: Session, /, plan: str | None, every: bool, out: Path | None, schema: bool, stale: bool, output: str
) -> ExitCode:
    """Show a plan for review: a file, an id or a digest's prefix; the latest when none is named.

    A file is shown as it is, and needs no state. Page one says what happens to whom, when, how it stops and how it is
    undone; then follows every node with every pod. HTML is one file that needs no network; its table of nodes can be
    searched.

    \b
    Example:
      rollout show plan.json --output html --out plan.html
      rollout show 3f2a9c1b7d40 --output md
      rollout show 3f2a9c1b7d40 --stale
      rollout show --schema
    """
    if stale:
        return show_stale(session, plan, output)
    require_folder(out)
    if schema:
        from rollout.cli.schema import published

        text = published()
    else:
        view = _from_file(session, file) if plan and (file := as_file(plan)) else _from_state(session, plan)
        view = replace(view, most=None) if every else view
        text = rendered(view, output, colour=out is None and coloured(sys.stdout))
    if out is None:
        click.echo(text, nl=False, color=True)
    else:
        write_text(out, text)
        note(f"wrote {out}")
    return ExitCode.DONE


def rendered(view: PlanView, output: str, *, colour: bool = False) -> str:
    """A plan in one of its forms. Only that form's machinery is loaded."""
    if output == "json":
        return render_json(plan_values(view.plan, view.digest, view.approvals, view.consent))
    if output == "html":
        from rollout.cli.render.plan_html import render_plan

        return render_plan(view)
    from rollout.cli.render.plan_page import plan_page

    page = plan_page(view)
    return render_markdown(page) if output == "md" else render_text(page, colour=colour)


def _from_state(session: Session, reference: str | None) -> PlanView:
    with session.world(Reach.JOURNAL) as world:
        rollout = reference or latest_id(world)
        plan = load_plan(world.store, rollout)
        return PlanView(plan, plan.digest, approvals_of(world, rollout), consent_of(world, rollout))


def _from_file(session: Session, file: Path) -> PlanView:
    plan = read_plan(file)
    try:
        with session.world(Reach.JOURNAL) as world:
            return PlanView(plan, plan.digest, approvals_of(world, plan.digest), consent_of(world, plan.digest))
    except (NotFound, Refused):
        note("this state does not know the plan, so its approvals cannot be told")
        return PlanView(plan, plan.digest, known=False)
