"""Progress for people."""

from __future__ import annotations

from typing import Protocol

from rollout.domain.journal import Entry, RolloutState


class Reporter(Protocol):
    """Told of every durable entry. Never fails the rollout: an adapter swallows its own errors."""

    def entries(self, entries: tuple[Entry, ...], state: RolloutState) -> None:
        """Entries that are durable now, and the state after them."""
        ...

    def note(self, message: str) -> None:
        """One plain line."""
        ...
