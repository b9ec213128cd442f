"""How sessions of MySQL and MariaDB are opened through PyMySQL, and replaced when they are dead."""

import inspect
import re
from functools import cache
from typing import Any, Final

from sqlalchemy import Engine, ExceptionContext, event, exc

from halfmessage.mysql import USELESS, code_of, is_dead

LOCK_WAIT: Final = 2  # seconds a statement waits for a row lock; whole ones, and less than a caller waits for us
CONNECT_WITHIN: Final = 2  # seconds

# What these quote is a name: of a host, a user, a database, a table, a column; others may quote a value.
_NAMES_ONLY: Final = frozenset({1044, 1045, 1048, 1049, 1146, 1264, 1290, 1364, 1406, 1451, 1452, 2003, 2005})
_QUOTED: Final = re.compile(r"'.*'", re.DOTALL)


@cache
def known_options() -> frozenset[str]:
    """Return the options that a URL may have: those of PyMySQL's connections, which is loaded only to be used."""
    from pymysql.connections import Connection  # noqa: PLC0415 - not needed where the database is a file

    return frozenset(inspect.signature(Connection.__init__).parameters)


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


def _replace_if_dead(connection: Any, _record: object, _proxy: object) -> None:
    if is_dead(connection):
        raise exc.DisconnectionError  # the pool opens another in its place


def _drop_if_useless(context: ExceptionContext) -> None:
    if isinstance(context.sqlalchemy_exception, exc.DBAPIError) and code_of(context.sqlalchemy_exception) in USELESS:
        context.is_disconnect = True
