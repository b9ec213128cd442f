"""What is special about MySQL and MariaDB, through PyMySQL: how sessions are opened, and when one is dead.

Error numbers: https://mariadb.com/kb/en/mariadb-error-codes/ and the client's, 2000 and up,
https://dev.mysql.com/doc/mysql-errors/8.0/en/client-error-reference.html
"""

import inspect
import re
import select
from typing import Any, Final

import pymysql
from sqlalchemy import Connection, Engine, ExceptionContext, event, exc

OPTIONS: Final = frozenset(inspect.signature(pymysql.connections.Connection.__init__).parameters)
LOCK_WAIT: Final = 2  # seconds a statement waits for a row lock; whole ones, and less than a caller waits for us
CONNECT_WITHIN: Final = 2  # seconds

# This server writes nothing, another may: read_only (MySQL's super_read_only and a group's secondary say the same),
# a read-only transaction, InnoDB in read-only mode (1836, and 1036 of its tables). Said in COMMIT, the transaction was
# rolled back: ha_commit_trans of MariaDB and MySQL does so before it raises them.
READ_ONLY: Final = frozenset({1290, 1792, 1836, 1036})
# This connection is of no use any more, another may be: server shutting down, connection aborted (1152, 1184),
# its packets broken (1158 to 1161), killed (1927), idle for too long (4031), server offline (3032), node of a Galera
# cluster not ready (1047); and of the client: gone, lost, out of step, broken packet.
_BROKEN: Final = frozenset({1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2014, 2027, 2055, 4031})
USELESS: Final = READ_ONLY | _BROKEN | {1047, 3032}
# The transaction is rolled back by then, or its connection is useless: lock wait timeout, deadlock, and 1305, what a
# savepoint's roll back says when the deadlock took the whole transaction.
REPEATABLE: Final = USELESS | {1205, 1213, 1305}
DUPLICATE: Final = frozenset({1062, 1586})
# What these quote is a name: of a host, a user, a database, a table, a column; others may quote a value.
_NAMES_ONLY: Final = frozenset({1044, 1045, 1048, 1049, 1146, 1264, 1290, 1364, 1406, 1451, 1452, 2003, 2005})
_QUOTED: Final = re.compile(r"'.*'", re.DOTALL)
FAILED_CHECK: Final = frozenset({3819, 4025})  # MySQL's, MariaDB's (an OperationalError there)


def engine_options(statement_timeout: float) -> dict[str, Any]:
    """Return what `create_engine` needs; a statement that takes longer (seconds) counts as a lost connection.

    READ COMMITTED: see docs/decisions/0012. Our transactions end themselves, so the pool has nothing to reset.
    """
    session = f"SET innodb_lock_wait_timeout = {LOCK_WAIT}, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
    return {
        "isolation_level": "READ COMMITTED",
        "pool_recycle": 1800,
        "pool_reset_on_return": None,
        "connect_args": {
            "charset": "utf8mb4",
            "init_command": session,
            "connect_timeout": CONNECT_WITHIN,
            "read_timeout": statement_timeout,
            "write_timeout": statement_timeout,
        },
    }


def _hide_values(context: Any) -> None:
    """Take what may be a value of a row out of an error: who reads logs is not who may read rows."""
    error = context.original_exception
    if len(error.args) > 1 and error.args[0] not in _NAMES_ONLY:
        error.args = (error.args[0], _QUOTED.sub("'…'", str(error.args[1])))
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(error).__name__}) {error}",)


def watch(engine: Engine) -> None:
    """Have the pool replace connections that the server has ended, without a round trip for each checkout.

    One whose server says that it can't serve takes all that are as old with it: a switch-over behind a forwarder left
    them with a server that is read-only now, where a read would still answer, with what is no longer true.
    """
    event.listen(engine, "handle_error", _hide_values)
    event.listen(engine, "checkout", _replace_if_dead)
    event.listen(engine, "handle_error", _drop_if_useless)


def code_of(error: exc.DBAPIError) -> object:
    """Return the number that a driver's error carries, None for one without."""
    return error.orig.args[0] if error.orig is not None and error.orig.args else None


def is_dead(connection: Any) -> bool:
    """Whether the server has ended this PyMySQL connection, as far as this machine knows; it must be idle.

    An idle connection has nothing to read but the end of the stream, or an error packet that says goodbye.
    """
    socket = connection._sock  # noqa: SLF001 - PyMySQL shows it nowhere else
    if socket is None:
        return True
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


def may_commit(connection: Connection) -> bool:
    """Whether the session of an open transaction is still there, so that COMMIT could reach it."""
    return not (connection.invalidated or is_dead(connection.connection.dbapi_connection))


def _replace_if_dead(connection: Any, _record: object, _proxy: object) -> None:
    if is_dead(connection):
        raise exc.DisconnectionError  # the pool opens another in its place


def _drop_if_useless(context: ExceptionContext) -> None:
    if isinstance(context.sqlalchemy_exception, exc.DBAPIError) and code_of(context.sqlalchemy_exception) in USELESS:
        context.is_disconnect = True
