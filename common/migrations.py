"""Brings a service's database to the schema it needs: Alembic, with the scripts in the package `sql`."""

from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import exc, text

from common.db import Database
from common.errors import DatabaseUnavailable

SERVICES = ("goods", "order", "stock")

_DDL = text(
    "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version' "
    "ORDER BY tbl_name, type DESC, name"
)


def upgrade(service: str, url: str) -> None:
    """Migrate the database at `url` to the newest schema of `service`, in one transaction where it can (SQLite).

    Several processes may do it at once. Raise `DatabaseUnavailable`.
    """
    database = Database(url)
    try:
        with as_file(files("sql")) as folder, database.engine.execution_options(writes=True).connect() as connection:
            config = _config(folder, service)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except exc.DBAPIError as error:
        raise DatabaseUnavailable(f"The {service} database could not be migrated: {error.orig}") from error
    finally:
        database.close()


def current(url: str) -> str | None:
    """Return the revision of the database at `url`, None if it was never migrated. Raise `DatabaseUnavailable`."""
    database = Database(url)
    try:
        with database.read() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        database.close()


def newest(service: str) -> str | None:
    """Return the revision that `upgrade` leads to."""
    with as_file(files("sql")) as folder:
        return ScriptDirectory.from_config(_config(folder, service)).get_current_head()


def _config(folder: Path, service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")  # a path may have spaces
    config.set_main_option("version_locations", str(folder / service / "versions").replace("%", "%%"))
    return config


def schema_sql(url: str) -> str:
    """Return the schema of a SQLite database as SQL, tables and indexes in alphabetical order."""
    database = Database(url)
    try:
        with database.read() as connection:
            statements = [statement.strip() for statement in connection.execute(_DDL).scalars()]
    finally:
        database.close()
    lines = (line.rstrip().replace("\t", "    ") for line in ";\n\n".join(statements).splitlines())
    return "\n".join(lines) + ";\n"
