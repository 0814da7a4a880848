"""What the contract cannot ask of every store: processes, crashes, full disks, names of holders."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from rollout.adapters.store import SqlJournalStore, check, create_or_upgrade, export, open_store
from rollout.adapters.store.database import make_engine, parse_place
from rollout.adapters.store.journal_store import _DECISIONS
from rollout.domain.errors import Refused, Unavailable
from rollout.domain.inventory import Observation
from tests.adapters.store.states import fresh_schema, now, opened
from tests.contracts.journal_store import NOW, plan_text, save, start, waiting

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from datetime import UTC, datetime
from rollout.adapters.store import open_store
from rollout.domain.journal import Waiting
from rollout.domain.step import StepKind
where, rollout, act = sys.argv[1:]
now = lambda: datetime.now(UTC)
store = open_store(where, now)
if act == "hold":
    with store.exclusive(rollout):
        print("held", flush=True)
        sys.stdin.read()
else:
    count = int(act)
    while count:
        entry = store.append(rollout, [Waiting("n1", StepKind.DRAIN, "x" * 100)] * 3, now=now())[-1]
        print(entry.seq, flush=True)
        count -= 1
store.close()
"""


def process(where: str | Path, rollout: str, act: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(where), rollout, act]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "state.db"
    create_or_upgrade(made, now())
    return made


