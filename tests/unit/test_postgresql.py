"""What is told of a session of PostgreSQL, on made-up ones; real ones are in `tests/real/test_postgresql.py`."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pymysql.err
import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from halfmessage import postgresql
from halfmessage.db import committing, translated
from halfmessage.errors import (
    BelowZero,
    CommitOutcomeUnknown,
    DatabaseUnavailable,
    DuplicateRow,
    Misconfigured,
    RowRefused,
)

_IN_TRANSACTION, _FAILED = 2, 3


class Session:
    """A connection as SQLAlchemy hands it out, with a driver's inside of it, and the server's end of the stream."""

    def __init__(self) -> None:
        self.ours, self.server = socket.socketpair()
        self.info = SimpleNamespace(transaction_status=_IN_TRANSACTION)
        self.dialect, self.invalidated, self.closed, self.dropped = SimpleNamespace(name="postgresql"), False, False, 0

    @property
    def connection(self) -> Any:
        return SimpleNamespace(driver_connection=self)

    def fileno(self) -> int:
        return self.ours.fileno()

    def drop(self) -> None:
        self.dropped += 1


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    yield made
    made.ours.close()
    made.server.close()


def _commit(session: Any, error: Exception | None = None) -> None:
    with committing(session, session.drop):
        if error is not None:
            raise error


def _error(state: str | None, kind: type[DBAPIError] = OperationalError, name: str = "sqlstate") -> DBAPIError:
    original = Exception("refused")
    if state is not None:
        setattr(original, name, state)
    return kind("COMMIT", {}, original)


def test_a_session_is_dead_once_its_stream_ends_or_the_server_says_goodbye(session: Session) -> None:
    """Anything else that is there to read is news; and looking takes nothing from it."""
    assert not postgresql.is_dead(session)
    session.server.send(b"A news")
    assert not postgresql.is_dead(session)
    assert session.ours.recv(6) == b"A news"
    session.server.send(b"E fatal")
    assert postgresql.is_dead(session)
    assert session.ours.recv(7) == b"E fatal"
    session.server.close()
    assert postgresql.is_dead(session)
    session.closed = True
    session.ours.close()
    assert postgresql.is_dead(session)


def test_commit_is_not_sent_to_a_dead_session(session: Session) -> None:
    """So nothing was committed, for certain, and the connection is dropped."""
    session.server.close()
    with pytest.raises(DatabaseUnavailable):
        _commit(session, AssertionError("COMMIT was sent"))
    assert session.dropped == 1


def test_commit_of_a_failed_transaction_is_refused(session: Session) -> None:
    """It would be rolled back, without an error."""
    session.info.transaction_status = _FAILED
    with pytest.raises(Misconfigured, match="outside of a savepoint"):
        _commit(session, AssertionError("COMMIT was sent"))
    session.info.transaction_status = _IN_TRANSACTION
    _commit(session)
    assert session.dropped == 0


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (_error("23505", IntegrityError), DuplicateRow),
        (_error("23505", IntegrityError, "pgcode"), DuplicateRow),
        (_error("40001"), DatabaseUnavailable),
        (_error("25006"), DatabaseUnavailable),
        (_error("57P01"), CommitOutcomeUnknown),
        (_error("08006"), CommitOutcomeUnknown),
        (_error(None), CommitOutcomeUnknown),
    ],
)
def test_what_commit_answers(session: Session, error: DBAPIError, told: type[Exception]) -> None:
    """Only what says that it was rolled back is told so; a server that ends a session may have committed first."""
    with pytest.raises(told):
        _commit(session, error)
    assert session.dropped == 1


@pytest.mark.parametrize(
    ("original", "told"),
    [
        (pymysql.err.IntegrityError(1062, "Duplicate entry", sqlstate="23000"), DuplicateRow),
        (pymysql.err.OperationalError(4025, "CONSTRAINT failed", sqlstate="23000"), BelowZero),
        (pymysql.err.DataError(1406, "Data too long", sqlstate="22001"), RowRefused),
    ],
)
def test_a_driver_of_mysql_may_tell_sqlstates_too(original: Exception, told: type[Exception]) -> None:
    """They say less than its numbers, and nothing of PostgreSQL."""
    kind = IntegrityError if isinstance(original, pymysql.err.IntegrityError) else DBAPIError
    kind = DataError if isinstance(original, pymysql.err.DataError) else kind
    with pytest.raises(told), translated():
        raise kind("INSERT", {}, original)


def test_a_commit_that_mysql_answers_with_a_sqlstate(session: Session) -> None:
    """Is as unknown as it was: what is certain of PostgreSQL's is not of a cluster's."""
    session.dialect.name = "mysql"
    session._sock = session.ours  # type: ignore[attr-defined] # as PyMySQL calls it
    error = OperationalError("COMMIT", {}, pymysql.err.OperationalError(1213, "Deadlock", sqlstate="40001"))
    with pytest.raises(CommitOutcomeUnknown):
        _commit(session, error)
