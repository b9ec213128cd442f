"""Orders as they stand, and how they are read: those that are asked for at the same time, together."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from orjson import loads
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    bindparam,
    func,
    literal,
    select,
    tuple_,
)

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
from order.service.requests import find_by_keys as requests_by_keys
from order.service.requests import own_key

# A row comes as one text, a JSON array that the database makes: PyMySQL takes about a microsecond in Python for each
# value it reads, which was most of what a page of orders cost (docs/performance.md).
_FIRST_COLUMNS: Final = (
    *(orders.c.order_id, orders.c.tx_id, orders.c.user_id, orders.c.status, orders.c.close_reason),
    *(orders.c.receiver_name, orders.c.receiver_phone, orders.c.receiver_address),
)
_OTHER_COLUMNS: Final = (  # as `Order` has them after its receiver
    *(orders.c.goods_amount, orders.c.currency, orders.c.created_at, orders.c.expires_at),
    *(orders.c.paid_at, orders.c.closed_at, orders.c.coupon_id, orders.c.discount_amount),
    *(orders.c.paid_through, orders.c.sale_id, orders.c.purchase_id, orders.c.returned_at),
)
_LINE_COLUMNS: Final = (  # the first tells which line; the others as `Line` has them
    *(order_lines.c.position, order_lines.c.goods_id, order_lines.c.name, order_lines.c.brief, order_lines.c.image),
    *(order_lines.c.quantity, order_lines.c.unit_price, order_lines.c.market_price),
)
_KEY_COLUMNS: Final = (idempotency_keys.c.user_id, idempotency_keys.c.idempotency_key, idempotency_keys.c.request_hash)
_REST_AT: Final = len(_FIRST_COLUMNS)
_LINE_AT: Final = _REST_AT + len(_OTHER_COLUMNS)
_KEY_AT: Final = _LINE_AT + len(_LINE_COLUMNS)
_COLUMNS: Final = (*_FIRST_COLUMNS, *_OTHER_COLUMNS, *_LINE_COLUMNS)
_PACKED = func.json_array(*_COLUMNS)
_PACKED_WITH_KEY = func.json_array(*_COLUMNS, *_KEY_COLUMNS)

# Made once, for they run for every request; an order has at least one line.
_BY_IDS = (
    select(_PACKED)
    .join_from(orders, order_lines, order_lines.c.order_id == orders.c.order_id)
    .where(orders.c.order_id.in_(bindparam("order_ids", expanding=True)))
)
_BY_KEYS = (
    select(_PACKED_WITH_KEY)
    .join_from(idempotency_keys, orders, orders.c.order_id == idempotency_keys.c.order_id)
    .join(order_lines, order_lines.c.order_id == orders.c.order_id)
    .where(tuple_(*_KEY_COLUMNS[:2]).in_(bindparam("keys", expanding=True)))
)
_OF_IDS = orders.c.order_id.in_(bindparam("order_ids", expanding=True))
_STATUSES = select(orders.c.order_id, orders.c.status).where(_OF_IDS)
_EXPIRIES = select(orders.c.order_id, orders.c.expires_at).where(_OF_IDS)
_LANES = 1  # two make twice as many queries half as large, see docs/performance.md
_TOGETHER = 256  # orders in one query
_LONGEST_QUEUE = 1 << 16  # more than there may be threads: none is refused
_ABOVE_ALL: Final = 2**63 - 1  # no id is larger
_LONGEST_WAIT = 5.0  # seconds until its query begins; as long as one may wait for a connection

Key = tuple[str, str]
"""A user, and an Idempotency-Key of theirs."""
FirstAnswer = tuple[str, Order | None]
"""The hash of the request that came with a key first, and the order that it made; None: it waits to be placed."""


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
        """Return what a user's request with this Idempotency-Key got first, None where there was none."""
        return self._by_key.submit((user_id, key))

    def page(self, user_id: str, *, status: Status | None, below: int | None, limit: int) -> list[Order]:
        """Return the user's orders with ids below `below`, newest first."""
        asked = {"of_user": user_id, "below": _ABOVE_ALL if below is None else below, "most": limit}
        with self._database.read() as connection:
            if status is None:
                return _newest_first(connection.execute(_PAGE, asked))
            return _newest_first(connection.execute(_PAGE_OF_STATUS, asked | {"of_status": status.value}))

    def newest(self, *, status: Status | None, before: tuple[int, ...] | None, limit: int) -> list[Order]:
        """Return everybody's orders, newest first: by id, or of one status by when they expire, which has an index.

        `before` is the `place_of` the last one of the page before.
        """
        query = select(orders.c.order_id).limit(limit)
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
            found = _of_rows(_unpacked(connection.execute(_those(query))))
        return sorted(found.values(), key=lambda order: place_of(order, status), reverse=True)

    def found(self, text: str, *, limit: int) -> dict[str, list[Order]]:
        """Return up to `limit` orders, the newest, of each way in which they may be meant: by what it is called.

        By their id, the id of the transaction that placed them, an Idempotency-Key, the id of a request that came
        without one, the X-Request-Id of the call that placed them, or their user. Each has an index.
        """
        number = parse_id(text)
        ways = {} if number is None else {"order": orders.c.order_id == number, "transaction": orders.c.tx_id == number}
        keys = [text] if number is None else [text, own_key(number)]
        ways["idempotency-key"] = orders.c.order_id.in_(
            select(idempotency_keys.c.order_id).where(idempotency_keys.c.idempotency_key.in_(keys))
        )
        ways["user"] = orders.c.user_id == text
        with self._database.read() as connection:
            ways["x-request-id"] = orders.c.order_id.in_(_placed_by(connection, text, limit))
            return {
                way: _newest_first(connection.execute(_those(_newest_of(condition, limit))))
                for way, condition in ways.items()
            }

    def _find(self, order_ids: Sequence[int]) -> list[Order | None]:
        with self._database.read() as connection:
            found = find_orders(connection, set(order_ids))
        return [found.get(order_id) for order_id in order_ids]

    def _find_first(self, keys: Sequence[Key]) -> list[FirstAnswer | None]:
        with self._database.read() as connection:
            found = find_by_keys(connection, set(keys))
            others = set(keys) - found.keys()
            submitted = requests_by_keys(connection, others) if others else {}
        return [found.get(key) or ((submitted[key].request_hash, None) if key in submitted else None) for key in keys]


