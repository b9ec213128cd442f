"""A stored copy of a deployment of an earlier release: its schema and rows, loaded into a new database."""

import re
from importlib.resources import files

from sqlalchemy import text

from common.db import Database

_BELOW = 192656126771200000  # the lowest id of the copy


def order_id(number: int) -> int:
    """Return the id of an order of the copy: see rows.order.sql and rows.stock.sql for what became of which."""
    return _BELOW + number


def load(url: str, service: str) -> None:
    """Load what is stored of a service."""
    database = Database(url)
    dialect = database.engine.dialect.name
    try:
        for name in (f"{service}0004.{'sqlite' if dialect == 'sqlite' else 'mysql'}.sql", f"rows.{service}.sql"):
            content = re.sub(r"^--.*\n", "", files(__package__).joinpath(name).read_text(), flags=re.MULTILINE)
            with database.engine.begin() as connection:
                if dialect != "sqlite":
                    connection.execute(text("SET foreign_key_checks = 0"))  # tables are in alphabetical order
                for statement in filter(None, (piece.strip() for piece in content.split(";\n"))):
                    connection.execute(text(statement))
    finally:
        database.close()
