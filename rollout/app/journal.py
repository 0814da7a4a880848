"""Reading journals and plans from the store."""

from __future__ import annotations

from rollout.domain.journal import RolloutState, fold
from rollout.domain.plan import Plan, decode_plan
from rollout.ports.store import JournalStore, RolloutRecord


def load(store: JournalStore, reference: str) -> tuple[RolloutRecord, RolloutState]:
    """A rollout and its state. Raises `NotFound`, `UsageError` when the reference is ambiguous."""
    record = store.find(reference)
    return record, fold(store.read(record.id))


def load_plan(store: JournalStore, reference: str) -> Plan:
    """A saved plan, whose bytes the store has held against its digest. Raises `Refused` when it cannot be read."""
    return decode_plan(store.load_plan(reference))


def latest(store: JournalStore) -> RolloutRecord | None:
    """The rollout people mean when they name none: the one started last, else the one planned last."""
    records = store.rollouts()
    started = [r for r in records if r.started is not None]
    if started:
        return max(started, key=lambda r: r.started or r.created)
    return records[-1] if records else None
