"""Durable state: plans, journals, observations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rollout.domain.inventory import Observation
from rollout.domain.journal import Body, Entry


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """A rollout: its id is the first 12 characters of its plan's digest. `started` None: never applied."""

    id: str
    digest: str
    cluster: str
    purpose: str
    created: datetime
    started: datetime | None


@dataclass(frozen=True, slots=True)
class ChainFault:
    """Where a journal's hash chain does not hold."""

    rollout: str
    seq: int
    message: str


class JournalStore(Protocol):
    """Plans and journals.

    Duties: a call returns only after what it wrote is durable; entries are append-only and hash-chained (each row's
    hash covers the previous row's hash, its own seq, time, type and content); `append` writes all its entries in one
    transaction or none, nothing at all when there are none, and returns them as stored. Times are timezone-aware UTC.
    Raises `NotFound` for an unknown rollout; `Conflict` (`journal-moved`) when another process appended in between;
    `Unavailable` when locked too long or out of disk; `Refused` for a state file of another schema, a read-only or
    damaged one (message names the file and the way out). Usable from several threads.
    """

    @property
    def id(self) -> str:
        """A UUID made when the state was created; part of the lease holder's name."""
        ...

    def save_plan(
        self,
        document: bytes,
        *,
        digest: str,
        cluster: str,
        purpose: str,
        now: datetime,
        by: str = "",
        account: str = "",
    ) -> RolloutRecord:
        """Save a plan and open its journal with `PlanSaved`. Repeat-safe: the same digest is saved once.

        `by`: who made it, `account`: from which account; whoever made it first is its maker.
        """
        ...

    def load_plan(self, rollout: str) -> bytes:
        """A plan's exact bytes, by rollout id, full digest or a unique prefix of 6 or more.

        Raises `NotFound`; `Refused` (`plan-damaged`) for bytes that are not those of the digest.
        """
        ...

    def find(self, reference: str) -> RolloutRecord:
        """A rollout by id, digest or unique prefix. Raises `NotFound`; `UsageError` when ambiguous."""
        ...

    def rollouts(self) -> tuple[RolloutRecord, ...]:
        """All rollouts, oldest first."""
        ...

    def serial(self, cluster: str) -> int:
        """How many rollouts on this cluster were started so far, plus one."""
        ...

    def append(
        self, rollout: str, bodies: Sequence[Body], *, now: datetime, expect_seq: int | None = None
    ) -> tuple[Entry, ...]:
        """Append in one transaction. `expect_seq`: last seq the caller has seen; another one raises `Conflict`."""
        ...

    def read(self, rollout: str, after_seq: int = 0) -> tuple[Entry, ...]:
        """Entries with a higher seq, in order. Cheap when there are none: it is asked twice a second."""
        ...

    def save_observations(self, rollout: str, attempt: str, observations: Sequence[Observation]) -> None:
        """Store observations as received. `attempt` tells them apart, e.g. `baseline/1`."""
        ...

    def observations(self, rollout: str, node: str, attempt: str | None = None) -> tuple[tuple[str, Observation], ...]:
        """Stored observations of a node as (attempt, observation), oldest first."""
        ...

    def exclusive(self, rollout: str) -> AbstractContextManager[None]:
        """Hold the one right to apply from this state; ends with the process. Raises `Refused` (`already-running`)."""
        ...

    def verify_chain(self) -> tuple[ChainFault, ...]:
        """Every place where a journal was edited, cut or reordered; empty when whole."""
        ...

    def commits(self) -> int:
        """Write transactions committed by this object so far, for the budget."""
        ...

    def close(self) -> None:
        """Close connections. Repeat-safe."""
        ...
