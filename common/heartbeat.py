"""Whether a service's database can be written: asked for next to nothing, or tried for real.

Neither a read nor an empty transaction tells: a read-only MariaDB answers both (`SET GLOBAL read_only = 1`).
"""

from contextlib import suppress
from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, Table, delete, insert, literal, select, update

from common.db import Database

_ONLY: Final = 1  # the id of the only row


def heartbeat_table(metadata: MetaData) -> Table:
    """Declare the table that is written to see whether it can be."""
    return Table(
        "heartbeat",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("beats", BigInteger, nullable=False),
    )


_HEARTBEAT = heartbeat_table(MetaData())
_BEAT = update(_HEARTBEAT).where(_HEARTBEAT.c.id == _ONLY).values(beats=_HEARTBEAT.c.beats + 1)
_FIRST = insert(_HEARTBEAT).values(id=_ONLY, beats=1)
_IS_NONE = _HEARTBEAT.c.id == 0  # there is no such row
_OF_NONE = select(literal(0, Integer), literal(0, BigInteger)).select_from(_HEARTBEAT).where(_IS_NONE)
_NONE = (
    update(_HEARTBEAT).where(_IS_NONE).values(beats=0),
    insert(_HEARTBEAT).from_select(["id", "beats"], _OF_NONE),
    delete(_HEARTBEAT).where(_IS_NONE),
)
"""What a service does to rows: a user may have lost the right to one of them alone (GRANT of MariaDB)."""


class _Asked(Exception):
    """Rolls the question back."""


class Heartbeat:
    """The writing of one database."""

    def __init__(self, database: Database) -> None:
        """Take a database that has `heartbeat_table`."""
        self._database = database

    def ask(self) -> None:
        """Raise `OrdersError` unless the database would let a row be written; for a probe that comes every second.

        It is told to change, copy and delete a row that is not there, and rolls back: that is refused as any change
        would be, but locks nothing, writes nothing and waits for no disk. A disk that is full is seen by `beat` alone.
        """
        with suppress(_Asked):
            self._database.transact(_ask)

    def beat(self) -> None:
        """Raise `OrdersError` unless a row was written and committed; for a consumer that waits until it can be."""
        self._database.transact(_beat)


def _ask(connection: Connection) -> None:
    _try_all(connection)
    raise _Asked


def _try_all(connection: Connection) -> None:
    for statement in _NONE:
        connection.execute(statement)


def _beat(connection: Connection) -> None:
    _try_all(connection)
    if connection.execute(_BEAT).rowcount == 0:
        connection.execute(_FIRST)
