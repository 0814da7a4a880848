"""The one right to apply from a state. It ends with its process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from rollout.adapters.store.errors import read_only, translated
from rollout.domain.errors import Refused, Unavailable

Now = Callable[[], datetime]


class Lock(Protocol):
    """Excludes every other holder on this state."""

    def hold(self, purpose: str) -> AbstractContextManager[None]:
        """Hold it for `purpose` (apply 1a2b3c…). Raises `Refused` (`already-running`) naming the holder."""
        ...


def _already_running(purpose: str, label: str, holder: str) -> Refused:
    return Refused(
        "already-running",
        f"cannot {purpose}: {holder} is working from the state {label}",
        hint="follow it with: rollout status; stop it with: rollout pause",
    )


class FileLock:
    """flock on `<state>.lock`. Who holds it is written inside; the text counts only while the lock is held.

    The file stays: deleting it would let two processes lock two files of one name. A forked child that does not exec
    inherits the lock; programs we start do not (close-on-exec).
    """

    def __init__(self, state: Path, now: Now) -> None:
        self._path = state.with_name(state.name + ".lock")
        self._label = str(state)
        self._now = now

    @contextmanager
    def hold(self, purpose: str) -> Iterator[None]:
        """Hold it."""
        descriptor = self._open()
        try:
            self._take(descriptor, purpose)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise read_only(self._label) from error
            raise self._unavailable(error) from error

    def _take(self, descriptor: int, purpose: str) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _already_running(purpose, self._label, _holder(os.pread(descriptor, 4096, 0))) from error
        except OSError as error:
            raise self._unavailable(error) from error
        since = self._now().astimezone(UTC).isoformat(timespec="seconds")
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "purpose": purpose}
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)
        except OSError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: OSError) -> Unavailable:
        return Unavailable(
            "state-lock",
            f"cannot lock {self._path}: {error.strerror}",
            hint="keep the state on a local disk with some space left",
        )


def _holder(content: bytes) -> str:
    """The holder in words; it may not have written its name yet."""
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']}: {holder['purpose']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


# One lock per schema, whatever the database is called; the key is computed by the server, so every client agrees.
_KEY = "SELECT hashtextextended('netkit-rollout:' || current_schema(), 0)"
_NAME_LIMIT = 63


class AdvisoryLock:
    """PostgreSQL's session lock on a connection of its own, which is named after the holder for others to read.

    It does not work through a pooler that shares sessions between transactions. When the server restarts, the right is
    lost without a word; the Lease in the cluster, and its fencing number, stand behind it.
    """

    def __init__(self, engine: Engine, label: str, now: Now) -> None:
        self._engine = engine
        self._label = label
        self._now = now

    @contextmanager
    def hold(self, purpose: str) -> Iterator[None]:
        """Hold it."""
        with translated(self._label):
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            with translated(self._label):
                connection.detach()  # closed at the end instead of going back to the pool under the holder's name
                self._take(connection, purpose)
            yield
        finally:
            _give_back(connection)

    def _take(self, connection: Connection, purpose: str) -> None:
        """The name first, so that whoever is refused can read it."""
        since = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = f"rollout pid={os.getpid()} since={since} host={socket.gethostname()}"
        connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name[:_NAME_LIMIT]})
        key = connection.scalar(text(_KEY))
        if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
            return
        holder = connection.scalar(
            text(
                "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
                " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND ((l.classid::bigint << 32) | l.objid::bigint) = :key"
            ),
            {"key": key},
        )
        raise _already_running(purpose, self._label, holder or "another process")


def _give_back(connection: Connection) -> None:
    """Unlock before closing: the server ends a closed session in its own time. A lost one has unlocked already."""
    with suppress(SQLAlchemyError):
        connection.execute(text("SELECT pg_advisory_unlock_all()"))
    connection.close()
