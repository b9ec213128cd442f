"""A session's transaction, begun to write and committed by the library only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from halfmessage.db import committing, translated
from halfmessage.errors import CommitOutcomeUnknown, HalfMessageError, Misconfigured

_BEGUN: Final = "halfmessage.begun"
"""In `Session.info`."""


class Joined(Protocol):
    """A message that leaves with a transaction which other code of the library commits."""

    def committed(self) -> None:
        """Have it delivered."""

    def dropped(self) -> None:
        """Have it dropped. Raises nothing."""


@dataclass(slots=True)
class Begun:
    """A transaction that the library commits, and the messages that leave with it.

    `unwritten`: how many have not written what decides them. `needless`: there is nothing to commit.
    """

    joined: list[Joined] = field(default_factory=list)
    unwritten: int = 0
    needless: bool = False


def within(session: Session) -> Begun | None:
    """Return the transaction that the session is in, if it is one that the library commits."""
    found: Begun | None = session.info.get(_BEGUN)
    return found


@contextmanager
def begun(session: Session, rule: str, made: Begun) -> Iterator[None]:
    """Have the session in a transaction that may write; refuse, with `rule`, what ends it before the block does.

    On SQLite it begins with the lock that it needs; one that has begun by reading goes on, and may fail to write.
    Raise `DatabaseUnavailable`, or `Misconfigured` for a session whose transaction is other code's to commit: one in a
    savepoint, or on a connection that is in a transaction already.
    """
    if session.in_nested_transaction():
        raise Misconfigured("The session is in a savepoint, whose transaction is for other code to commit.")
    bind = session.get_bind()
    if isinstance(bind, Connection) and bind.in_transaction() and not session.in_transaction():
        raise Misconfigured(
            "The session is on a connection in a transaction, which is for other code to commit: make it of the engine."
        )
    with translated():
        session.connection(execution_options={"writes": True}) if not session.in_transaction() else session.connection()
    root = session.get_transaction()

    def refuse(_session: Session) -> None:
        if not session.in_nested_transaction():
            raise Misconfigured(rule)

    event.listen(session, "before_commit", refuse)
    session.info[_BEGUN] = made
    try:
        yield
    finally:
        del session.info[_BEGUN]
        event.remove(session, "before_commit", refuse)
    if made.unwritten:
        raise Misconfigured("A message of this transaction failed: what it raised must leave the whole block.")
    if session.get_transaction() is not root or root is None or not root.is_active:
        raise Misconfigured(rule)


def commit(session: Session) -> None:
    """Commit a flushed session. Raise `DatabaseUnavailable` (nothing happened) or `CommitOutcomeUnknown`."""
    connection: Any = session.connection()
    with committing(connection, session.invalidate):
        session.commit()


@contextmanager
def transaction(session: Session, rule: str, *joined: Joined) -> Iterator[Begun]:
    """Begin as `begun` does, commit at the end of the block, and have the messages that joined delivered or dropped.

    What leaves the block as an exception rolls it back. Raises as `begun` and `commit` do.
    """
    made = Begun([*joined])
    try:
        with begun(session, rule, made):
            yield made
    except Exception:  # of a crash, and what is like one (BaseException), the check-back takes care
        session.rollback()
        _drop(made)
        raise
    if made.needless:
        session.rollback()
        return
    try:
        commit(session)
    except CommitOutcomeUnknown:
        raise
    except HalfMessageError:  # it did not happen, for certain
        _drop(made)
        raise
    for each in made.joined:
        each.committed()


def _drop(made: Begun) -> None:
    for each in made.joined:
        each.dropped()
