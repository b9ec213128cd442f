"""What a merchant may ask of the sandbox, and what a person does on its page."""

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select, update

from common.errors import IdempotencyMismatch
from halfmessage.clock import now_ms
from halfmessage.errors import Unavailable
from sandbox.model import SessionState, sessions
from sandbox.service.books import Books, NewSession
from sandbox.service.faults import Dice, Fault
from sandbox.service.reading import Session, session_row, whole
from sandbox.service.scenarios import scenario
from sandbox.service.together import Together

_AFTER_ITS_TIME: Final = 3000  # ms after its order was closed that who waits for that pays
_OF_ATTEMPT: Final = select(sessions).where(sessions.c.attempt_id == bindparam("id"))
_SAME: Final = ("payment_id", "amount", "currency", "scenario")


class Failed(Unavailable):
    """The sandbox fails on purpose: it may have done what it was asked."""


class Asking:
    """Sessions, as they are begun, asked for, closed and paid."""

    def __init__(self, together: Together, books: Books, wake: Callable[[], None]) -> None:
        """Write through `together`; `wake` who sends callbacks."""
        self._together = together
        self._books = books
        self._wake = wake

    def begin(self, new: NewSession) -> Session:
        """Begin a session, or return the one of the same attempt.

        Raise `UnknownScenario`, `IdempotencyMismatch` where the attempt was about something else, or `Failed`.
        """
        scenario(new.scenario)

        def work(connection: Connection) -> Session | None:
            dice = Dice(connection)
            if dice.strikes(Fault.BEGIN_FAILS):
                return None
            row = self._begun(connection, new) or self._books.open(connection, new, dice)
            return None if dice.strikes(Fault.BEGIN_FAILS_DONE) else _reread(connection, row)

        return self._answered(work)

    def ask(self, reference: str) -> Session:
        """Return a session. Raise `NotFound`, or `Failed`."""

        def work(connection: Connection) -> Session | None:
            failed = Dice(connection).strikes(Fault.ASK_FAILS)
            return None if failed else _reread(connection, session_row(connection, reference))

        return self._answered(work)

    def close(self, reference: str) -> Session:
        """Let an open session be paid no more; a payment that is under way goes on. Raise `NotFound`."""
        return self._while_open(reference, lambda connection, row: _set(connection, row, SessionState.CLOSED))

    def pay(self, reference: str, times: int = 1) -> Session:
        """Take the money of an open session that a person decides on, so many times. Raise `NotFound`."""

        def work(connection: Connection, row: Row[Any]) -> None:
            dice = Dice(connection)
            for _ in range(times):
                self._books.charge(connection, row, dice)

        return self._while_open(reference, work, by_hand=True)

    def decline(self, reference: str) -> Session:
        """Refuse an open session that a person decides on. Raise `NotFound`."""

        def work(connection: Connection, row: Row[Any]) -> None:
            self._books.decline(connection, row, "The customer declined.", Dice(connection))

        return self._while_open(reference, work, by_hand=True)

    def wait(self, reference: str) -> Session:
        """Begin a payment that is made once the order's time is over. Raise `NotFound`."""

        def work(connection: Connection, row: Row[Any]) -> None:
            _set(connection, row, SessionState.CLOSED)
            due_at = max(now_ms(), row.expires_at) + _AFTER_ITS_TIME
            self._books.plan(connection, row.session_id, due_at=due_at)

        return self._while_open(reference, work, by_hand=True)

    def _while_open(
        self, reference: str, work: Callable[[Connection, Row[Any]], None], *, by_hand: bool = False
    ) -> Session:
        """Do `work` where the session is open, and one that a person decides on; return it as it is then."""

        def locked(connection: Connection) -> Session:
            row = session_row(connection, reference, lock=True)
            if row.state == SessionState.OPEN and (scenario(row.scenario).by_hand or not by_hand):
                work(connection, row)
            return _reread(connection, row)

        return self._answered(locked)

    def _answered(self, work: Callable[[Connection], Session | None]) -> Session:
        found = self._together.transact(work)
        self._wake()
        if found is None:
            raise Failed
        return found

    @staticmethod
    def _begun(connection: Connection, new: NewSession) -> Row[Any] | None:
        row = connection.execute(_OF_ATTEMPT, {"id": new.attempt_id}).first()
        if row is not None and any(getattr(row, name) != getattr(new, name) for name in _SAME):
            raise IdempotencyMismatch
        return row


def _set(connection: Connection, row: Row[Any], state: SessionState) -> None:
    connection.execute(update(sessions).where(sessions.c.session_id == row.session_id).values(state=state))


def _reread(connection: Connection, row: Row[Any]) -> Session:
    return whole(connection, [session_row(connection, row.reference)])[0]
