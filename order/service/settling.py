"""What a participant has still to confirm of orders: that a closed one is void there, that a paid one is known there.

A row is written with the order's move, and deleted once the participant has said so; the sweep asks until it has.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Insert,
    Integer,
    Row,
    String,
    bindparam,
    delete,
    insert,
    literal,
    or_,
    select,
    union_all,
)

from common.db import Database
from halfmessage.chunks import VALUES, chunks
from halfmessage.clock import now_ms
from halfmessage.participant.model import Fate
from order.model import Order, orders, settlements
from order.service.participants import Participant

PAGE = 500  # orders in one call

_CONFIRMED = {"void": "released", "paid": "deducted"}
"""The state of the reservation that confirms a fate."""

# Made once: each sweep asks them of every participant
_PAGE = (
    select(settlements.c.order_id, settlements.c.tx_id, settlements.c.fate, settlements.c.since)
    .where((settlements.c.participant == bindparam("participant")) & (settlements.c.since <= bindparam("before")))
    .order_by(settlements.c.since, settlements.c.order_id)
    .limit(bindparam("most", type_=Integer))
)
_PAGE_OF_FATE = _PAGE.where(settlements.c.fate == bindparam("fate"))

_Page = Sequence[Row[Any, Any, Any, Any]]


class Settlements:
    """The rows of one database."""

    def __init__(self, database: Database, participants: Sequence[Participant]) -> None:
        """Take the order service's database, and the participants of its orders."""
        self._database = database
        self._participants = participants
        self._noting: dict[tuple[str, ...], Insert] = {}  # by the names of those that are told

    def note_void(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Write down, in the transaction that closes orders, that each participant they need has to let go."""
        self._note(connection, self._participants, order_ids, "void")

    def note_paid(self, connection: Connection, paid: Sequence[Order]) -> bool:
        """Write down, in the transaction that pays orders, which participants have to hear of it; tell whether any."""
        hearing = [one for one in self._participants if one.hears_of_payment and any(map(one.needs, paid))]
        if hearing:
            self._note(connection, hearing, [order.order_id for order in paid], "paid")
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
        for page in self._pages(participant, before, fate):
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

    def _note(
        self, connection: Connection, participants: Sequence[Participant], order_ids: Collection[int], fate: Fate
    ) -> None:
        """Write a row for each of the participants that each of the orders needs, in one statement."""
        names = tuple(one.name for one in participants)
        noting = self._noting.get(names)
        if noting is None:
            noting = self._noting[names] = _noting(participants)
        connection.execute(noting, {"these": order_ids, "noted_as": fate, "now": now_ms()})

    def _pages(self, participant: Participant, before: int, fate: Fate | None) -> Iterator[_Page]:
        """Yield the participant's rows, oldest first; one that stays unconfirmed holds up no other."""
        columns = settlements.c
        named = {"participant": participant.name, "before": before, "most": PAGE}
        query, named = (_PAGE, named) if fate is None else (_PAGE_OF_FATE, named | {"fate": fate})
        beyond = query
        while True:
            with self._database.read() as connection:
                page = connection.execute(beyond, named).all()
            if not page:
                return
            yield page
            last = page[-1]
            beyond = query.where(
                (columns.since > last.since) | ((columns.since == last.since) & (columns.order_id > last.order_id))
            )

    def _delete(self, participant: Participant, order_ids: Sequence[int]) -> None:
        of_participant = settlements.c.participant == participant.name
        for part in chunks(order_ids, VALUES):
            gone = delete(settlements).where(settlements.c.order_id.in_(part) & of_participant)
            self._database.transact(partial(Connection.execute, statement=gone))


def _noting(participants: Sequence[Participant]) -> Insert:
    """Return the statement that writes a row for each of the participants that each of `these` orders needs."""
    names = union_all(*(select(literal(one.name).label("participant")) for one in participants)).subquery()
    needed = or_(*((names.c.participant == one.name) & one.needed for one in participants))
    of_each = (
        select(
            orders.c.order_id,
            names.c.participant,
            bindparam("noted_as", type_=String),
            orders.c.tx_id,
            bindparam("now", type_=BigInteger),
        )
        .join_from(orders, names, needed)
        .where(orders.c.order_id.in_(bindparam("these", expanding=True)))
    )
    columns = ["order_id", "participant", "fate", "tx_id", "since"]
    return insert(settlements).from_select(columns, of_each)
