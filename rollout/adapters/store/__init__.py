"""The state database: SQLite by default, PostgreSQL by URL.

Rules of this package:
- Opening never changes a state (`open_store`); only `create_or_upgrade` does, after a backup.
- Every write is one short transaction. On SQLite it begins IMMEDIATE: a deferred one that reads before it writes fails
  at once when another process wrote in between, whatever its timeout.
- Errors of SQLAlchemy, sqlite3 and psycopg leave through `errors.translated` only.
- Migrations are data: found and run by alembic, imported by nobody.
"""

from rollout.adapters.store.export import export
from rollout.adapters.store.journal_store import SqlJournalStore
from rollout.adapters.store.schema import SchemaStatus, Upgrade, check, create_or_upgrade, open_store

__all__ = ["SchemaStatus", "SqlJournalStore", "Upgrade", "check", "create_or_upgrade", "export", "open_store"]
