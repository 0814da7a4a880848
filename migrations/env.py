"""Run by alembic, on the connection and inside the transaction that the program hands over (`state upgrade`)."""

from __future__ import annotations

from alembic import context

from rollout.adapters.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("cannot migrate without a connection: run `rollout state upgrade`")

# render_as_batch: SQLite changes a table by copying it.
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
