"""alembic, driven by program: there is no alembic.ini, and the connection is the caller's."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from rollout.adapters.packaged import packaged_dir


def config(connection: Connection | None = None) -> Config:
    """alembic's configuration. It interpolates %, hence the doubling."""
    made = Config()
    made.set_main_option("script_location", str(packaged_dir("migrations")).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Migrate inside the caller's transaction."""
    command.upgrade(config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Migrate back inside the caller's transaction. For tests and for developers: it drops what the older one lacks."""
    command.downgrade(config(connection), revision)
