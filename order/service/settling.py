"""What a participant has still to confirm of orders: that a closed one is void there, that a paid one is known there.

A row is written with the order's move, and deleted once the participant has said so; the sweep asks until it has.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, literal, or_, select, true, union_all

from common.db import Database
from halfmessage.chunks import VALUES, chunks
from halfmessage.clock import now_ms
from halfmessage.participant.model import Fate
from order.model import Order, orders, settlements
from order.service.participants import Participant

PAGE = 500  # orders in one call

_CONFIRMED = {"void": "released", "paid": "deducted"}
"""The state of the reservation that confirms a fate."""

_Page = Sequence[Row[Any, Any, Any, Any]]


class Settlements:
    """The rows of one database."""

    def __init__(self, database: Database, participants: Sequence[Participant]) -> None:
        """Take the order service's database, and the participants of its orders."""
        self._database = database
        self._participants = participants

    def note_void(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Write down, in the transaction that closes orders, that each participant they need has to let go."""
        _note(connection, self._participants, order_ids, "void")

    def note_paid(self, connection: Connection, paid: Sequence[Order]) -> bool:
        """Write down, in the transaction that pays orders, which participants have to hear of it; tell whether any."""
        hearing = [one for one in self._participants if one.hears_of_payment and any(map(one.needs, paid))]
        if hearing:
            _note(connection, hearing, [order.order_id for order in paid], "paid")
        return bool(hearing)

    def forget_paid(self, connection: Connection, order_id: int) -> None:
        """Forget, in the transaction that returns an order, which participants have still to hear that it is paid."""
        mine = (settlements.c.order_id == order_id) & (settlements.c.fate == "paid")
        connection.execute(delete(settlements).where(mine))

    def confirm(self, participant: Participant, before: int, fate: Fate | None = None) -> tuple[int, int]:
        """Tell a participant what it has to confirm since before a time (ms), or only one fate; delete what it does.

        Return how many orders it confirmed, and how many not. Raise what the database and the participant raise.
        """
        confirmed = unconfirmed = 0
        which = true() if fate is None else settlements.c.fate == fate
        for page in self._pages(participant, which & (settlements.c.since <= before)):
            states = participant.settle([(row.order_id, row.tx_id, row.fate) for row in page])
            said = [row.order_id for row in page if states.get(row.order_id) == _CONFIRMED[row.fate]]
            self._delete(participant, said)
            confirmed += len(said)
            unconfirmed += len(page) - len(said)
        return confirmed, unconfirmed

    def confirm_payments(self) -> None:
        """Tell the participants that hear of payments what they have not confirmed yet. Raises as `confirm` does."""
        for participant in self._participants:
            if participant.hears_of_payment:
                self.confirm(participant, now_ms(), "paid")

    def _pages(self, participant: Participant, which: ColumnElement[bool]) -> Iterator[_Page]:
        """Yield the participant's rows, oldest first; one that stays unconfirmed holds up no other."""
        columns = settlements.c
        query = (
            select(columns.order_id, columns.tx_id, columns.fate, columns.since)
            .where((columns.participant == participant.name) & which)
            .order_by(columns.since, columns.order_id)
            .limit(PAGE)
        )
        beyond: ColumnElement[bool] = true()
        while True:
            with self._database.read() as connection:
                page = connection.execute(query.where(beyond)).all()
            if not page:
                return
            yield page
            last = page[-1]
            beyond = (columns.since > last.since) | ((columns.since == last.since) & (columns.order_id > last.order_id))

    def _delete(self, participant: Participant, order_ids: Sequence[int]) -> None:
        of_participant = settlements.c.participant == participant.name
        for part in chunks(order_ids, VALUES):
            gone = delete(settlements).where(settlements.c.order_id.in_(part) & of_participant)
            self._database.transact(partial(Connection.execute, statement=gone))


def _note(connection: Connection, participants: Sequence[Participant], order_ids: Collection[int], fate: Fate) -> None:
    """Write a row for each of the participants that each of the orders needs, in one statement."""
    names = union_all(*(select(literal(one.name).label("participant")) for one in participants)).subquery()
    needed = or_(*((names.c.participant == one.name) & one.needed for one in participants))
    of_each = (
        select(orders.c.order_id, names.c.participant, literal(fate), orders.c.tx_id, literal(now_ms()))
        .join_from(orders, names, needed)
        .where(orders.c.order_id.in_(order_ids))
    )
    columns = ["order_id", "participant", "fate", "tx_id", "since"]
    connection.execute(insert(settlements).from_select(columns, of_each))
