"""`JournalStore` in memory. Several stores may share one `MemoryState`, as processes share a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from uuid import uuid4

from rollout.domain.codec import canonical
from rollout.domain.errors import Conflict, NotFound, Refused, UsageError
from rollout.domain.inventory import Observation
from rollout.domain.journal import Body, Entry, PlanSaved, decode_body, encode_body, fold
from rollout.ports.store import ChainFault, RolloutRecord


@dataclass
class MemoryState:
    """What a state file holds."""

    id: str = field(default_factory=lambda: str(uuid4()))
    records: dict[str, RolloutRecord] = field(default_factory=dict)
    plans: dict[str, bytes] = field(default_factory=dict)
    journals: dict[str, list[Entry]] = field(default_factory=dict)
    observations: list[tuple[str, str, Observation]] = field(default_factory=list)
    holder: str = ""
    lock: RLock = field(default_factory=RLock)


class MemoryJournalStore:
    """Keeps the contract, the durable part aside."""

    def __init__(self, state: MemoryState | None = None) -> None:
        self.state = state or MemoryState()
        self._commits = 0

    @property
    def id(self) -> str:
        return self.state.id

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
        with self.state.lock:
            if digest[:12] not in self.state.records:
                record = RolloutRecord(digest[:12], digest, cluster, purpose, _utc(now), None)
                self.state.records[record.id] = record
                self.state.plans[record.id] = document
                self.state.journals[record.id] = []
                self.append(record.id, [PlanSaved(digest, cluster, by, account)], now=now)
            return self.find(digest)

    def load_plan(self, rollout: str) -> bytes:
        return self.state.plans[self.find(rollout).id]

    def find(self, reference: str) -> RolloutRecord:
        found = [r for r in self.rollouts() if len(reference) >= 6 and r.digest.startswith(reference)]
        if not found:
            raise NotFound("rollout-not-found", f"cannot find a rollout {reference!r}", hint="see: rollout status")
        if len(found) > 1:
            raise UsageError("rollout-ambiguous", f"cannot tell which rollout {reference!r} is", hint="give more")
        return found[0]

    def rollouts(self) -> tuple[RolloutRecord, ...]:
        with self.state.lock:
            return tuple(
                RolloutRecord(r.id, r.digest, r.cluster, r.purpose, r.created, fold(self.state.journals[r.id]).started)
                for r in self.state.records.values()
            )

    def serial(self, cluster: str) -> int:
        return 1 + sum(r.cluster == cluster and r.started is not None for r in self.rollouts())

    def append(
        self, rollout: str, bodies: Sequence[Body], *, now: datetime, expect_seq: int | None = None
    ) -> tuple[Entry, ...]:
        stored = [_through_json(body) for body in bodies]
        if not stored:
            return ()
        with self.state.lock:
            journal = self._journal(rollout)
            if expect_seq is not None and expect_seq != len(journal):
                raise Conflict("journal-moved", f"cannot write to the journal of {rollout}", hint="repeat the command")
            entries = [Entry(seq, _utc(now), body) for seq, body in enumerate(stored, len(journal) + 1)]
            journal.extend(entries)
            self._commits += 1
            return tuple(entries)

    def read(self, rollout: str, after_seq: int = 0) -> tuple[Entry, ...]:
        with self.state.lock:
            if after_seq and rollout not in self.state.journals:
                return ()
            return tuple(self._journal(rollout)[after_seq:])

    def _journal(self, rollout: str) -> list[Entry]:
        if rollout not in self.state.journals:
            raise NotFound("rollout-not-found", f"cannot find a rollout {rollout!r}", hint="see: rollout status")
        return self.state.journals[rollout]

    def save_observations(self, rollout: str, attempt: str, observations: Sequence[Observation]) -> None:
        if not observations:
            return
        with self.state.lock:
            self._journal(rollout)
            for item in observations:
                document = json.loads(json.dumps(item.document))
                kept = Observation(item.node, item.probe, _utc(item.at), document, item.error, item.code)
                self.state.observations.append((rollout, attempt, kept))
            self._commits += 1

    def observations(self, rollout: str, node: str, attempt: str | None = None) -> tuple[tuple[str, Observation], ...]:
        with self.state.lock:
            return tuple(
                (made, item)
                for owner, made, item in self.state.observations
                if owner == rollout and item.node == node and attempt in (None, made)
            )

    def exclusive(self, rollout: str) -> AbstractContextManager[None]:
        return self._exclusive(rollout)

    @contextmanager
    def _exclusive(self, rollout: str) -> Iterator[None]:
        with self.state.lock:
            if self.state.holder:
                raise Refused("already-running", f"cannot apply {rollout}: {self.state.holder} is", hint="wait")
            self.state.holder = f"process of {rollout}"
        try:
            yield
        finally:
            self.state.holder = ""

    def verify_chain(self) -> tuple[ChainFault, ...]:
        return ()

    def commits(self) -> int:
        return self._commits

    def close(self) -> None:
        pass


def _through_json(body: Body) -> Body:
    """As a real store gives it back; what cannot be encoded fails here as there."""
    tag, plain = encode_body(body)
    return decode_body(tag, json.loads(canonical(plain)))


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment.astimezone(UTC)
