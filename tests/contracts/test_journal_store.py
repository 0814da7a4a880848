"""Every `JournalStore` keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.ports.store import JournalStore
from tests.adapters.store.states import fresh_schema, opened
from tests.contracts.journal_store import JournalStoreContract, OpenAgain
from tests.fakes.store import MemoryJournalStore, MemoryState


class TestMemory(JournalStoreContract):
    @pytest.fixture
    def open_again(self) -> OpenAgain:
        state = MemoryState()

        def again() -> JournalStore:
            return MemoryJournalStore(state)

        return again


class TestSqlite(JournalStoreContract):
    @pytest.fixture
    def open_again(self, tmp_path: Path) -> Iterator[OpenAgain]:
        with opened(tmp_path / "state.db") as again:
            yield again


class TestPostgresql(JournalStoreContract):
    @pytest.fixture
    def open_again(self, request: pytest.FixtureRequest) -> Iterator[OpenAgain]:
        with fresh_schema(request.config) as url, opened(url) as again:
            yield again
