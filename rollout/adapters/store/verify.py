"""Is the stored history the one that was written?"""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import Connection, select, text

from rollout.adapters.store.chain import Head, Link, chain_faults
from rollout.adapters.store.tables import GUARDS, heads, journal, plans, rollouts
from rollout.domain.codec import DecodeError, sha256
from rollout.domain.journal import PlanSaved, decode_body
from rollout.ports.store import ChainFault

_BATCH = 1000
_SHOWN = 20
"""Problems SQLite reports before it stops looking; one is enough to stop using a file."""


def journal_faults(connection: Connection) -> Iterator[ChainFault]:
    """Every broken place of every chain. Run it in a snapshot."""
    known = connection.execute(select(rollouts).order_by(rollouts.c.number)).all()
    for row in known:
        stored = connection.execute(select(heads.c.seq, heads.c.hash).where(heads.c.rollout == row.id)).one_or_none()
        head = Head(stored.seq, stored.hash) if stored else None
        yield from chain_faults(row.id, row.digest, links_of(connection, row.id), head)
        yield from _record_faults(connection, row.id, row.digest, row.cluster)
    names = [row.id for row in known]
    for orphan in connection.scalars(select(journal.c.rollout).where(journal.c.rollout.not_in(names)).distinct()):
        yield ChainFault(orphan, 1, "the journal belongs to no rollout")


def _record_faults(connection: Connection, rollout: str, digest: str, cluster: str) -> Iterator[ChainFault]:
    """The rollout's own row against its first entry, which the chain covers."""
    first = connection.execute(
        select(journal.c.type, journal.c.content).where(journal.c.rollout == rollout, journal.c.seq == 1)
    ).one_or_none()
    if first is not None and not _opens(first.type, first.content, digest, cluster):
        yield ChainFault(rollout, 1, "entry 1 is not about this rollout's plan and cluster")


def _opens(tag: str, content: str, digest: str, cluster: str) -> bool:
    try:
        body = decode_body(tag, json.loads(content))
    except (DecodeError, KeyError, ValueError, TypeError):
        return False
    return isinstance(body, PlanSaved) and (body.digest, body.cluster) == (digest, cluster)


def links_of(connection: Connection, rollout: str, up_to: int | None = None) -> Iterator[Link]:
    """A journal's links in order, read in batches."""
    after = 0
    while True:
        query = select(journal).where(journal.c.rollout == rollout, journal.c.seq > after).order_by(journal.c.seq)
        if up_to is not None:
            query = query.where(journal.c.seq <= up_to)
        rows = connection.execute(query.limit(_BATCH)).all()
        yield from (Link(**row._mapping) for row in rows)
        if len(rows) < _BATCH:
            return
        after = rows[-1].seq


def integrity_faults(connection: Connection) -> Iterator[str]:
    """What is wrong beside the chains: the file itself, references, plans' bytes, missing guards."""
    if connection.dialect.name == "sqlite":
        checked = connection.execute(text(f"PRAGMA integrity_check({_SHOWN})")).scalars().all()
        yield from (line for line in checked if line != "ok")
        for row in connection.execute(text("PRAGMA foreign_key_check")):
            yield f"a row of {row[0]} refers to a missing row of {row[2]}"
        present = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
    else:
        present = connection.execute(
            text(
                "SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
                " WHERE c.relnamespace = current_schema()::regnamespace AND t.tgenabled <> 'D'"
            )
        )
    names = set(present.scalars())
    yield from (f"the trigger {name} is missing: history could be rewritten" for name in GUARDS if name not in names)
    yield from _plan_faults(connection)


def _plan_faults(connection: Connection) -> Iterator[str]:
    for row in connection.execute(select(rollouts.c.id, rollouts.c.digest)).all():
        document = connection.scalar(select(plans.c.document).where(plans.c.rollout == row.id))
        if document is None:
            yield f"plan {row.id} is missing"
        elif sha256(document) != row.digest:
            yield f"plan {row.id} does not match its digest"
