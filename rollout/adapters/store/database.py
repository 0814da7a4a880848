"""Where a state lives, and connections to it."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from rollout.domain.errors import Refused, UsageError

BUSY_SECONDS = 10.0
"""SQLite's busy handler polls and is unfair: two busy writers saw single waits of 2.4 s, 3.2 s on a loaded machine."""

WRITES = "rollout_writes"
"""Execution option of connections that write: their transactions begin IMMEDIATE on SQLite."""


@dataclass(frozen=True, slots=True)
class Place:
    """A state file, or a PostgreSQL database. `label` is what people are shown: no password."""

    label: str
    path: Path | None
    url: URL | None = field(default=None, repr=False)


def parse_place(where: str | Path) -> Place:
    """A path, `sqlite:///path` or `postgresql[+psycopg]://...`. Symbolic links are followed: one file, one lock."""
    if isinstance(where, Path) or "://" not in where:
        path = Path(where).expanduser().resolve()
        return Place(str(path), path)
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise _not_understood("it is not a URL") from error
    backend = url.drivername.partition("+")[0]
    if backend == "sqlite" and url.database and not url.query:
        return parse_place(Path(url.database))
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        return Place(_shown(url), None, url.set(drivername="postgresql+psycopg"))
    raise _not_understood(f"{backend} is not supported, or there is no path in it")


def _shown(url: URL) -> str:
    """Which database it is: neither the password nor the settings."""
    return str(url.difference_update_query([name for name in url.query if name != "host"]))


def _not_understood(why: str) -> UsageError:
    return UsageError(
        "state-url",
        f"cannot understand where the state is: {why}",
        hint="give a file's path, or postgresql+psycopg://user@host/database",
    )


def make_engine(place: Place, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """An engine for a state. An SQLite file must exist: connecting never creates one."""
    if place.path is not None:
        return _sqlite_engine(place.path, busy_seconds)
    assert place.url is not None
    return _postgresql_engine(place.url, place.label, busy_seconds)


def writer(engine: Engine) -> Engine:
    """The same connections, for transactions that write."""
    return engine.execution_options(**{WRITES: True})


def snapshot(engine: Engine) -> Engine:
    """The same connections, for reading several tables as of one moment. SQLite's transactions do so anyway."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def _sqlite_engine(path: Path, busy_seconds: float) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw",
            uri=True,
            timeout=busy_seconds,
            check_same_thread=False,
            isolation_level=None,  # transactions begin where we say, see _begin
        )

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=FULL")  # NORMAL may lose the last commits when the power fails
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise Refused(
                "state-no-wal",
                f"cannot use the state {path}: its file system does not support SQLite's write-ahead log",
                hint="keep it on a local disk, or use PostgreSQL",
            )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


# A dead peer is noticed within a minute and a half; the system's default is two hours, and firewalls forget sooner.
_KEEPALIVE = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 6}


def _postgresql_engine(url: URL, label: str, busy_seconds: float) -> Engine:
    chosen = {key: value for key, value in _KEEPALIVE.items() if key not in url.query}
    try:
        engine = create_engine(url, connect_args=chosen, pool_pre_ping=True)
    except ImportError as error:
        raise UsageError(
            "postgresql-driver-missing",
            f"cannot open the state {label}: psycopg is not installed ({error})",
            hint="pip install 'netkit-rollout[postgresql]'",
        ) from error

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (f"{int(busy_seconds * 1000)}ms",))
            # A commit must be durable when it returns; anything stronger that the server asks for is kept.
            cursor.execute(
                "SELECT set_config('synchronous_commit', 'on', false)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
        connection.commit()

    return engine


def writable(path: Path) -> bool:
    """Whether the file and its directory can be written; SQLite needs both. Modes do not bind root, mounts do."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)
