"""The tables, as the newest migration leaves them (tests/migrations holds the two together).

Decision: no table of approvals. An approval is a journal entry (`approved`), hash-chained like any other, and `fold()`
returns them; a table beside it would be a second truth to disagree with. Likewise a rollout's start is read from its
journal through a partial index, not kept in a column.

Decision: `heads` holds each journal's last seq and hash, moved forward in the transaction that appends. It is what
tells a journal cut at its end from a shorter one, it makes an append independent of the journal's length, and its row
lock orders appenders on PostgreSQL.

Decision: times are text, ISO 8601 in UTC with microseconds. The hash covers exactly what is stored, and both databases
give back exactly what was given.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

REVISION = "0002"
"""The schema this program works with: the newest migration's number. Numbers grow, so older and newer can be told."""

APPLICATION = "netkit-rollout"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("application", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("created", Text, nullable=False),
    CheckConstraint("one = 1", name="one_row"),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("digest", Text, nullable=False, unique=True),
    Column("cluster", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("created", Text, nullable=False),
)
"""`number` orders them: two may be planned within one tick of a clock, and clocks are set back."""

plans = Table(
    "plans",
    metadata,
    Column("rollout", Text, ForeignKey("rollouts.id"), primary_key=True),
    Column("document", LargeBinary, nullable=False),
)

heads = Table(
    "heads",
    metadata,
    Column("rollout", Text, ForeignKey("rollouts.id"), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("rollout", Text, ForeignKey("rollouts.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint("seq >= 1", name="seq_from_one"),
)
Index(
    "ix_journal_decisions",
    journal.c.rollout,
    journal.c.seq,
    sqlite_where=text("type = 'rollout-decided'"),
    postgresql_where=text("type = 'rollout-decided'"),
)

observations = Table(
    "observations",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("rollout", Text, ForeignKey("rollouts.id"), nullable=False),
    Column("node", Text, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("probe", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("code", Text, nullable=False, server_default=text("''")),
    Index("ix_observations_node", "rollout", "node", "number"),
)
"""`document`: zlib-compressed JSON, floats and all, as the probe gave it."""

GUARDS = (
    "meta_no_update",
    "meta_no_delete",
    "rollouts_no_update",
    "rollouts_no_delete",
    "plans_no_update",
    "plans_no_delete",
    "journal_no_update",
    "journal_no_delete",
    "heads_forward",
    "heads_no_delete",
)
"""Triggers that refuse to rewrite history. They stop slips; the hash chain finds what gets past them."""
