"""Which schema a service's database has, and which this release needs: without Alembic, which is slow to load.

A migration's file is named after its number, and its revision after the service and the number: the file
`sql/stock/versions/0002_version.py` is the revision `stock0002`. A test compares that with what Alembic reads.
"""

from importlib.resources import files

from sqlalchemy import Connection, inspect, text

from common.db import Database
from common.errors import SchemaMismatch

_TABLE = "alembic_version"
_DIGITS = 4  # that a migration's file begins with


def known(service: str) -> list[str]:
    """Return the versions that this release knows, the one that it needs last."""
    names = [entry.name[:_DIGITS] for entry in files("sql").joinpath(service, "versions").iterdir()]
    return sorted(f"{service}{name}" for name in names if name.isdigit())


def require(service: str, database: Database) -> None:
    """Raise `SchemaMismatch` unless the database has the schema of this release; `DatabaseUnavailable`.

    `DatabaseCorrupt` where its file is damaged: see `Database.check`.
    """
    database.check()
    with database.read() as connection:
        refuse_unknown(service, connection)
        found = current(connection)
    needed = known(service)[-1]
    if found != needed:
        has = f"has schema version {found}" if found else "has no tables yet"
        raise SchemaMismatch(f"The {service} database {has}, this release needs {needed}: run orders migrate.")


def refuse_unknown(service: str, connection: Connection) -> None:
    """Raise `SchemaMismatch` for a database that this release can't bring up to date; nothing is changed."""
    found = current(connection)
    if found is not None and found not in known(service):
        raise SchemaMismatch(
            f"The {service} database has schema version {found}, and this release knows none later than "
            f"{known(service)[-1]}: a newer release made it. Use that one, or restore a backup made before it."
        )
    if found is None and (tables := sorted(set(inspect(connection).get_table_names()) - {_TABLE})):
        raise SchemaMismatch(
            f"The {service} database has the table {tables[0]!r} and no schema version: it is another program's, or "
            "its first migration was cut off. Name an empty database, or restore it from a backup."
        )


def current(connection: Connection) -> str | None:
    """Return the version of a database, None where it has none. Raise `SchemaMismatch` where it has several."""
    if not inspect(connection).has_table(_TABLE):
        return None
    versions = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
    if len(versions) > 1:
        raise SchemaMismatch(f"The database has several schema versions: {', '.join(map(str, versions))}.")
    return str(versions[0]) if versions else None
