"""First schema: rollouts, plans, journal, observations, and the triggers that keep history as it was written."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_FIXED = ("meta", "rollouts", "plans", "journal")
"""Tables whose rows are written once."""


def upgrade() -> None:
    _create_tables()
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _create_tables() -> None:
    op.create_table(
        "meta",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_meta_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_meta")),
    )
    op.create_table(
        "rollouts",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rollouts")),
        sa.UniqueConstraint("id", name=op.f("uq_rollouts_id")),
        sa.UniqueConstraint("digest", name=op.f("uq_rollouts_digest")),
    )
    op.create_table(
        "plans",
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_plans_rollout")),
        sa.PrimaryKeyConstraint("rollout", name=op.f("pk_plans")),
    )
    op.create_table(
        "heads",
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_heads_rollout")),
        sa.PrimaryKeyConstraint("rollout", name=op.f("pk_heads")),
    )
    op.create_table(
        "journal",
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_journal_seq_from_one")),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_journal_rollout")),
        sa.PrimaryKeyConstraint("rollout", "seq", name=op.f("pk_journal")),
    )
    decisions = sa.text("type = 'rollout-decided'")
    op.create_index(
        "ix_journal_decisions", "journal", ["rollout", "seq"], sqlite_where=decisions, postgresql_where=decisions
    )
    op.create_table(
        "observations",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("rollout", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("probe", sa.Text(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"], name=op.f("fk_observations_rollout")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_observations")),
    )
    op.create_index("ix_observations_node", "observations", ["rollout", "node", "number"])


def _guard_sqlite() -> None:
    for table in _FIXED:
        for act in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is written once: no {act}'); END"
            )
    # INSERT OR REPLACE deletes without asking the trigger above.
    op.execute(
        "CREATE TRIGGER journal_no_replace BEFORE INSERT ON journal"
        " WHEN EXISTS (SELECT 1 FROM journal WHERE rollout = NEW.rollout AND seq = NEW.seq)"
        " BEGIN SELECT RAISE(ABORT, 'journal is written once: no replace'); END"
    )
    op.execute(
        "CREATE TRIGGER heads_forward BEFORE UPDATE ON heads WHEN NEW.seq <= OLD.seq OR NEW.rollout <> OLD.rollout"
        " BEGIN SELECT RAISE(ABORT, 'heads only move forward'); END"
    )
    op.execute(
        "CREATE TRIGGER heads_no_delete BEFORE DELETE ON heads"
        " BEGIN SELECT RAISE(ABORT, 'heads is never deleted from'); END"
    )


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION rollout_refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is written once: no %', TG_TABLE_NAME, lower(TG_OP); END $$"
    )
    refuse = "EXECUTE FUNCTION rollout_refuse()"
    for table in _FIXED:
        for act in ("update", "delete"):
            op.execute(f"CREATE TRIGGER {table}_no_{act} BEFORE {act} ON {table} FOR EACH ROW {refuse}")
    op.execute(
        "CREATE TRIGGER heads_forward BEFORE UPDATE ON heads FOR EACH ROW"
        f" WHEN (NEW.seq <= OLD.seq OR NEW.rollout <> OLD.rollout) {refuse}"
    )
    op.execute(f"CREATE TRIGGER heads_no_delete BEFORE DELETE ON heads FOR EACH ROW {refuse}")
    for table in (*_FIXED, "heads"):
        op.execute(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}")


def downgrade() -> None:
    """Back to nothing: every rollout is lost. Not offered on the command line."""
    for table in ("observations", "journal", "heads", "plans", "rollouts", "meta"):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION rollout_refuse()")
