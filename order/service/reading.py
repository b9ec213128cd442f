"""Orders as they stand, and how they are read: those that are asked for at the same time, together."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, literal, select, tuple_

from common.db import Database
from common.schema import parse_id
from halfmessage.chunks import rows_in
from halfmessage.errors import NotFound
from halfmessage.tx.batch import Batcher
from order.model import (
    CloseReason,
    Line,
    Order,
    Receiver,
    Status,
    idempotency_keys,
    order_lines,
    orders,
    placing_calls,
)

# Made once, for they run for every request; an order has at least one line, and none of its columns' names.
_WITH_LINES = select(orders, *(column for column in order_lines.c if column.name != "order_id")).join_from(
    orders, order_lines
)
_BY_IDS = _WITH_LINES.where(orders.c.order_id.in_(bindparam("order_ids", expanding=True)))
_KEY = (idempotency_keys.c.user_id, idempotency_keys.c.idempotency_key)
_BY_KEYS = (
    _WITH_LINES.add_columns(idempotency_keys.c.idempotency_key, idempotency_keys.c.request_hash)
    .join(idempotency_keys, idempotency_keys.c.order_id == orders.c.order_id)
    .where(tuple_(*_KEY).in_(bindparam("keys", expanding=True)))
)
_OF_IDS = orders.c.order_id.in_(bindparam("order_ids", expanding=True))
_STATUSES = select(orders.c.order_id, orders.c.status).where(_OF_IDS)
_EXPIRIES = select(orders.c.order_id, orders.c.expires_at).where(_OF_IDS)
_LANES = 1  # two make twice as many queries half as large, see docs/performance.md
_TOGETHER = 256  # orders in one query
_LONGEST_QUEUE = 1 << 16  # more than there may be threads: none is refused
_LONGEST_WAIT = 5.0  # seconds until its query begins; as long as one may wait for a connection

Key = tuple[str, str]
"""A user, and an Idempotency-Key of theirs."""
FirstAnswer = tuple[str, Order]
"""The hash of the request that came with a key first, and the order that it made."""


class OrderReader:
    """Reads orders from one database. Who asks while a query is under way shares the next one with all who do."""

    def __init__(self, database: Database) -> None:
        """Take the order service's database."""
        self._database = database
        self._by_id: Batcher[int, Order | None] = Batcher(
            self._find, lanes=_LANES, heaviest=_TOGETHER, longest_queue=_LONGEST_QUEUE, longest_wait=_LONGEST_WAIT
        )
        self._by_key: Batcher[Key, FirstAnswer | None] = Batcher(
            self._find_first, lanes=_LANES, heaviest=_TOGETHER, longest_queue=_LONGEST_QUEUE, longest_wait=_LONGEST_WAIT
        )

    def get(self, order_id: int, *, owner: str | None) -> Order:
        """Return an order of `owner` (None: of anybody). Raise `NotFound`, also when it is another's."""
        order = self._by_id.submit(order_id)
        if order is None or owner not in {None, order.user_id}:
            raise NotFound("There is no such order.")
        return order

    def first_answer(self, user_id: str, key: str) -> FirstAnswer | None:
        """Return what a user's request with this Idempotency-Key got first, or None."""
        return self._by_key.submit((user_id, key))

    def page(self, user_id: str, *, status: Status | None, below: int | None, limit: int) -> list[Order]:
        """Return the user's orders with ids below `below`, newest first."""
        query = select(orders).where(orders.c.user_id == user_id).order_by(orders.c.order_id.desc()).limit(limit)
        if status is not None:
            query = query.where(orders.c.status == status.value)
        if below is not None:
            query = query.where(orders.c.order_id < below)
        with self._database.read() as connection:
            return _assemble(connection, connection.execute(query).all())

    def newest(self, *, status: Status | None, before: tuple[int, ...] | None, limit: int) -> list[Order]:
        """Return everybody's orders, newest first: by id, or of one status by when they expire, which has an index.

        `before` is the `place_of` the last one of the page before.
        """
        query = select(orders).limit(limit)
        if status is None:
            query = query.order_by(orders.c.order_id.desc())
            if before is not None:
                query = query.where(orders.c.order_id < before[0])
        else:
            by = (orders.c.expires_at, orders.c.order_id)
            query = query.where(orders.c.status == status.value).order_by(*(column.desc() for column in by))
            if before is not None:
                # The first condition is true wherever the second is: MySQL looks up a range by it, not by pairs
                query = query.where(by[0] <= before[0], tuple_(*by) < tuple_(*map(literal, before)))
        with self._database.read() as connection:
            return _assemble(connection, connection.execute(query).all())

    def found(self, text: str, *, limit: int) -> dict[str, list[Order]]:
        """Return up to `limit` orders, the newest, of each way in which they may be meant: by what it is called.

        By their id, the id of the transaction that placed them, an Idempotency-Key, the X-Request-Id of the call that
        placed them, or their user. Each has an index.
        """
        number = parse_id(text)
        ways = {} if number is None else {"order": orders.c.order_id == number, "transaction": orders.c.tx_id == number}
        ways["idempotency-key"] = orders.c.order_id.in_(
            select(idempotency_keys.c.order_id).where(idempotency_keys.c.idempotency_key == text)
        )
        ways["user"] = orders.c.user_id == text
        with self._database.read() as connection:
            ways["x-request-id"] = orders.c.order_id.in_(_placed_by(connection, text, limit))
            return {
                way: _assemble(connection, connection.execute(_newest_of(condition, limit)).all())
                for way, condition in ways.items()
            }

    def _find(self, order_ids: Sequence[int]) -> list[Order | None]:
        with self._database.read() as connection:
            found = find_orders(connection, set(order_ids))
        return [found.get(order_id) for order_id in order_ids]

    def _find_first(self, keys: Sequence[Key]) -> list[FirstAnswer | None]:
        with self._database.read() as connection:
            found = find_by_keys(connection, set(keys))
        return [found.get(key) for key in keys]


