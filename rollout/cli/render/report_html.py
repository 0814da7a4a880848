"""A report as one HTML file: no script, no network, readable on paper."""

from __future__ import annotations

from rollout.app.record import Report
from rollout.cli.render.html import template
from rollout.cli.render.report_page import report_page


def render_html(report: Report) -> str:
    """The whole document."""
    page = template("report.html.j2")
    return page.render(title=f"Rollout {report.rollout}", parts=report_page(report)) + "\n"
