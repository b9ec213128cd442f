"""Releasing the reservations of a batch of orders in one transaction, each at most once; tombstones for the unknown."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from halfmessage.chunks import VALUES, chunks
from halfmessage.participant.effect import Effect
from halfmessage.participant.headers import Headers
from halfmessage.participant.model import ReservationState


class Releasing:
    """Gives back what the orders of one transaction hold."""

    def __init__(self, headers: Headers, effect: Effect[Any]) -> None:
        """Take the participant's headers, and what giving back does."""
        self._headers = headers
        self._effect = effect

    def together(self, connection: Connection, orders: Mapping[int, int]) -> None:
        """Release `orders` (order id → tx id). Raise IntegrityError if a header comes in between that was not there."""
        order_ids = sorted(orders)
        known = self._headers.locked_states(connection, order_ids)
        unknown = {order_id: orders[order_id] for order_id in order_ids if order_id not in known}
        if unknown:
            self._headers.insert(connection, unknown, ReservationState.RELEASED)
        live = [order_id for order_id in order_ids if known.get(order_id) is ReservationState.DEDUCTED]
        for part in chunks(live, VALUES):
            self._headers.release(connection, part)
        if live:
            self._effect.give_back(connection, live)

    def singly(self, connection: Connection, orders: Mapping[int, int]) -> None:
        """Release `orders` (order id → tx id), whatever comes in between."""
        released = [order_id for order_id, tx_id in sorted(orders.items()) if self._move(connection, order_id, tx_id)]
        if released:
            self._effect.give_back(connection, released)

    def _move(self, connection: Connection, order_id: int, tx_id: int) -> bool:
        """Move the header to `released`: whether that moved it from `deducted`, so that something must go back."""
        if self._release_live(connection, order_id):
            return True
        state = self._headers.states(connection, [order_id]).get(order_id)
        if state is None and self._headers.insert_tombstone(connection, order_id, tx_id):
            return False
        if state is ReservationState.RELEASED:
            return False
        return self._release_live(connection, order_id)  # a deduction was committed since we looked first

    def _release_live(self, connection: Connection, order_id: int) -> bool:
        return self._headers.release(connection, [order_id]) == 1