@pytest.fixture
def store(path: Path) -> Iterator[SqlJournalStore]:
    made = open_store(path, now, busy_seconds=0.3)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Either kind of state."""
    if request.param == "sqlite":
        yield str(tmp_path / "state.db")
    else:
        with fresh_schema(request.config) as url:
            yield url


def test_two_processes_append(where: str) -> None:
    with opened(where) as again:
        store = again()
        rollout = save(store).id
        writers = [process(where, rollout, "40") for _ in range(2)]
        seen = [[int(line) for line in writer.communicate(timeout=30)[0].split()] for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0]
        assert sorted(seen[0] + seen[1]) == list(range(4, 242, 3))  # each transaction's entries stayed together
        assert [entry.seq for entry in store.read(rollout)] == list(range(1, 242))
        assert store.verify_chain() == ()


def test_killed_writer_leaves_a_whole_chain(where: str) -> None:
    with opened(where) as again:
        store = again()
        rollout = save(store).id
        for kills in (3, 20, 45):
            with process(where, rollout, "-1") as writer:
                assert writer.stdout is not None
                said = [writer.stdout.readline() for _ in range(kills)]
                writer.send_signal(signal.SIGKILL)
                said += writer.stdout.readlines()
            acknowledged = max(int(line) for line in said if line.endswith("\n"))
            stored = store.read(rollout)[-1].seq
            assert stored >= acknowledged
            assert (stored - 1) % 3 == 0
            assert store.verify_chain() == ()
    assert check(where).ok


def test_holder_is_named_and_its_death_frees(where: str) -> None:
    with opened(where) as again:
        store = again()
        rollout = save(store).id
        with process(where, rollout, "hold") as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(Refused) as caught, store.exclusive(rollout):
                raise AssertionError("two hold it")
            assert caught.value.code == "already-running"
            assert str(holder.pid) in caught.value.message
            assert socket.gethostname()[:15] in caught.value.message
            assert "since" in caught.value.message
            holder.kill()
            holder.wait()
        _until_free(store, rollout)


def _until_free(store: SqlJournalStore, rollout: str) -> None:
    """A server notices the end of a connection in its own time; a file lock is gone at once."""
    for _ in range(100):
        try:
            with store.exclusive(rollout):
                return
        except Refused:
            subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("still held")


def test_lock_file_content_of_a_dead_holder_does_not_count(path: Path, store: SqlJournalStore) -> None:
    lock = path.with_name("state.db.lock")
    lock.write_text('{"pid": 1, "host": "gone"}')
    with store.exclusive("r1"):
        held = json.loads(lock.read_text())
        assert (held["pid"], held["purpose"]) == (os.getpid(), "apply r1")
    assert lock.read_text() == ""
    with store.exclusive("r1"):
        lock.write_text("no JSON")
        with pytest.raises(Refused, match="another process"), store.exclusive("r1"):
            raise AssertionError("two hold it")


def test_locked_too_long(path: Path, store: SqlJournalStore) -> None:
    rollout = save(store).id
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as caught:
            store.append(rollout, [waiting(1)], now=NOW)
        assert caught.value.code == "state-locked"
        assert len(store.read(rollout)) == 1  # readers are not held up
        other.execute("ROLLBACK")
    store.append(rollout, [waiting(1)], now=NOW, expect_seq=1)
    assert store.commits() == 2


def test_disk_full(path: Path) -> None:
    """SQLite is told that the file may not grow: the same code and the same path as a full disk."""
    store = open_store(path, now)
    rollout = save(store).id
    engine = store._engine
    engine.dispose()

    @event.listens_for(engine, "connect")
    def _limit(connection: Any, _record: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 2}")

    with pytest.raises(Unavailable) as caught:
        store.append(rollout, [waiting(n) for n in range(500)], now=NOW)
    assert caught.value.code == "state-disk-full"
    assert store.append(rollout, [waiting(1)], now=NOW)[0].seq == 2
    assert store.verify_chain() == ()
    store.close()


def test_became_read_only(store: SqlJournalStore) -> None:
    rollout = save(store).id
    store._engine.dispose()

    @event.listens_for(store._engine, "connect")
    def _read_only(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")  # SQLITE_READONLY, as a remounted file system gives

    with pytest.raises(Refused) as caught:
        store.append(rollout, [waiting(1)], now=NOW)
    assert caught.value.code == "state-read-only"
    assert len(store.read(rollout)) == 1


@pytest.mark.parametrize("replaced", [True, False])
def test_file_replaced_or_deleted_under_us(path: Path, store: SqlJournalStore, replaced: bool) -> None:
    rollout = save(store).id
    path.rename(path.with_suffix(".old"))
    if replaced:
        path.write_bytes(path.with_suffix(".old").read_bytes())
    with pytest.raises(Refused) as caught:
        store.append(rollout, [waiting(1)], now=NOW)
    assert caught.value.code == "state-replaced"


def test_starts_are_found_by_their_index(store: SqlJournalStore) -> None:
    with store.reading() as connection:
        plan = connection.execute(text(f"EXPLAIN QUERY PLAN {_DECISIONS}")).all()
    assert [str(row[3]) for row in plan] == ["SCAN journal USING INDEX ix_journal_decisions"]


def test_digest_of_something_else(store: SqlJournalStore) -> None:
    with pytest.raises(ValueError, match="digest"):
        store.save_plan(b"{}", digest="0" * 64, cluster="c", purpose="rollout", now=NOW)


def test_export(where: str) -> None:
    with opened(where) as again:
        store = again()
        one, two = save(store, 1), save(store, 2)
        start(store, one.id)
        store.append(two.id, [waiting(n) for n in range(1200)], now=NOW)
        seen = [Observation(f"n{n}", "links", NOW, {"rate": 0.5}) for n in range(3)]
        store.save_observations(one.id, "baseline/1", seen)
        lines = export(store)
        first = next(lines)
        store.append(one.id, [waiting(9)], now=NOW)  # too late for this export
        records = [json.loads(line) for line in [first, *lines]]
    kinds = [record["kind"] for record in records]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "state": 1, "rollout": 2, "plan": 2, "entry": 3 + 1201, "head": 2, "observation": 3, "end": 1,
    }  # fmt: skip
    assert records[0]["id"] == store.id
    assert [r["document"].encode() for r in records if r["kind"] == "plan"] == [plan_text(1), plan_text(2)]
    entries = [r for r in records if r["kind"] == "entry" and r["rollout"] == two.id]
    heads = [r for r in records if r["kind"] == "head"]
    assert entries[-1]["hash"] == heads[1]["hash"]
    assert records[-1]["lines"] == len(records) - 1


def test_postgresql_row_locked_too_long(request: pytest.FixtureRequest) -> None:
    with fresh_schema(request.config) as url:
        create_or_upgrade(url, now())
        store = open_store(url, now, busy_seconds=0.2)
        rollout = save(store).id
        other = make_engine(parse_place(url))
        with other.begin() as connection:
            connection.execute(text("SELECT 1 FROM heads FOR UPDATE"))
            with pytest.raises(Unavailable) as caught:
                store.append(rollout, [waiting(1)], now=NOW)
        assert caught.value.code == "state-locked"
        assert store.append(rollout, [waiting(1)], now=NOW)[0].seq == 2
        other.dispose()
        store.close()


def test_postgresql_server_gone_and_back(request: pytest.FixtureRequest) -> None:
    """The server ends the connection in the middle of a transaction; the next call gets a new one."""
    with fresh_schema(request.config) as url:
        create_or_upgrade(url, now())
        store = open_store(url, now)
        rollout = save(store).id

        @event.listens_for(store._engine, "before_cursor_execute")
        def _die(connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.startswith("INSERT INTO journal") and not died:
                died.append(True)
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        died: list[bool] = []
        with pytest.raises(Unavailable) as caught:
            store.append(rollout, [waiting(1)], now=NOW)
        assert caught.value.code == "state-unreachable"
        assert store.append(rollout, [waiting(1)], now=NOW)[0].seq == 2
        store.close()


def test_postgresql_read_only_server(request: pytest.FixtureRequest) -> None:
    with fresh_schema(request.config) as url:
        create_or_upgrade(url, now())
        store = open_store(url.replace("search_path", "default_transaction_read_only=on%20-csearch_path"), now)
        with pytest.raises(Refused) as caught:
            save(store)
        assert caught.value.code == "state-read-only"
        store.close()


def test_postgresql_commits_are_durable_whatever_the_server_says(request: pytest.FixtureRequest) -> None:
    with fresh_schema(request.config) as url:
        for asked, got in (("off", "on"), ("remote_write", "remote_write")):
            engine = make_engine(parse_place(url.replace("search_path", f"synchronous_commit={asked}%20-csearch_path")))
            with engine.begin() as connection:
                assert connection.scalar(text("SHOW synchronous_commit")) == got
            engine.dispose()
