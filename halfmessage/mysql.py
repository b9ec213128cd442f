"""What MySQL and MariaDB say by number, and whether a session is dead before COMMIT is sent.

Error numbers: https://mariadb.com/kb/en/mariadb-error-codes/ and the client's, 2000 and up,
https://dev.mysql.com/doc/mysql-errors/8.0/en/client-error-reference.html
"""

import select
from typing import Any, Final

from sqlalchemy import exc

# This server writes nothing, another may: read_only (MySQL's super_read_only and a group's secondary say the same),
# a read-only transaction, InnoDB in read-only mode (1836, and 1036 of its tables). Said in COMMIT, the transaction was
# rolled back: ha_commit_trans of MariaDB and MySQL does so before it raises them.
READ_ONLY: Final = frozenset({1290, 1792, 1836, 1036})
# This connection is of no use any more, another may be: server shutting down, connection aborted (1152, 1184),
# its packets broken (1158 to 1161), killed (1927), idle for too long (4031), server offline (3032), node of a Galera
# cluster not ready (1047); and of the client: gone, lost, out of step, broken packet.
_BROKEN: Final = frozenset({1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2014, 2027, 2055, 4031})
# A connection has the rights of when it was opened, so one that lacks a right (1142, of a column 1143) may be of a time
# when its user had lost it, and stays so though the user has it again:
# https://dev.mysql.com/doc/refman/8.4/en/privilege-changes.html
_WITHOUT_RIGHT: Final = frozenset({1142, 1143})
USELESS: Final = READ_ONLY | _BROKEN | _WITHOUT_RIGHT | {1047, 3032}
# The transaction is rolled back by then, or its connection is useless: lock wait timeout, deadlock, and 1305, what a
# savepoint's roll back says when the deadlock took the whole transaction.
REPEATABLE: Final = USELESS | {1205, 1213, 1305}
DUPLICATE: Final = frozenset({1062, 1586})
FAILED_CHECK: Final = frozenset({3819, 4025})  # MySQL's, MariaDB's (an OperationalError there)


def code_of(error: exc.DBAPIError) -> object:
    """Return the number that a driver's error carries, None for one without."""
    return error.orig.args[0] if error.orig is not None and error.orig.args else None


def is_dead(connection: Any) -> bool:
    """Whether the server has ended this connection of PyMySQL or aiomysql, as far as this machine knows.

    It must be idle, and has nothing to read then but the end of the stream, or an error packet that says goodbye; of
    aiomysql's the event loop may have read it already.
    """
    if hasattr(connection, "_reader"):
        reader, writer = connection._reader, connection._writer  # noqa: SLF001 - aiomysql shows them nowhere else
        if writer is None or reader.at_eof() or reader._buffer:  # noqa: SLF001 - nor does asyncio
            return True
        socket = writer.transport.get_extra_info("socket")
    else:
        socket = connection._sock  # noqa: SLF001 - PyMySQL shows it nowhere else
    if socket is None:
        return True
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
