"""Open, create, upgrade and check a state.

Decision: revisions are growing four-digit numbers, and the program knows its own (`tables.REVISION`), so that older and
newer are told apart without loading alembic, which only an upgrade needs.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, Engine, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError

from rollout.adapters.store.database import BUSY_SECONDS, Place, make_engine, parse_place, snapshot, writable, writer
from rollout.adapters.store.errors import damaged, read_only, translated
from rollout.adapters.store.journal_store import SqlJournalStore, state_lock, utc_text
from rollout.adapters.store.locks import Now
from rollout.adapters.store.tables import APPLICATION, REVISION, meta
from rollout.adapters.store.verify import integrity_faults, journal_faults
from rollout.domain.errors import Refused, RolloutError
from rollout.ports.store import ChainFault

_UPGRADE_HINT = "run: rollout state upgrade"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What `rollout state check` found. `current` None: it could not be read, or there is no schema yet."""

    current: str | None
    head: str
    ok: bool
    faults: tuple[ChainFault, ...]
    integrity: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What `create_or_upgrade` did. `before` None: there was nothing. `backup`: copy of an SQLite file made before."""

    before: str | None
    after: str
    backup: Path | None


def open_store(where: str | Path, now: Now, *, busy_seconds: float = BUSY_SECONDS) -> SqlJournalStore:
    """Open a state of the current schema; never creates or changes one.

    Raises `UsageError` for a place that is not understood, `Refused` for a state that is missing, older, newer,
    read-only, damaged or not ours, `Unavailable` for one that is locked or out of reach.
    """
    place = parse_place(where)
    _require_file(place)
    engine = make_engine(place, busy_seconds)
    try:
        with translated(place.label), snapshot(engine).begin() as connection:
            _require_current(current_revision(connection, place.label), place.label)
            if place.path is not None:
                _require_sound(connection, place.label)
            identity = connection.scalars(select(meta.c.id)).one()
    except BaseException:
        engine.dispose()
        raise
    return SqlJournalStore(place, engine, identity, now)


def _require_file(place: Place) -> None:
    if place.path is None:
        return
    try:
        there = place.path.exists()
    except PermissionError as error:
        raise Refused(
            "state-out-of-reach",
            f"cannot open the state {place.label}: this user may not look into its directory",
            hint="run as the state's owner, or name a state of your own: --state",
        ) from error
    if not there:
        raise Refused("state-missing", f"cannot open the state {place.label}: no such file", hint=_UPGRADE_HINT)
    if not place.path.is_file():
        raise Refused(
            "state-not-a-file", f"cannot open the state {place.label}: it is not a file", hint="give the path of a file"
        )
    if not writable(place.path):
        raise read_only(place.label)


def _require_sound(connection: Connection, label: str) -> None:
    found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if found != "ok":
        raise damaged(label, str(found))


def current_revision(connection: Connection, label: str) -> str | None:
    """The schema's number, None when there is nothing yet. Raises `Refused` for another program's database."""
    names = set(inspect(connection).get_table_names())
    if not names:
        return None
    if {"alembic_version", "meta"} <= names:
        revisions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        columns = {column["name"] for column in inspect(connection).get_columns("meta")}
        if len(revisions) == 1 and "application" in columns and _application(connection) == APPLICATION:
            return str(revisions[0])
    if names == {"alembic_version"}:  # what a downgrade to nothing leaves
        return None
    raise Refused(
        "state-foreign",
        f"cannot use the state {label}: it is the database of another program",
        hint="give netkit-rollout a file, a database or a PostgreSQL schema of its own",
    )


def _application(connection: Connection) -> str | None:
    return connection.execute(select(meta.c.application)).scalar_one_or_none()


def _require_current(revision: str | None, label: str) -> None:
    if revision is None:
        raise Refused("state-empty", f"cannot use the state {label}: there is nothing in it yet", hint=_UPGRADE_HINT)
    _refuse_newer(revision, label)
    if revision != REVISION:
        raise Refused(
            "state-older",
            f"cannot use the state {label}: its schema is {revision}, this program needs {REVISION}",
            hint=f"{_UPGRADE_HINT} (it makes a backup first)",
        )


def _refuse_newer(revision: str, label: str) -> None:
    if revision > REVISION:
        raise Refused(
            "state-newer",
            f"cannot use the state {label}: its schema is {revision}, this program knows up to {REVISION}",
            hint="use the newer program that wrote it, or a backup from before its upgrade",
        )


def create_or_upgrade(where: str | Path, now: datetime, *, busy_seconds: float = BUSY_SECONDS) -> Upgrade:
    """Bring a state to the current schema, creating it when there is none. All of it or nothing, and repeat-safe.

    Holds the right to apply meanwhile, so it is refused during a rollout. An SQLite file that held something is copied
    first; of a PostgreSQL database the operator makes his own backup.
    """
    place = parse_place(where)
    if place.path is not None:
        _create_file(place.path, place.label)
    with _engine_of(place, busy_seconds) as engine, state_lock(place, engine, lambda: now).hold("upgrade the state"):
        with translated(place.label), snapshot(engine).begin() as connection:
            before = current_revision(connection, place.label)
            if before is not None:
                _refuse_newer(before, place.label)
        if before == REVISION:
            return Upgrade(before, before, None)
        backup = _back_up(place.path, before, now, place.label) if place.path is not None and before else None
        with translated(place.label), writer(engine).begin() as connection:
            _migrate(connection, place.label)
            if before is None:
                row = {"one": 1, "application": APPLICATION, "id": str(uuid4()), "created": utc_text(now)}
                connection.execute(insert(meta), row)
        return Upgrade(before, REVISION, backup)


@contextmanager
def _engine_of(place: Place, busy_seconds: float) -> Iterator[Engine]:
    engine = make_engine(place, busy_seconds)
    try:
        yield engine
    finally:
        engine.dispose()


def _create_file(path: Path, label: str) -> None:
    """An empty file that only its owner can read, before SQLite would make one that others can."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        _sync_directory(path.parent)
    except FileExistsError as error:
        if not path.is_file():
            raise Refused(
                "state-not-a-file",
                f"cannot create the state {label}: something else is there",
                hint="give another path",
            ) from error
        if not writable(path):
            raise read_only(label) from error
    except PermissionError as error:
        raise read_only(label) from error
    except OSError as error:
        raise Refused(
            "state-not-created", f"cannot create the state {label}: {error.strerror}", hint="give another path"
        ) from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _back_up(path: Path, revision: str, now: datetime, label: str) -> Path:
    """A consistent copy beside the file, what is still in the write-ahead log included."""
    stamp = utc_text(now).replace("-", "").replace(":", "").partition("+")[0]
    backup = path.with_name(f"{path.name}.schema-{revision}.{stamp}Z.backup")
    with translated(label):
        os.close(os.open(backup, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file that can be copied by itself
    _sync_directory(path.parent)
    return backup


def _migrate(connection: Connection, label: str) -> None:
    # Loaded here: 0.2 s that no other command needs.
    from alembic.util import CommandError

    from rollout.adapters.store.migrate import upgrade

    try:
        upgrade(connection)
    except CommandError as error:
        raise Refused(
            "state-not-upgraded",
            f"cannot upgrade the state {label}: {error}",
            hint="nothing was changed; put back a backup, or use the program that wrote it",
        ) from error


def check(where: str | Path, *, busy_seconds: float = BUSY_SECONDS) -> SchemaStatus:
    """Look at all of it: schema, file, references, guards, plans, chains. Damage is an answer here, not an error."""
    place = parse_place(where)
    _require_file(place)
    current: str | None = None
    faults: tuple[ChainFault, ...] = ()
    integrity: tuple[str, ...] = ()
    try:
        with (
            _engine_of(place, busy_seconds) as engine,
            translated(place.label),
            snapshot(engine).begin() as connection,
        ):
            current = current_revision(connection, place.label)
            if current == REVISION:
                integrity = tuple(integrity_faults(connection))
                faults = tuple(journal_faults(connection))
    except (RolloutError, DatabaseError) as error:
        if isinstance(error, RolloutError) and error.code != "state-damaged":
            raise
        integrity = (*integrity, str(error))
    return SchemaStatus(current, REVISION, current == REVISION and not faults and not integrity, faults, integrity)
