"""What PostgreSQL says by SQLSTATE, and whether a session is dead or failed before COMMIT is sent.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

import select
import socket
from typing import Any, Final

from sqlalchemy import Connection, exc

READ_ONLY: Final = frozenset({"25006"})
# The transaction is rolled back by then, or its connection is useless: serialization failure, deadlock, lock timeout;
# server or session ended (57P01 to 57P05, 25P03), connection lost (class 08).
REPEATABLE: Final = READ_ONLY | {
    *("40001", "40P01", "55P03", "25P03"),
    *("57P01", "57P02", "57P03", "57P05", "08000", "08001", "08003", "08004", "08006", "08P01"),
}
DUPLICATE: Final = frozenset({"23505"})
FAILED_CHECK: Final = frozenset({"23514"})
_ROLLED_BACK: Final = ("23", "40")
"""Classes that say, in COMMIT, that it was rolled back: a deferred constraint, a serialization failure."""
_FAILED: Final = 3
"""PQTRANS_INERROR, https://www.postgresql.org/docs/current/libpq-status.html"""
_GOODBYE: Final = b"E"
"""The type of an error's message, https://www.postgresql.org/docs/current/protocol-message-formats.html"""


def state_of(error: exc.DBAPIError) -> str | None:
    """Return the SQLSTATE that a driver's error carries (psycopg 3 and 2), None for one without."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state if isinstance(state, str) else None


def is_rolled_back(error: exc.DBAPIError) -> bool:
    """Whether an error of COMMIT says that nothing was committed."""
    return (state_of(error) or "").startswith(_ROLLED_BACK)


def is_dead(connection: Any) -> bool:
    """Whether the server has ended this connection of psycopg, as far as this machine knows; it must be idle.

    What may be there to read beside its end and an error that says goodbye is a notification. Under TLS there is
    no telling: it counts as alive, and COMMIT tells.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return False
    with socket.socket(fileno=_copy(connection.fileno())) as stream:
        return stream.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) in {b"", _GOODBYE}


def _copy(descriptor: int) -> int:
    with socket.socket(fileno=descriptor) as shared:
        copied = shared.dup()
        shared.detach()
    return copied.detach()


def has_failed(connection: Connection) -> bool:
    """Whether a statement of the open transaction failed, so that COMMIT would roll it back, and not say so.

    https://www.postgresql.org/docs/current/sql-commit.html
    """
    driver: Any = connection.connection.driver_connection
    return int(driver.info.transaction_status) == _FAILED
