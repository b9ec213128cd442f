"""Deducting a batch of orders in one transaction, each whole or not at all."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from common import failpoints
from common.chunks import VALUES, chunks
from common.db import translated
from common.errors import BelowZero, DuplicateRow, RowRefused
from stock.model import ReservationState, Verdict
from stock.service.rows import FORGET_HEADERS, NEW_HEADER, NEW_LINES, header, line_rows, states
from stock.service.strategies.port import Lines, Short, Taker, take_whole

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Decision:
    """What one order got; `short` names the goods that were wanting."""

    order_id: int
    verdict: Verdict
    short: tuple[int, ...] = ()


def deduct_together(
    connection: Connection, taker: Taker, tx_id: int, orders: Mapping[int, Lines]
) -> dict[int, Decision]:
    """Deduct orders that are new. Raise IntegrityError if one is not."""
    connection.execute(NEW_HEADER, [header(order_id, tx_id, ReservationState.DEDUCTED) for order_id in orders])
    short = taker.take_all(connection, orders)
    for part in chunks(short, VALUES):
        connection.execute(FORGET_HEADERS, {"order_ids": part})
    taken = {order_id: lines for order_id, lines in orders.items() if order_id not in short}
    if taken:
        connection.execute(NEW_LINES, line_rows(taken))
    failpoints.hit("stock.before_commit")
    return {
        order_id: Decision(order_id, Verdict.INSUFFICIENT, tuple(short[order_id]))
        if order_id in short
        else Decision(order_id, Verdict.DEDUCTED)
        for order_id in orders
    }


def deduct_singly(
    connection: Connection, taker: Taker, tx_id: int, orders: Mapping[int, Lines], goods_ids: Collection[int]
) -> dict[int, Decision]:
    """Deduct orders, some of which may be known: what is known of one is its answer."""
    known = states(connection, list(orders))
    taker.begin(connection, goods_ids, len(orders))
    decisions = {
        order_id: Decision(order_id, Verdict(known[order_id]))
        if order_id in known
        else _deduct(connection, taker, tx_id, order_id, lines)
        for order_id, lines in orders.items()
    }
    failpoints.hit("stock.before_commit")
    return decisions


def _deduct(connection: Connection, taker: Taker, tx_id: int, order_id: int, lines: Lines) -> Decision:
    try:
        with translated(), connection.begin_nested():
            connection.execute(NEW_HEADER, header(order_id, tx_id, ReservationState.DEDUCTED))
            take_whole(taker, connection, lines)
            connection.execute(NEW_LINES, line_rows({order_id: lines}))
    except Short as short:
        return Decision(order_id, Verdict.INSUFFICIENT, short.goods_ids)
    except DuplicateRow:  # the same order, or its release, came in between: what it left is the answer
        return Decision(order_id, Verdict(states(connection, [order_id])[order_id]))
    except (BelowZero, RowRefused):  # a level that is wrong already, by hand or by a bug: it is not this batch's matter
        log.exception("the database refuses to deduct an order", order_id=str(order_id), goods_ids=sorted(lines))
        return Decision(order_id, Verdict.INSUFFICIENT, tuple(sorted(lines)))
    return Decision(order_id, Verdict.DEDUCTED)
