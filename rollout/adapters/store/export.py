"""The whole state as JSON lines, for archives and for people's own tools.

Lines by `kind`: state, rollout, plan, entry, head, observation, end. A plan is its exact text (UTF-8 JSON), an entry
holds its hashes, and `end` counts the lines before it: an export cut short shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, func, select

from rollout.adapters.store.journal_store import SqlJournalStore, observation_of, utc_text
from rollout.adapters.store.tables import REVISION, heads, journal, meta, observations, plans, rollouts

_BATCH = 500


def export(store: SqlJournalStore) -> Iterator[str]:
    """Lines without line ends, all as of one moment.

    The reader may be slow, so no transaction stays open between lines: ends are noted first, and what is append-only is
    then read up to them.
    """
    count = 0
    for count, record in enumerate(_records(store), start=1):  # noqa: B007 - used after the loop
        yield json.dumps(record, sort_keys=True, ensure_ascii=False)
    yield json.dumps({"kind": "end", "lines": count}, sort_keys=True)


def _records(store: SqlJournalStore) -> Iterator[dict[str, Any]]:
    with store.reading() as connection:
        state = connection.execute(select(meta)).one()
        known = connection.execute(
            select(rollouts, heads.c.seq, heads.c.hash)
            .join(heads, heads.c.rollout == rollouts.c.id)
            .order_by(rollouts.c.number)
        ).all()
        last = connection.scalar(select(func.max(observations.c.number))) or 0
    yield {"kind": "state", "id": state.id, "created": state.created, "schema": REVISION}
    for row in known:
        kept = {name: getattr(row, name) for name in ("id", "digest", "cluster", "purpose", "created")}
        yield {"kind": "rollout", **kept}
        with store.reading() as connection:
            document = connection.scalar(select(plans.c.document).where(plans.c.rollout == row.id))
        text = bytes(document or b"").decode(errors="replace")
        yield {"kind": "plan", "rollout": row.id, "document": text}
        for entry in _entries(store, row.id, row.seq):
            yield {"kind": "entry", **entry._mapping}
        yield {"kind": "head", "rollout": row.id, "seq": row.seq, "hash": row.hash}
    yield from _observations(store, last)


def _entries(store: SqlJournalStore, rollout: str, last: int) -> Iterator[Row[*tuple[Any, ...]]]:
    for first in range(0, last, _BATCH):
        query = select(journal).where(
            journal.c.rollout == rollout, journal.c.seq > first, journal.c.seq <= min(first + _BATCH, last)
        )
        with store.reading() as connection:
            rows = connection.execute(query.order_by(journal.c.seq)).all()
        yield from rows


def _observations(store: SqlJournalStore, last: int) -> Iterator[dict[str, Any]]:
    after = 0
    while after < last:
        query = select(observations).where(observations.c.number > after, observations.c.number <= last)
        with store.reading() as connection:
            rows = connection.execute(query.order_by(observations.c.number).limit(_BATCH)).all()
        for row in rows:
            seen = observation_of(row)
            yield {
                "kind": "observation",
                "rollout": row.rollout,
                "attempt": row.attempt,
                "node": seen.node,
                "probe": seen.probe,
                "at": utc_text(seen.at),
                "error": seen.error,
                "document": seen.document,
            }
        after = rows[-1].number if rows else last
