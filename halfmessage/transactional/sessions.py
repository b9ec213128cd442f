"""A session's transaction, begun to write and committed by the library only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from halfmessage.db import committing, translated
from halfmessage.errors import Misconfigured


@contextmanager
def begun(session: Session, rule: str) -> Iterator[None]:
    """Have the session in a transaction that may write; refuse, with `rule`, what ends it before the block does.

    On SQLite it begins with the lock that it needs; one that has begun by reading goes on, and may fail to write.
    Raise `DatabaseUnavailable`, or `Misconfigured` for a session in a savepoint.
    """
    if session.in_nested_transaction():
        raise Misconfigured("The session is in a savepoint, whose transaction is for other code to commit.")
    with translated():
        session.connection(execution_options={"writes": True}) if not session.in_transaction() else session.connection()
    root = session.get_transaction()

    def refuse(_session: Session) -> None:
        if not session.in_nested_transaction():
            raise Misconfigured(rule)

    event.listen(session, "before_commit", refuse)
    try:
        yield
    finally:
        event.remove(session, "before_commit", refuse)
    if session.get_transaction() is not root or root is None or not root.is_active:
        raise Misconfigured(rule)


def commit(session: Session) -> None:
    """Commit a flushed session. Raise `DatabaseUnavailable` (nothing happened) or `CommitOutcomeUnknown`."""
    connection: Any = session.connection()
    with committing(connection, session.invalidate):
        session.commit()
