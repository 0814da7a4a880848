"""report."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rollout.app import report as use_case
from rollout.app.record import Report
from rollout.cli.options import journal_options, output_option
from rollout.cli.render.json import render_json
from rollout.cli.render.markdown import render_markdown
from rollout.cli.render.report_parts import flat
from rollout.cli.render.text import render_text
from rollout.cli.session import Session, coloured, latest_id, note, with_session
from rollout.cli.wiring import Reach
from rollout.domain.codec import to_plain
from rollout.domain.errors import UsageError


@click.command()
@click.argument("rollout", required=False)
@click.option("--all", "every", is_flag=True, help="Every node in detail, not only those where something went wrong.")
@click.option("--out", type=click.Path(path_type=Path), help="Write it to this file instead of standard output.")
@output_option("text", "html", "md", "json")
@journal_options
@with_session
def report(session: Session, /, rollout: str | None, every: bool, out: Path | None, output: str) -> None:
    """The evidence for the change record: what was moved, by whom, what failed, and what was measured before and after.

    Read from the state alone: plan, journal and stored observations. The latest rollout when none is named. HTML is one
    file with its plots in it; it needs no network and no script. What was not measured is said, never shown as zero.

    \b
    Example:
      rollout report --output html --out report.html
      rollout report 3f2a9c1b7d40 --output json --all
    """
    require_folder(out)
    with session.world(Reach.JOURNAL) as world:
        found = use_case.report(world, rollout or latest_id(world), every=every)
    text = rendered(found, output, colour=out is None and coloured(sys.stdout))
    if out is None:
        click.echo(text, nl=False, color=True)
    else:
        write_text(out, text)
        note(f"wrote {out}")


def rendered(found: Report, output: str, *, colour: bool = False) -> str:
    """A report in one of its forms. Only that form's machinery is loaded."""
    if output == "html":
        from rollout.cli.render.report_html import render_html

        return render_html(found)
    if output == "json":
        return render_json(to_plain(found))
    from rollout.cli.render.report_page import report_page

    page = flat(report_page(found))
    return render_markdown(page) if output == "md" else render_text(page, colour=colour)


def require_folder(out: Path | None) -> None:
    """Raises `UsageError` before the work when the file has no folder to be in."""
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError("out-file", f"cannot write to {out}: no such folder, or it is one", hint="name a file")


def write_text(out: Path, text: str) -> None:
    """Write a document. Raises `UsageError` when it cannot be written."""
    try:
        out.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError("out-file", f"cannot write to {out}: {error.strerror}", hint="name another file") from error
