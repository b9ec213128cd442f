"""Rows that are kept for so long, and then deleted: by age, so many in a transaction."""

from sqlalchemy import Column, ColumnElement, Connection, delete, select, tuple_

from common.db import Database
from halfmessage.chunks import VALUES


def purge(database: Database, age: Column[int], before: int, *which: ColumnElement[bool]) -> int:
    """Delete the rows whose `age`, a column of their table, is less than `before`; return how many.

    Only those for which all conditions hold. So many in a transaction (`VALUES`), the oldest first. Raise
    `DatabaseUnavailable` or `CommitOutcomeUnknown`: the next run goes on.
    """
    table = age.table
    columns = tuple(table.primary_key)
    key = columns[0] if len(columns) == 1 else tuple_(*columns)

    def some(connection: Connection) -> int:
        old = connection.execute(select(*columns).where(age < before, *which).order_by(age).limit(VALUES)).all()
        if old:
            values = [row[0] for row in old] if len(columns) == 1 else [tuple(row) for row in old]
            connection.execute(delete(table).where(key.in_(values)))
        return len(old)

    purged = 0
    while more := database.transact(some):
        purged += more
    return purged
