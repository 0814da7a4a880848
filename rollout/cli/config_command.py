"""config show."""

from __future__ import annotations

import json
from typing import Any

import click

from rollout.cli.config import KEYS, shown
from rollout.cli.options import cluster_options, output_option
from rollout.cli.render.blocks import Block, Heading, Para, Table
from rollout.cli.session import Session, emit, with_session


@click.group()
def config() -> None:
    """The configuration.

    \b
    Example:
      rollout config show
    """


@config.command()
@output_option("text", "json")
@cluster_options
@with_session
def show(session: Session, /, output: str) -> None:
    """Print every key, the value in force and where it came from: default, file and line, environment or flag.

    \b
    Example:
      rollout config show --output json
    """
    loaded = session.loaded
    rows = shown(loaded)
    page: list[Block] = [
        Heading("Configuration", 1),
        Para(f"file: {loaded.file}" if loaded.file else "no file: defaults, environment and flags"),
        Table(
            ("key", "value", "from", "what it says"), tuple((k, _words(v), origin, KEYS[k]) for k, v, origin in rows)
        ),
    ]
    emit(output, page, {key: {"value": value, "from": origin} for key, value, origin in rows})


def _words(value: Any) -> str:
    if value is None or value in ([], {}):
        return "-"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