def place_of(order: Order, status: Status | None) -> tuple[int, ...]:
    """Return where an order is in the list of everybody's, or of those of a status: see `OrderReader.newest`."""
    return (order.order_id,) if status is None else (order.expires_at, order.order_id)


def _placed_by(connection: Connection, request_id: str, limit: int) -> Sequence[int]:
    """Return the newest orders of calls with an X-Request-Id: a client may send the same one for ever."""
    calls = placing_calls.c
    query = select(calls.order_id).where(calls.request_id == request_id)
    return connection.scalars(query.order_by(calls.order_id.desc()).limit(limit)).all()


def find_orders(connection: Connection, order_ids: Collection[int]) -> dict[int, Order]:
    """Return those of the orders that exist."""
    return _of_rows(_unpacked(rows_in(connection, _BY_IDS, "order_ids", order_ids)))


def find_by_keys(connection: Connection, keys: Collection[Key]) -> dict[Key, FirstAnswer]:
    """Return what was made under those of the idempotency keys that are taken."""
    rows = _unpacked(rows_in(connection, _BY_KEYS, "keys", keys))
    found = _of_rows(rows)
    under = {row[0]: row[_KEY_AT:] for row in rows}
    return {(user_id, key): (hashed, found[order_id]) for order_id, (user_id, key, hashed) in under.items()}


def _newest_of(condition: ColumnElement[bool], limit: int | BindParameter[int]) -> Select[Any]:
    """Return a query of the ids of so many orders, the newest."""
    return select(orders.c.order_id).where(condition).order_by(orders.c.order_id.desc()).limit(limit)


def _those(ids: Select[Any]) -> Select[Any]:
    """Return a query of the orders whose ids a query finds, in no order: they are few, and sorted here."""
    found = ids.subquery()
    return (
        select(_PACKED)
        .join_from(found, orders, orders.c.order_id == found.c.order_id)
        .join(order_lines, order_lines.c.order_id == orders.c.order_id)
    )


_OF_USER = (orders.c.user_id == bindparam("of_user")) & (orders.c.order_id < bindparam("below"))
_PAGE = _those(_newest_of(_OF_USER, bindparam("most", type_=Integer)))
_PAGE_OF_STATUS = _those(
    _newest_of(_OF_USER & (orders.c.status == bindparam("of_status")), bindparam("most", type_=Integer))
)


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


def _unpacked(rows: Iterable[Row[Any]]) -> list[list[Any]]:
    return [loads(text) for (text,) in rows]


def _newest_first(rows: Iterable[Row[Any]]) -> list[Order]:
    found = _of_rows(_unpacked(rows))
    return [found[order_id] for order_id in sorted(found, reverse=True)]


def _of_rows(rows: Iterable[list[Any]]) -> dict[int, Order]:
    """Return the order that each row is a line of, by its id; lines are sorted here, for a few cost less."""
    of_each: defaultdict[int, list[list[Any]]] = defaultdict(list)
    for row in rows:
        of_each[row[0]].append(row)
    return {order_id: _order(those) for order_id, those in of_each.items()}


def _order(rows: list[list[Any]]) -> Order:
    """Return an order of its rows, one for each line."""
    if len(rows) > 1:
        rows.sort(key=itemgetter(_LINE_AT))
    order_id, tx_id, user_id, status, close_reason, name, phone, address = rows[0][:_REST_AT]
    return Order(
        order_id,
        tx_id,
        user_id,
        Status(status),
        CloseReason(close_reason) if close_reason else None,
        tuple(Line(*row[_LINE_AT + 1 : _KEY_AT]) for row in rows),
        None if name is None else Receiver(name, phone, address),
        *rows[0][_REST_AT:_LINE_AT],
    )
