"""Statements that were sent to a database, explained: each is to be served by an index."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text

from common.db import Database
from tests.real.conftest import OpenDatabase

ROWS = 4000
MANY = 1000  # rows that no statement may have to look at
LEASES = "worker_leases"  # at most 1,024 rows, read once at start
_DML = ("SELECT", "UPDATE", "DELETE")


class Collected:
    """Statements that were sent to a database, each shape once, with its parameters."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, Any] = {}
        self.last: list[str] = []
        event.listen(database.engine, "before_cursor_execute", self._see)

    def _see(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(_DML) and LEASES not in statement and "CONNECTION_ID" not in statement:
            self._seen.setdefault(statement, parameters[0] if many else parameters)

    def most_read(self, words: str) -> int:
        """Send the queries with these words in them again; return how many rows the one reads that reads most."""
        queries = ((each, parameters) for each, parameters in self._seen.items() if each.startswith("SELECT"))
        found = {statement: parameters for statement, parameters in queries if words in statement}
        assert found
        with self._database.engine.connect() as connection:

            def reads() -> int:
                told = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'").all()
                return sum(int(number) for _, number in told)

            most = 0
            for statement, parameters in found.items():
                before = reads()
                connection.exec_driver_sql(statement, parameters).all()
                most = max(most, reads() - before)
        return most

    def complaints(self) -> list[str]:
        """Explain each; return what is not served by an index."""
        seen, self._seen = self._seen, {}
        found = []
        with self._database.engine.connect() as connection:
            for statement, parameters in seen.items():
                rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).mappings().all()
                found += [f"{statement}\n  {problem}" for row in rows if (problem := _problem(statement, dict(row)))]
        assert seen
        self.last = found
        return found


def _problem(statement: str, row: dict[str, Any]) -> str | None:
    extra = row["Extra"] or ""
    # EXPLAIN tells how many rows are left in a range, and not that a walk along the key ends at its LIMIT
    ordered = row["key"] == "PRIMARY" or "Using index" in extra.split("; ")
    walked = ordered and (row["type"] in {"range", "ref"} or extra == "Using index") and " LIMIT " in statement
    # "12 (3%)" where MariaDB also filters by another index: https://mariadb.com/docs/server/ (rowid filtering)
    looked_at = int(str(row["rows"] or 0).partition(" ")[0])
    derived = str(row["table"]).startswith("<derived")  # counts what a subquery found, which has a row of its own
    scanned = (row["type"] == "ALL" and not derived) or (looked_at > MANY and not walked)
    if "Impossible" in extra or "no matching row" in extra or "Select tables optimized away" in extra:
        return None
    return str(row) if scanned or "filesort" in extra or "temporary" in extra else None


@contextmanager
def opened(open_database: OpenDatabase, url: str, fill: Callable[[Database], None]) -> Iterator[Database]:
    """Open a database, filled, of which the server knows how much is in it."""
    database = open_database(url)
    fill(database)
    with database.engine.connect() as connection:
        for table in connection.scalars(text("SHOW TABLES")).all():
            connection.execute(text(f"ANALYZE TABLE {table}"))
    yield database
