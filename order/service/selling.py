"""What messages `flash_purchase` mean: each purchase is an order request of its own, worked off as any other.

The request has the purchase's id, of which its order's idempotency key is made: however often the message comes, it is
one order. Whether a purchase got its pieces, the flash service says, as a participant of the order.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from sqlalchemy import Connection, insert

from common.db import Database
from common.purchases import PurchaseEvent
from halfmessage.errors import DuplicateRow, Unavailable
from halfmessage.ids import issued_at
from order.model import RequestState, Sale, order_requests
from order.service.ordering import Request
from order.service.requests import OrderRequest, known_requests, own_key, request_row
from order.service.submitting import wanted_of
from order.service.working_off import WorkingOff

_NEW = insert(order_requests)
_TRIES: Final = 3  # of noting requests that another process notes meanwhile: they are found then


class Selling:
    """Takes in purchases, and has them worked off."""

    def __init__(self, database: Database, working_off: WorkingOff) -> None:
        """Take the order service's database, and what works requests off."""
        self._database = database
        self._working_off = working_off

    def handle(self, events: Sequence[PurchaseEvent]) -> list[bool]:
        """Place the purchases that messages name; return whether each message is done with.

        Raise `Unavailable` or `CommitOutcomeUnknown`: all of them must come again; what is decided is found so.
        """
        self._take_in({one.request_id: one for event in events for one in _requests(event)})
        return self._working_off.handle(events)

    def _take_in(self, requests: Mapping[int, OrderRequest]) -> None:
        for _ in range(_TRIES):
            with self._database.read() as connection:
                known = known_requests(connection, requests)
            new = [request_row(requests[one]) for one in sorted(requests) if one not in known]
            if not new:
                return
            try:
                self._database.transact(partial(Connection.execute, statement=_NEW, parameters=new))
            except DuplicateRow:
                continue
        raise Unavailable


def _requests(event: PurchaseEvent) -> Iterator[OrderRequest]:
    sold = event.sold
    sale = Sale(
        sold.sale_id, event.tx_id, sold.name, sold.brief, sold.image, sold.unit_price, sold.market_price, sold.currency
    )
    for purchase_id, user_id, quantity in zip(event.order_ids, event.users, event.quantities, strict=True):
        wanted = Request(user_id, {sold.goods_id: quantity}, None, None, request_id=purchase_id, sale=sale)
        yield OrderRequest(
            *(purchase_id, event.tx_id, user_id, RequestState.QUEUED, issued_at(purchase_id), own_key(purchase_id)),
            wanted=wanted_of(wanted),
        )
