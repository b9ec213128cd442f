"""Backups that drills take of a database in use, and restore later: of a file its copy, on a server its rows."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, MetaData, create_engine, insert, select, text

from ops.deployment import Deployment

Restore = Callable[[], None]
"""Puts a backup in the place of what is there now; the services must be down."""


def take(deployment: Deployment, name: str) -> Restore:
    """Back up the database of a service, or the embedded broker's (`broker`); return what restores it."""
    if deployment.plan.servers is None:
        return _of_file(deployment.directory.root / f"{name}.db")
    return _of_rows(create_engine(deployment.database_url(name)))


def _of_file(live: Path) -> Restore:
    """Copy it while it is in use, by SQLite's own means, as docs/backup.md says."""
    copy = next(path for number in count() if not (path := live.with_suffix(f".backup-{number}")).exists())
    with closing(sqlite3.connect(live)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)

    def restore() -> None:
        for file in live.parent.glob(f"{live.name}*"):
            file.unlink()
        shutil.copyfile(copy, live)

    return restore


def _of_rows(engine: Engine) -> Restore:
    """Read all tables in one snapshot, as `mariadb-dump --single-transaction` does; a drill's have few rows."""
    metadata = MetaData()
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        metadata.reflect(connection)
        rows = {
            table: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    engine.dispose()

    def restore() -> None:
        with engine.begin() as connection:
            connection.execute(text("SET FOREIGN_KEY_CHECKS = 0"))
            for table, kept in rows.items():
                connection.execute(table.delete())
                if kept:
                    connection.execute(insert(table), kept)
        engine.dispose()

    return restore
