"""Deducting a batch of orders in one transaction, each whole or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic

import structlog
from sqlalchemy import Connection

from halfmessage import failpoints
from halfmessage.chunks import VALUES, chunks
from halfmessage.db import translated
from halfmessage.errors import BelowZero, DuplicateRow, RowRefused
from halfmessage.participant.effect import Effect, Members, Refusal, Taker, Want
from halfmessage.participant.headers import Headers
from halfmessage.participant.model import ReservationState

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Decision:
    """What one order got: `deducted`, `released` (its tombstone was there), or a refusal with its members."""

    order_id: int
    verdict: str
    members: Members = field(default_factory=dict)


class Deducting(Generic[Want]):
    """Takes for the orders of one transaction."""

    def __init__(self, name: str, headers: Headers, effect: Effect[Want]) -> None:
        """Take the participant's name (the prefix of its failpoint), its headers, and what taking does."""
        self._before_commit = f"{name}.before_commit"
        self._headers = headers
        self._effect = effect

    def together(
        self, connection: Connection, taker: Taker[Want], tx_id: int, wants: Mapping[int, Want]
    ) -> dict[int, Decision]:
        """Deduct orders that are new. Raise IntegrityError if one is not."""
        self._headers.insert(connection, dict.fromkeys(wants, tx_id), ReservationState.DEDUCTED)
        refused = taker.take_all(connection, wants)
        for part in chunks(refused, VALUES):
            self._headers.forget(connection, part)
        failpoints.hit(self._before_commit)
        return {order_id: _decision(order_id, refused.get(order_id)) for order_id in wants}

    def singly(
        self, connection: Connection, taker: Taker[Want], tx_id: int, wants: Mapping[int, Want]
    ) -> dict[int, Decision]:
        """Deduct orders, some of which may be known: what is known of one is its answer."""
        known = self._headers.states(connection, list(wants))
        taker.begin(connection, wants)
        decisions = {
            order_id: Decision(order_id, known[order_id].value)
            if order_id in known
            else self._deduct(connection, taker, tx_id, order_id, want)
            for order_id, want in wants.items()
        }
        failpoints.hit(self._before_commit)
        return decisions

    def _deduct(self, connection: Connection, taker: Taker[Want], tx_id: int, order_id: int, want: Want) -> Decision:
        try:
            with translated(), connection.begin_nested() as savepoint:
                self._headers.insert(connection, {order_id: tx_id}, ReservationState.DEDUCTED)
                refusal = taker.take(connection, order_id, want)
                if refusal is not None:
                    savepoint.rollback()
        except DuplicateRow:  # the same order, or its release, came in between: what it left is the answer
            state = self._headers.states(connection, [order_id]).get(order_id)
            if state is None:  # a row of the effect's own
                raise
            return Decision(order_id, state.value)
        except (BelowZero, RowRefused):  # rows that are wrong already, by hand or by a bug: not this batch's matter
            log.exception("the database refuses to deduct an order", order_id=str(order_id))
            refusal = self._effect.unfit(want)
        return _decision(order_id, refusal)


def _decision(order_id: int, refusal: Refusal | None) -> Decision:
    if refusal is None:
        return Decision(order_id, ReservationState.DEDUCTED.value)
    return Decision(order_id, refusal.verdict, refusal.members)
