"""States to test on: a file in a temporary directory, a schema of its own on a PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, make_url, text

from rollout.adapters.store import SqlJournalStore, create_or_upgrade, open_store

SCRIPT = Path(__file__).parents[3] / "scripts" / "postgresql-for-tests.sh"
NO_SERVER = 3


def now() -> datetime:
    return datetime.now(UTC)


@cache
def _server() -> tuple[str, str, Path | None]:
    """(URL, why there is none, directory to stop), started at most once per run."""
    given = os.environ.get("ROLLOUT_TEST_POSTGRESQL_URL")
    if given:
        return given, "", None
    directory = Path(tempfile.mkdtemp(prefix="rollout-pg-")) / "server"  # short: it holds a socket
    directory.parent.chmod(0o755)  # the server's own directory in it is 0700
    started = subprocess.run([SCRIPT, "start", directory], capture_output=True, text=True, check=False)
    if started.returncode == NO_SERVER:
        shutil.rmtree(directory.parent)
        return "", started.stderr.strip(), None
    if started.returncode:
        raise RuntimeError(f"the test server does not start: {started.stderr}")
    return started.stdout.strip(), "", directory


def server_url(config: pytest.Config) -> str:
    """A server; the test is skipped, with the reason, when there is none."""
    first = not _server.cache_info().currsize
    url, why, directory = _server()
    if first and directory is not None:

        def stop() -> None:
            subprocess.run([SCRIPT, "stop", directory], check=True)
            shutil.rmtree(directory.parent)

        config.add_cleanup(stop)
    if not url:
        pytest.skip(f"PostgreSQL: {why}")
    return url


@contextmanager
def fresh_schema(config: pytest.Config) -> Iterator[str]:
    """The URL of an empty schema."""
    url = make_url(server_url(config)).set(drivername="postgresql+psycopg")
    name = f"t_{uuid4().hex}"
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
        yield url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        engine.dispose()


@contextmanager
def opened(where: str | Path) -> Iterator[Callable[[], SqlJournalStore]]:
    """Create a state; each call opens it once more. All are closed at the end."""
    create_or_upgrade(where, now())
    with ExitStack() as stack:

        def again() -> SqlJournalStore:
            store = open_store(where, now)
            stack.callback(store.close)
            return store

        yield again
