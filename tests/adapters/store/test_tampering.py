"""Rewriting history: refused by the database, found when the refusal is got around."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from rollout.adapters.store import SqlJournalStore, check
from rollout.adapters.store.database import make_engine, parse_place, writer
from rollout.adapters.store.tables import GUARDS
from rollout.domain.errors import Refused
from tests.adapters.store.states import fresh_schema, opened
from tests.contracts.journal_store import NOW, save, start, waiting


class Tampered:
    """A state with two journals, and a way into it that does not go through the store."""

    def __init__(self, where: str | Path, store: SqlJournalStore, raw: Engine) -> None:
        self.where, self.store, self.raw = where, store, raw
        self.one, self.two = save(store, 1).id, save(store, 2).id
        start(store, self.one)
        for rollout in (self.one, self.two):
            store.append(rollout, [waiting(n) for n in range(5)], now=NOW)

    def run(self, *statements: str) -> None:
        with self.raw.begin() as connection:
            for statement in statements:
                connection.execute(text(statement), {"one": self.one, "two": self.two})

    def force(self, *statements: str) -> None:
        """As somebody who knows about the triggers and references would."""
        if self.raw.dialect.name == "sqlite":
            drops = [f"DROP TRIGGER {name}" for name in (*GUARDS, "journal_no_replace")]
            self.run(*drops, "PRAGMA defer_foreign_keys=ON", *statements)
        else:
            self.run("SET LOCAL session_replication_role = replica", *statements)

    def faults(self) -> list[tuple[str, int]]:
        return [(fault.rollout, fault.seq) for fault in self.store.verify_chain()]


@contextmanager
def _tampered(where: str | Path) -> Iterator[Tampered]:
    with opened(where) as again:
        raw = make_engine(parse_place(where))
        yield Tampered(where, again(), writer(raw))
        raw.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tampered]:
    if request.param == "sqlite":
        with _tampered(tmp_path / "state.db") as made:
            yield made
        return
    with fresh_schema(request.config) as url, _tampered(url) as made:
        yield made


REFUSED = (
    "UPDATE journal SET content = '{}' WHERE rollout = :one AND seq = 2",
    "DELETE FROM journal WHERE rollout = :one AND seq = 8",
    "UPDATE plans SET document = document",
    "DELETE FROM plans",
    "UPDATE rollouts SET purpose = 'x'",
    "UPDATE heads SET seq = seq - 1",
    "UPDATE heads SET hash = 'x'",
    "DELETE FROM heads",
    "UPDATE meta SET id = 'x'",
    "DELETE FROM meta",
)


def test_the_database_refuses(state: Tampered) -> None:
    statements = list(REFUSED)
    if state.raw.dialect.name == "sqlite":
        statements.append("INSERT OR REPLACE INTO journal SELECT * FROM journal WHERE rollout = :one AND seq = 2")
    else:
        statements += ["TRUNCATE journal", "TRUNCATE heads"]
    for statement in statements:
        with pytest.raises(DBAPIError, match=r"written once|only move forward|never deleted"):
            state.run(statement)
    assert check(state.where).ok


EDITS = {
    "content": ("UPDATE journal SET content = '{}' WHERE rollout = :one AND seq = 4", [("one", 4)]),
    "time": ("UPDATE journal SET at = '2020' || substr(at, 5) WHERE rollout = :one AND seq = 8", [("one", 8)]),
    "hole": ("DELETE FROM journal WHERE rollout = :one AND seq = 4", [("one", 4)]),
    "cut": ("DELETE FROM journal WHERE rollout = :one AND seq >= 7", [("one", 7)]),
    "all gone": ("DELETE FROM journal WHERE rollout = :one", [("one", 1)]),
    "head moved": ("UPDATE heads SET seq = 5 WHERE rollout = :two", [("two", 6)]),
    "head gone": ("DELETE FROM heads WHERE rollout = :two", [("two", 6)]),
    "other cluster": ("UPDATE rollouts SET cluster = 'c-2' WHERE id = :two", [("two", 1)]),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_gets_past_is_found(state: Tampered, name: str) -> None:
    statement, expected = EDITS[name]
    assert state.faults() == []
    state.force(statement)
    assert state.faults() == [(getattr(state, rollout), seq) for rollout, seq in expected]
    status = check(state.where)
    assert not status.ok
    assert [(fault.rollout, fault.seq) for fault in status.faults] == state.faults()


def test_two_entries_swapped(state: Tampered) -> None:
    state.force(
        "UPDATE journal SET seq = 99 WHERE rollout = :one AND seq = 5",
        "UPDATE journal SET seq = 5 WHERE rollout = :one AND seq = 6",
        "UPDATE journal SET seq = 6 WHERE rollout = :one AND seq = 99",
    )
    assert {seq for _, seq in state.faults()} == {5, 6, 7}


def test_a_changed_plan(state: Tampered) -> None:
    state.force("UPDATE plans SET document = (SELECT document FROM plans WHERE rollout = :two) WHERE rollout = :one")
    with pytest.raises(Refused) as caught:
        state.store.load_plan(state.one)
    assert caught.value.code == "plan-damaged"
    assert any(state.one in line for line in check(state.where).integrity)


def test_missing_guards_are_named(state: Tampered) -> None:
    drop = "DROP TRIGGER journal_no_update" + ("" if state.raw.dialect.name == "sqlite" else " ON journal")
    state.run(drop)
    assert any("journal_no_update" in line for line in check(state.where).integrity)


def test_an_entry_of_a_newer_program(state: Tampered) -> None:
    state.force("UPDATE journal SET type = 'teleported' WHERE rollout = :one AND seq = 4")
    with pytest.raises(Refused) as caught:
        state.store.read(state.one)
    assert caught.value.code == "journal-unreadable"
