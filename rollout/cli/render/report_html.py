"""A report as one HTML file: no script, no network, readable on paper.

Decision: Jinja with autoescape on, over blocks. Every string is made visible (`plain`) and escaped as it is written, so
that no name, reason or document can become markup; only the plots of `report_svg` are markup, and they escape their own
texts. A content security policy in the file forbids everything but its own style, should one of these fail.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from rollout.app.record import Report
from rollout.cli.render.report_page import report_page
from rollout.cli.render.words import plain

LONGEST = 2000
"""So many characters of one text are shown; the JSON form has all of it."""


_LONG_WORD = 28


def render_html(report: Report) -> str:
    """The whole document."""
    return _template().render(title=f"Rollout {report.rollout}", parts=report_page(report)) + "\n"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("rollout.cli.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["kind"] = lambda part: type(part).__name__
    environment.filters["unbroken"] = _unbroken
    return environment.get_template("report.html.j2")


def _unbroken(text: str) -> bool:
    """Whether a cell holds a word so long that it must be broken to fit."""
    return any(len(word) > _LONG_WORD for word in text.split(" "))


def _shown(value: Any) -> Any:
    """Text as it is written into the document; markup of our own passes."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = plain(value)
    if len(text) > LONGEST:
        return f"{text[:LONGEST]} … and {len(text) - LONGEST:,} more characters"
    return text
