"""Brings a service's database to the schema it needs: Alembic, with the scripts in the package `sql`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, exc, text

from common import schema_version
from common.db import Database
from halfmessage.errors import DatabaseUnavailable

_DDL = text(
    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version' "
    "ORDER BY tbl_name, type DESC, name"
)
_WITHIN = 3600.0  # seconds for one statement: changing a large table takes its time
_LOCK_WAIT = 600  # seconds for another process's migration


def upgrade(service: str, url: str) -> None:
    """Migrate the database at `url` to the newest schema of `service`, in one transaction where it can (SQLite).

    Several processes may do it at once. Raise `DatabaseUnavailable`; `SchemaMismatch`, with nothing changed, where the
    database is a newer release's or another program's.
    """
    database = Database(url, statement_timeout=_WITHIN)
    try:
        with as_file(files("sql")) as folder, database.engine.execution_options(writes=True).connect() as connection:
            config = _config(folder, service)
            config.attributes["connection"] = connection
            with _alone(connection):
                schema_version.refuse_unknown(service, connection)
                connection.rollback()  # Alembic begins its own
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
    connection.rollback()  # Alembic begins its own
    if got != 1:
        raise DatabaseUnavailable("Another process is migrating this database and does not finish; try again.")
    yield  # the lock ends with the session, which is not used for anything else


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
