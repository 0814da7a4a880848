"""Documents as one HTML file each: how values are written into them, and their templates.

Decision: Jinja with autoescape on, over blocks. Every string is made visible (`plain`) and escaped as it is written, so
that no name, reason or document can become markup; only pictures are markup, and they escape their own texts. A content
security policy in each file forbids everything but its own style and script, should one of these fail.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from rollout.cli.render.words import plain

LONGEST = 2000
"""So many characters of one text are shown; the JSON form has all of it."""

_LONG_WORD = 28


def template(name: str) -> Template:
    """One of the templates."""
    return _environment().get_template(name)


def source(name: str) -> Markup:
    """A style sheet or script of ours beside the templates; it holds no value of anybody's."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])  # noqa: S704


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rollout.cli.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["kind"] = lambda part: type(part).__name__
    environment.filters["unbroken"] = _unbroken
    return environment


def _unbroken(text: str) -> bool:
    """Whether a cell holds a word so long that it must be broken to fit."""
    return any(len(word) > _LONG_WORD for word in text.split(" "))


def shown(value: Any) -> Any:
    """Text as it is written into the document; markup of our own passes."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    text = plain(value)
    if len(text) > LONGEST:
        return f"{text[:LONGEST]} … and {len(text) - LONGEST:,} more characters"
    return text
