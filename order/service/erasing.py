"""Receivers of one user's orders, erased on request. The orders stay: what was bought, and for how much."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, or_, select, update

from common.db import Database
from order.model import RequestState, order_requests, orders

_TOGETHER: Final = 500  # rows in one transaction
_O, _R = orders.c, order_requests.c
_RECEIVER = (_O.receiver_name, _O.receiver_phone, _O.receiver_address)


@dataclass(frozen=True, slots=True)
class Erased:
    """How many orders, and order requests that wait, had a receiver and have none now."""

    orders: int
    order_requests: int


def erase_receivers(database: Database, user_id: str) -> Erased:
    """Erase name, phone and address of the receivers of a user's orders, and of those that are to be placed soon.

    Again: nothing is left to erase. An order that is being placed meanwhile may keep its receiver: then again.
    Raise `DatabaseUnavailable` or `CommitOutcomeUnknown`: the next run goes on.
    """
    waiting = _all(database, lambda connection: _of_requests(connection, user_id))
    return Erased(_all(database, lambda connection: _of_orders(connection, user_id)), waiting)


def _of_orders(connection: Connection, user_id: str) -> int:
    has_one = or_(*(column.is_not(None) for column in _RECEIVER))
    ids = connection.scalars(select(_O.order_id).where(_O.user_id == user_id, has_one).limit(_TOGETHER)).all()
    if ids:
        nothing = {column.name: None for column in _RECEIVER}
        connection.execute(update(orders).where(_O.order_id.in_(ids)).values(nothing))
    return len(ids)


def _of_requests(connection: Connection, user_id: str) -> int:
    is_waiting = (_R.user_id == user_id, _R.state == RequestState.QUEUED.value)
    erased = 0
    for row in connection.execute(select(_R.request_id, _R.wanted).where(*is_waiting)).all():
        if row.wanted is not None and row.wanted.get("receiver") is not None:
            without = update(order_requests).where(_R.request_id == row.request_id, *is_waiting)
            erased += connection.execute(without.values(wanted={**row.wanted, "receiver": None})).rowcount
    return erased


def _all(database: Database, some: Callable[[Connection], int]) -> int:
    erased = 0
    while more := database.transact(some):
        erased += more
    return erased
