"""Brings a service's database to the schema it needs: Alembic, with the scripts in the package `sql`."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import structlog
from alembic import command
from alembic.config import Config
from pymysql.err import MySQLError
from sqlalchemy import Connection, event, exc, text

from common import schema_version
from common.db import Database
from common.errors import SchemaMismatch
from halfmessage.errors import DatabaseUnavailable

log = structlog.get_logger()

_DDL = text(
    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version' "
    "ORDER BY tbl_name, type DESC, name"
)
_WITHIN = 3600.0  # seconds for one statement: changing a large table takes its time
_LOCK_WAIT = 600  # seconds for another process's migration
_TABLE_WAIT: Final = 3  # seconds for a table in use: all later statements of that table wait behind one that changes it
_TABLE_TRIES: Final = 100  # of a statement, with as long between two as it waits: ten minutes
_IN_USE: Final = 1205  # ER_LOCK_WAIT_TIMEOUT; nothing of the statement was done
_DONE_BEFORE: Final = frozenset((1050, 1051, 1054, 1060, 1061, 1068, 1091, 1146, 1826))
"""What MySQL and MariaDB answer to a change that was made before: a table, column, index or key that is there already,
or no longer (ER_TABLE_EXISTS_ERROR and its kind in their lists of errors)."""


def upgrade(service: str, url: str) -> None:
    """Migrate the database at `url` to the newest schema of `service`, in one transaction where it can (SQLite).

    Several processes may do it at once, and services of the release before may be at work. Raise `DatabaseUnavailable`,
    also where a table stays in use for ten minutes; `SchemaMismatch`, with nothing changed, where the database is a
    newer release's or another program's, or where a migration was cut off before (MySQL, whose changes of tables can't
    be taken back).
    """
    database = Database(url, statement_timeout=_WITHIN)
    if database.engine.dialect.name != "sqlite":
        event.listen(database.engine, "do_execute", _giving_way)
    try:
        with as_file(files("sql")) as folder, database.engine.execution_options(writes=True).connect() as connection:
            config = _config(folder, service)
            config.attributes["connection"] = connection
            with _alone(connection):
                schema_version.refuse_unknown(service, connection)
                connection.rollback()  # Alembic begins its own
                with _named(service, connection):
                    command.upgrade(config, "head")
    except exc.DBAPIError as error:
        where = f" ({database.engine.url.database})" if database.engine.dialect.name == "sqlite" else ""
        raise DatabaseUnavailable(f"The {service} database{where} could not be migrated: {error.orig}") from error
    finally:
        database.close()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Keep other processes out: SQLite's write lock does, MySQL's DDL commits by itself and so needs another."""
    if connection.dialect.name == "sqlite":
        yield
        return
    name = text("SELECT GET_LOCK(CONCAT(DATABASE(), '.migration'), :wait)")
    got = connection.scalar(name, {"wait": _LOCK_WAIT})
    connection.execute(text(f"SET lock_wait_timeout = {_TABLE_WAIT}"))  # a day, unless told
    connection.rollback()  # Alembic begins its own
    if got != 1:
        raise DatabaseUnavailable("Another process is migrating this database and does not finish; try again.")
    yield  # the lock ends with the session, which is not used for anything else


def _giving_way(cursor: Any, statement: str, parameters: Any, _context: Any) -> bool:
    """Run a statement, again where a table is in use: between two tries all that waited behind it get theirs.

    Return True: it was run. SQLAlchemy calls it (`DialectEvents.do_execute`).
    """
    for tried in range(1, _TABLE_TRIES + 1):
        try:
            cursor.execute(statement, parameters)
            break
        except MySQLError as error:
            if error.args[0] != _IN_USE or tried == _TABLE_TRIES:
                raise
            log.warning("a table is in use; tried again", statement=statement[:100], tried=tried, of=_TABLE_TRIES)
            time.sleep(_TABLE_WAIT)
    return True


@contextmanager
def _named(service: str, connection: Connection) -> Iterator[None]:
    """Raise `SchemaMismatch` with the migration's name where what it changes was changed before."""
    try:
        yield
    except exc.DBAPIError as error:
        code = error.orig.args[0] if isinstance(error.orig, MySQLError) else None
        if code not in _DONE_BEFORE:
            raise
        connection.rollback()
        versions = schema_version.known(service)
        found = schema_version.current(connection)
        cut = versions[versions.index(found) + 1] if found else versions[0]
        raise SchemaMismatch(
            f"The migration {cut} of the {service} database was begun before and cut off ({error.orig}). See its file "
            f"in sql/{service}/versions: run by hand what it has not done yet and set version_num in alembic_version "
            f"to {cut!r}, or restore a backup made before it; then run orders migrate again."
        ) from error


def _config(folder: Path, service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")  # a path may have spaces
    config.set_main_option("version_locations", str(folder / service / "versions").replace("%", "%%"))
    return config


def schema_sql(url: str) -> str:
    """Return the schema of a database as SQL, tables (and SQLite's indexes) in alphabetical order."""
    database = Database(url)
    try:
        with database.read() as connection:
            return _sqlite_schema(connection) if connection.dialect.name == "sqlite" else _mysql_schema(connection)
    finally:
        database.close()


def _sqlite_schema(connection: Connection) -> str:
    statements = ";\n\n".join(statement.strip() for statement in connection.execute(_DDL).scalars())
    lines = "\n".join(line.rstrip().replace("\t", "    ") for line in statements.splitlines())
    added = re.sub(r", (?=[a-z_]+ [A-Z]+[ (,])", ",\n    ", lines)  # where SQLite puts a column that came later
    return added + ";\n"


def _mysql_schema(connection: Connection) -> str:
    """Return what SHOW CREATE TABLE says, without what differs between servers: widths, counters, needless quotes."""
    tables = sorted(set(connection.execute(text("SHOW TABLES")).scalars()) - {"alembic_version"})
    statements = []
    for table in tables:
        ddl = connection.execute(text(f"SHOW CREATE TABLE `{table}`")).one()[1]
        ddl = re.sub(r"\b(bigint|int)\(\d+\)", r"\1", ddl).replace("\n  ", "\n    ")
        ddl = re.sub(r"`(\w+)`", lambda name: connection.dialect.identifier_preparer.quote(name[1]), ddl)
        statements.append(re.sub(r" AUTO_INCREMENT=\d+", "", ddl))
    return ";\n\n".join(statements) + ";\n"
