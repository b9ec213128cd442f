"""Callbacks that are due: claimed, sent by who can, and repeated with growing distances until they were taken."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Row, delete, select, update

from common.db import Database
from halfmessage.clock import now_ms, rfc3339
from sandbox.model import CallbackState, RefundState, SessionState, callbacks, events, plans, refunds, sessions
from sandbox.service.books import Books, Refund
from sandbox.service.faults import Dice

CLAIMED_FOR: Final = 20_000  # ms; who claimed a callback was killed, where it is still waiting then
MOST_TRIES: Final = 25  # some hours, with these distances
_FIRST_DISTANCE, _LONGEST_DISTANCE = 1_000, 600_000  # ms
_PLANS_AT_ONCE: Final = 100  # rows of one transaction
_LONGEST_ANSWER: Final = 255  # characters


@dataclass(frozen=True, slots=True)
class Due:
    """A callback to send: `raw` to the base URL `url`, for the `tries`th time."""

    callback_id: int
    url: str
    raw: bytes
    tries: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one: `answer` is the receiver's, for people."""

    due: Due
    taken: bool
    answer: str


class Telling:
    """The callbacks that are still to send."""

    def __init__(self, database: Database, books: Books) -> None:
        """Take them from `database`; do what is planned through `books`."""
        self._database = database
        self._books = books

    def do_planned(self) -> int:
        """Do what is planned for a time that has come, some at once; return how much was done."""

        def work(connection: Connection) -> int:
            is_due = select(plans).where(plans.c.due_at <= now_ms()).order_by(plans.c.due_at).limit(_PLANS_AT_ONCE)
            rows = connection.execute(is_due).all()
            return sum(self._do(connection, row) for row in rows)

        return self._database.transact(work)

    def claim(self, most: int) -> list[Due]:
        """Return up to `most` callbacks whose time has come; they come again in a while unless `record` is called."""
        now = now_ms()
        is_due = (callbacks.c.state == CallbackState.WAITING) & (callbacks.c.due_at <= now)
        query = select(callbacks.c.callback_id).where(is_due).order_by(callbacks.c.due_at).limit(most)

        def work(connection: Connection) -> list[Due]:
            ids = connection.execute(query.with_for_update()).scalars().all()
            if not ids:
                return []
            these = callbacks.c.callback_id.in_(ids)
            claimed = {"due_at": now + CLAIMED_FOR, "tries": callbacks.c.tries + 1}
            connection.execute(update(callbacks).where(these).values(claimed))
            whole = select(callbacks, *_TOLD).select_from(_JOINED).where(these).order_by(callbacks.c.callback_id)
            return [Due(row.callback_id, row.callback_url, _body(row), row.tries) for row in connection.execute(whole)]

        return self._database.transact(work)

    def record(self, sent: Sequence[Sent]) -> None:
        """Write down what became of callbacks that were claimed; let go of those that wait for later ones."""

        def work(connection: Connection) -> None:
            for one in sent:
                this = callbacks.c.callback_id == one.due.callback_id
                connection.execute(update(callbacks).where(this).values(_after(one)))
            newest = max((one.due.callback_id for one in sent if one.taken), default=0)
            behind = callbacks.c.held & (callbacks.c.callback_id < newest) & (callbacks.c.due_at > now_ms())
            waiting = callbacks.c.state == CallbackState.WAITING
            connection.execute(update(callbacks).where(behind & waiting).values(held=False, due_at=now_ms()))

        self._database.transact(work)

    def waiting(self) -> float:
        """Return how many seconds it is until something is due; an hour at most."""
        longest = now_ms() + 3_600_000
        first = select(plans.c.due_at).order_by(plans.c.due_at).limit(1)
        waits = callbacks.c.state == CallbackState.WAITING
        next_one = select(callbacks.c.due_at).where(waits).order_by(callbacks.c.due_at).limit(1)
        with self._database.read() as connection:
            times = [connection.execute(query).scalar() or longest for query in (first, next_one)]
        return max(0.0, (min(*times, longest) - now_ms()) / 1000)

    def _do(self, connection: Connection, plan: Row[Any]) -> int:
        mine = connection.execute(delete(plans).where(plans.c.plan_id == plan.plan_id)).rowcount
        if mine and plan.refund_id is None:
            session = connection.execute(select(sessions).where(sessions.c.session_id == plan.session_id)).one()
            if session.state in {SessionState.OPEN, SessionState.CLOSED}:
                self._books.charge(connection, session, Dice(connection))
        elif mine:
            self._do_refund(connection, plan)
        return mine

    def _do_refund(self, connection: Connection, plan: Row[Any]) -> None:
        """Do a refund that was pending, or refused; unless its charge went back meanwhile."""
        row = connection.execute(select(refunds).where(refunds.c.refund_id == plan.refund_id)).one()
        if row.done_at is None and self._books.claim(connection, Refund.of(row)):
            session = connection.execute(select(sessions).where(sessions.c.session_id == plan.session_id)).one()
            done = replace(Refund.of(row), state=RefundState.DONE, reason=None, done_at=now_ms())
            self._books.change_refund(connection, done)
            self._books.tell_refund(connection, done, session, Dice(connection), answered=False)


_IDS: Final = ("event_id", "payment_id", "attempt_id", "charge_id", "refund_id")
_TOLD = (
    *(events.c.kind, events.c.charge_id, events.c.refund_id, events.c.amount, events.c.currency, events.c.reason),
    events.c.created_at,
    *(sessions.c.reference, sessions.c.attempt_id, sessions.c.payment_id, sessions.c.callback_url),
)
_JOINED = callbacks.join(events, events.c.event_id == callbacks.c.event_id).join(
    sessions, sessions.c.session_id == events.c.session_id
)


def _body(row: Row[Any]) -> bytes:
    """Return what a callback says: the same bytes each time it is sent."""
    ids = {name: None if getattr(row, name) is None else str(getattr(row, name)) for name in _IDS}
    told = {name: getattr(row, name) for name in ("kind", "amount", "currency", "reason", "reference")}
    return orjson.dumps({**ids, **told, "created_at": rfc3339(row.created_at)})


def _after(sent: Sent) -> dict[str, Any]:
    """Return what is stored about a callback that was sent."""
    answer = sent.answer[:_LONGEST_ANSWER]
    if sent.taken:
        return {"state": CallbackState.SENT, "answer": answer}
    if sent.due.tries >= MOST_TRIES:
        return {"state": CallbackState.GIVEN_UP, "answer": answer}
    distance = min(_FIRST_DISTANCE * 2 ** (sent.due.tries - 1), _LONGEST_DISTANCE)
    return {"due_at": now_ms() + distance, "answer": answer}