def place_of(order: Order, status: Status | None) -> tuple[int, ...]:
    """Return where an order is in the list of everybody's, or of those of a status: see `OrderReader.newest`."""
    return (order.order_id,) if status is None else (order.expires_at, order.order_id)


def _placed_by(connection: Connection, request_id: str, limit: int) -> Sequence[int]:
    """Return the newest orders of calls with an X-Request-Id: a client may send the same one for ever."""
    calls = placing_calls.c
    query = select(calls.order_id).where(calls.request_id == request_id)
    return connection.scalars(query.order_by(calls.order_id.desc()).limit(limit)).all()


def _newest_of(condition: ColumnElement[bool], limit: int) -> Select[Any]:
    return select(orders).where(condition).order_by(orders.c.order_id.desc()).limit(limit)


def find_orders(connection: Connection, order_ids: Collection[int]) -> dict[int, Order]:
    """Return those of the orders that exist."""
    rows = rows_in(connection, _BY_IDS, "order_ids", order_ids)
    return {order_id: _order(lines[0], map(_line, lines)) for order_id, lines in _of_each(rows).items()}


def find_by_keys(connection: Connection, keys: Collection[Key]) -> dict[Key, FirstAnswer]:
    """Return what was made under those of the idempotency keys that are taken."""
    of_each = _of_each(rows_in(connection, _BY_KEYS, "keys", keys)).values()
    return {
        (lines[0].user_id, lines[0].idempotency_key): (lines[0].request_hash, _order(lines[0], map(_line, lines)))
        for lines in of_each
    }


def _of_each(rows: Iterable[Row[Any]]) -> Mapping[int, list[Row[Any]]]:
    """Return the rows, one for each line, of each order in the order of its lines: sorted here, for a few cost less."""
    lines: defaultdict[int, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        lines[row.order_id].append(row)
    return {order_id: sorted(those, key=_position) for order_id, those in lines.items()}


def statuses(
    connection: Connection, order_ids: Collection[int], which: ColumnElement[bool] | None = None
) -> dict[int, Status]:
    """Return the status of those of the orders that exist, and of which `which` is true."""
    query = _STATUSES if which is None else _STATUSES.where(which)
    rows = rows_in(connection, query, "order_ids", order_ids)
    return {order_id: Status(status) for order_id, status in rows}


def expiries(connection: Connection, order_ids: Collection[int]) -> dict[int, int]:
    """Return when those of the orders that exist expire, or would have: ms since the epoch."""
    return {order_id: int(at) for order_id, at in rows_in(connection, _EXPIRIES, "order_ids", order_ids)}


def _assemble(connection: Connection, rows: Sequence[Row[Any]]) -> list[Order]:
    lines: dict[int, list[Line]] = {row.order_id: [] for row in rows}
    query = (
        select(order_lines)
        .where(order_lines.c.order_id.in_(lines))
        .order_by(order_lines.c.order_id, order_lines.c.position)
    )
    for line in connection.execute(query) if lines else ():
        lines[line.order_id].append(_line(line))
    return [_order(row, lines[row.order_id]) for row in rows]


def _position(row: Row[Any]) -> int:
    return int(row.position)


def _line(row: Row[Any]) -> Line:
    return Line(row.goods_id, row.name, row.brief, row.image, row.quantity, row.unit_price, row.market_price)


def _order(row: Row[Any], lines: Iterable[Line]) -> Order:
    return Order(
        row.order_id,
        row.tx_id,
        row.user_id,
        Status(row.status),
        CloseReason(row.close_reason) if row.close_reason else None,
        tuple(lines),
        _receiver(row),
        row.goods_amount,
        row.currency,
        row.created_at,
        row.expires_at,
        row.paid_at,
        row.closed_at,
        row.coupon_id,
        row.discount_amount,
        row.paid_through,
        row.sale_id,
        row.purchase_id,
        row.returned_at,
    )


def _receiver(row: Row[Any]) -> Receiver | None:
    if row.receiver_name is None:
        return None
    return Receiver(row.receiver_name, row.receiver_phone, row.receiver_address)
