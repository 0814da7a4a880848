"""Migrations on both databases: one line of them, there and back, and the tables the program believes in."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from rollout.adapters.packaged import packaged_dir
from rollout.adapters.store import check, create_or_upgrade, migrate, open_store, schema
from rollout.adapters.store.database import make_engine, parse_place, writer
from rollout.adapters.store.tables import REVISION, metadata
from rollout.domain.errors import Refused
from tests.adapters.store.states import fresh_schema, now
from tests.contracts.journal_store import save


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Nothing in it yet; for writing."""
    if request.param == "sqlite":
        path = tmp_path / "state.db"
        path.touch(0o600)
        made = make_engine(parse_place(path))
        yield writer(made)
        made.dispose()
        return
    with fresh_schema(request.config) as url:
        made = make_engine(parse_place(url))
        yield writer(made)
        made.dispose()


def to(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        (migrate.downgrade if revision == "base" else migrate.upgrade)(connection, revision)


def things(engine: Engine) -> set[str]:
    """Tables and everything attached to them."""
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            return set(connection.execute(text("SELECT name FROM sqlite_master")).scalars())
        query = (
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " UNION SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
            " UNION SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
        )
        return set(connection.execute(text(query)).scalars())


def test_one_line_of_growing_numbers_up_to_ours() -> None:
    script = ScriptDirectory.from_config(migrate.config())
    assert script.get_heads() == [REVISION]
    numbers = [revision.revision for revision in script.walk_revisions()][::-1]
    assert numbers == [f"{n:04}" for n in range(1, len(numbers) + 1)]


def test_tables_are_what_migrations_make(engine: Engine) -> None:
    to(engine, "head")
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_checks_and_conditions_are_what_migrations_make(engine: Engine) -> None:
    """What alembic's comparison does not look at: CHECK constraints and partial indexes."""
    to(engine, "head")
    with engine.begin() as connection:
        checks = {c["name"] for t in metadata.tables for c in inspect(connection).get_check_constraints(t)}
        assert checks == {"ck_meta_one_row", "ck_journal_seq_from_one"}
        (index,) = inspect(connection).get_indexes("journal")
        options = index["dialect_options"]
        assert "rollout-decided" in str(options[f"{connection.dialect.name}_where"])


def test_up_down_up(engine: Engine) -> None:
    to(engine, "head")
    first = things(engine)
    to(engine, "base")
    assert {t for t in things(engine) if not t.startswith(("alembic_version", "sqlite_"))} == set()
    to(engine, "head")
    assert things(engine) == first


def test_a_failed_migration_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(RuntimeError), engine.begin() as connection:
        migrate.upgrade(connection)
        raise RuntimeError
    assert things(engine) == set()


NEXT = f"{int(REVISION) + 1:04}"
ONE_MORE = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{next}", "{present}"

def upgrade():
    op.add_column("observations", sa.Column("extra", sa.Text()))
    {then}

def downgrade():
    op.drop_column("observations", "extra")
"""


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program as it may be after one more migration; its file."""
    copy = tmp_path / "100% next" / "migrations"
    shutil.copytree(packaged_dir("migrations"), copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(migrate, "packaged_dir", lambda _name: copy)
    monkeypatch.setattr(schema, "REVISION", NEXT)
    return copy / "versions" / f"{NEXT}_one_more.py"


def test_upgrade_of_a_state_in_use_keeps_a_backup(tmp_path: Path, next_version: Path) -> None:
    path = tmp_path / "state.db"
    with pytest.MonkeyPatch.context() as old:
        old.setattr(schema, "REVISION", REVISION)
        create_or_upgrade(path, now())
        store = open_store(path, now)
    record = save(store)  # stays in the write-ahead log: the store is not closed
    next_version.write_text(ONE_MORE.format(next=NEXT, present=REVISION, then=""))
    with pytest.raises(Refused, match=f"its schema is {REVISION}, this program needs {NEXT}") as caught:
        open_store(path, now)
    assert (caught.value.code, "rollout state upgrade" in caught.value.hint) == ("state-older", True)

    done = create_or_upgrade(path, now())
    assert (done.before, done.after) == (REVISION, NEXT)
    assert check(path).ok
    upgraded = open_store(path, now)
    assert upgraded.find(record.id) == record
    assert upgraded.id == store.id
    upgraded.close()
    store.close()

    assert done.backup is not None
    assert done.backup.stat().st_mode & 0o777 == 0o600
    with pytest.MonkeyPatch.context() as old:
        old.setattr(schema, "REVISION", REVISION)
        assert check(done.backup).ok
        kept = open_store(done.backup, now)
        assert kept.find(record.id) == record
        kept.close()


def test_upgrade_that_fails_changes_nothing(tmp_path: Path, next_version: Path) -> None:
    path = tmp_path / "state.db"
    with pytest.MonkeyPatch.context() as old:
        old.setattr(schema, "REVISION", REVISION)
        create_or_upgrade(path, now())
    next_version.write_text(ONE_MORE.format(next=NEXT, present=REVISION, then="raise RuntimeError('second thoughts')"))
    with pytest.raises(RuntimeError, match="second thoughts"):
        create_or_upgrade(path, now())
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == (REVISION,)
        assert "extra" not in {row[1] for row in raw.execute("PRAGMA table_info(observations)")}


def test_upgrade_is_refused_during_a_rollout(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_or_upgrade(path, now())
    store = open_store(path, now)
    with store.exclusive(save(store).id), pytest.raises(Refused) as caught:
        create_or_upgrade(path, now())
    assert caught.value.code == "already-running"
    store.close()


def test_upgrade_is_repeat_safe(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.db"
    assert create_or_upgrade(path, now()).before is None
    store = open_store(path, now)
    again = create_or_upgrade(path, now())
    assert (again.before, again.after, again.backup) == (REVISION, REVISION, None)
    assert open_store(path, now).id == store.id
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {f.name: oct(f.stat().st_mode & 0o777) for f in path.parent.iterdir()} == {
        f"state.db{suffix}": "0o600" for suffix in ("", "-wal", "-shm", ".lock")
    }
    store.close()


def test_unknown_older_revision(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    create_or_upgrade(path, now())
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0000'")
        raw.commit()
    with pytest.raises(Refused) as caught:
        create_or_upgrade(path, now())
    assert caught.value.code == "state-not-upgraded"
