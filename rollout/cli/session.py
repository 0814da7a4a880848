"""One invocation: what it was told, what it reads, where it writes."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from rollout.app.journal import latest
from rollout.app.world import World
from rollout.cli.config import Config, Loaded, load, state_dir
from rollout.cli.render.blocks import Page
from rollout.cli.render.json import render_json
from rollout.cli.render.live import LiveRows
from rollout.cli.render.markdown import render_markdown
from rollout.cli.render.text import render_text
from rollout.cli.render.words import plain
from rollout.cli.wiring import Reach, SystemWiring, Wiring
from rollout.domain.errors import Refused, UsageError
from rollout.domain.plan import Plan, decode_plan

P = ParamSpec("P")
R = TypeVar("R")


class Session:
    """Carried by click's context. `flags`: the general options that were given, by configuration key."""

    def __init__(self, wiring: Wiring | None = None) -> None:
        self.wiring: Wiring = wiring or SystemWiring()
        self.config_file: Path | None = None
        self.flags: dict[str, Any] = {}
        self._loaded: Loaded | None = None
        self._rows = LiveRows()

    @property
    def loaded(self) -> Loaded:
        """The configuration in force, read once."""
        if self._loaded is None:
            self._loaded = load(self.config_file, os.environ, self.flags)
        return self._loaded

    @property
    def config(self) -> Config:
        """The configuration's values."""
        return self.loaded.config

    def now(self) -> datetime:
        """The present."""
        return self.wiring.now()

    @contextmanager
    def world(self, reach: Reach, *, live: bool = False, create_state: bool = False) -> Iterator[World]:
        """The ports of one command. `live`: draw a table when standard error is a terminal."""
        rows = self._rows if live and coloured(sys.stderr) else None
        reporter = self.wiring.reporter(sys.stderr, rows)
        try:
            with self.wiring.world(self.config, reach, reporter, create_state=create_state) as world:
                yield world
        finally:
            reporter.close()

    def watch(self, plan: Plan) -> None:
        """Tell the live table which plan it draws."""
        self._rows.plan = plan

    def crash_dir(self) -> Path:
        """Where the traceback of a bug is kept: beside the state, when that is a file."""
        if self._loaded is None or "://" in self._loaded.config.state:
            return state_dir()
        return Path(self._loaded.config.state).parent


def session_of(ctx: click.Context) -> Session:
    """The invocation's session, made at the first call. Tests pass theirs as click's `obj`."""
    root = ctx.find_root()
    if root.obj is None:
        root.obj = Session()
    assert isinstance(root.obj, Session)
    return root.obj


def with_session(function: Callable[Concatenate[Session, P], R]) -> Callable[P, R]:
    """Give a command its session as first argument."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(session_of(click.get_current_context()), *args, **kwargs)

    return command


def coloured(stream: Any) -> bool:
    """Whether a stream is a terminal that may be painted on."""
    quiet = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return bool(stream.isatty()) and not quiet


def note(message: str) -> None:
    """One line of progress."""
    click.echo(plain(message), err=True)


def emit(output: str, page: Page, values: Any) -> None:
    """Data on standard output, in the form that was asked for."""
    if output == "json":
        text = render_json(values)
    elif output == "md":
        text = render_markdown(page)
    else:
        text = render_text(page, colour=coloured(sys.stdout))
    click.echo(text, nl=False, color=True)


def latest_id(world: World) -> str:
    """The rollout meant when none is named."""
    record = latest(world.store)
    if record is None:
        raise Refused("no-rollout", "cannot tell which rollout: this state has none", hint="make a plan: rollout plan")
    return record.id


def read_document(path: Path) -> bytes:
    """A plan's file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            "plan-file",
            f"cannot read the plan {path}: {error.strerror}",
            hint="name a file that rollout plan wrote, or an id",
        ) from error


def read_plan(path: Path) -> Plan:
    """The plan in a file. Raises `UsageError`, `Refused` for one that cannot be read or contradicts itself."""
    plan = decode_plan(read_document(path))
    in_waves = [name for wave in plan.waves for name in wave.nodes]
    if sorted(in_waves) != sorted(node.name for node in plan.nodes):
        raise Refused(
            "plan-damaged",
            f"cannot use the plan {path}: its waves do not hold the nodes it speaks of",
            hint="make it again: rollout plan",
        )
    return plan


def as_file(reference: str) -> Path | None:
    """The file a reference names; None when it is an id or digest."""
    path = Path(reference)
    looks_like_one = os.sep in reference or reference.endswith(".json")
    return path if looks_like_one or path.is_file() else None
