"""What SQLite and PostgreSQL say, in the words of the error tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rollout.domain.errors import Refused, RolloutError, Unavailable

_PRIMARY = 0xFF
"""SQLite's extended result codes carry the primary one in their low byte."""


def read_only(label: str) -> Refused:
    """The state cannot be written to."""
    return Refused(
        "state-read-only",
        f"cannot write to the state {label}: it, or the directory it is in, is read-only",
        hint="run as the user who owns it, or point --state at a writable copy",
    )


def damaged(label: str, detail: str) -> Refused:
    """The state cannot be trusted."""
    return Refused(
        "state-damaged",
        f"cannot use the state {label}: it is damaged ({detail})",
        hint="copy it aside, together with its -wal file, before anything else; then put back the newest backup",
    )


def _locked(label: str) -> Unavailable:
    return Unavailable(
        "state-locked",
        f"cannot use the state {label}: another process has kept it locked",
        hint="find who holds it (fuser, pg_locks), then repeat the command; nothing was written",
    )


def _disk_full(label: str) -> Unavailable:
    return Unavailable(
        "state-disk-full",
        f"cannot write to the state {label}: the disk is full",
        hint="free some space, then repeat the command; nothing was written",
    )


def _unreachable(label: str, detail: str) -> Unavailable:
    return Unavailable(
        "state-unreachable",
        f"cannot reach the state {label}: {detail}",
        hint="once it answers, repeat the command; a write that was under way may or may not have happened",
    )


def _from_sqlite(error: sqlite3.Error, label: str) -> RolloutError | None:
    primary = getattr(error, "sqlite_errorcode", 0) & _PRIMARY
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return _locked(label)
    if primary == sqlite3.SQLITE_FULL:
        return _disk_full(label)
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return read_only(label)
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(label, str(error))
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return _unreachable(label, str(error))
    return None


_UNREACHABLE_CLASSES = ("08", "57", "53", "40")
"""SQLSTATE classes: connection lost, server stopping, out of resources, rolled back by the server."""


def _from_postgresql(error: BaseException, label: str) -> RolloutError | None:
    state = getattr(error, "sqlstate", None)
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if state is None:
        return _unreachable(label, text)
    if state == "55P03":
        return _locked(label)
    if state == "53100":
        return _disk_full(label)
    if state in ("25006", "42501"):
        return read_only(label)
    if state.startswith("XX"):
        return damaged(label, text)
    if state.startswith(_UNREACHABLE_CLASSES):
        return _unreachable(label, text)
    return None


def _translate(error: Exception, label: str) -> RolloutError | None:
    if isinstance(error, PoolTimeout):
        return _unreachable(label, "every connection is in use")
    origin = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(origin, sqlite3.Error):
        return _from_sqlite(origin, label)
    if isinstance(error, DBAPIError) and origin is not None and type(origin).__name__ in _PSYCOPG_FAMILIES:
        return _from_postgresql(origin, label)
    if isinstance(error, DBAPIError) and origin is not None and getattr(origin, "sqlstate", None):
        return _from_postgresql(origin, label)
    return None


_PSYCOPG_FAMILIES = ("OperationalError", "InterfaceError", "ConnectionTimeout")
"""psycopg's errors without a SQLSTATE that mean the server could not be spoken to."""


@contextmanager
def translated(label: str) -> Iterator[None]:
    """Raise ours instead of the database's. What has no place in the tree is a bug and passes as it is."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        ours = _translate(error, label)
        if ours is None:
            raise
        raise ours from error
