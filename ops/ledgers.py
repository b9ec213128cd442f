"""Reads orders page by page, straight from their database and never writing."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Select, select, true

from common import schema_version
from common.db import WHOLE_TABLE, Database
from ops.findings import OpenReturn
from ops.returns import open_returns, under_way
from order.model import RequestState, Status, order_lines, order_requests, orders, settlements

_PAGE = 500


def opened(service: str, url: str) -> Database:
    """Open a service's database, to read all of it. Raise `SchemaMismatch` where it is another release's."""
    database = Database(url, pool_size=1, statement_timeout=WHOLE_TABLE)
    schema_version.require(service, database)
    return database


@dataclass(frozen=True, slots=True)
class OrderRow:
    """What the order database says of one order; times in ms since the epoch.

    `over_at`: when it was closed or returned; `is_returning`: its return has not ended.
    """

    status: Status
    expires_at: int
    paid_at: int | None
    over_at: int | None
    coupon_id: int | None
    unconfirmed: Mapping[str, int]
    """Since when which participant has something to confirm."""
    lines: Mapping[int, int]
    sale_id: int | None = None
    purchase_id: int | None = None
    is_returning: bool = False


class Orders:
    """The order database of one deployment."""

    def __init__(self, url: str) -> None:
        """Open it for reading. Raise `SchemaMismatch` where it is another release's."""
        self._database = opened("order", url)

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def ids(self) -> Iterator[Sequence[int]]:
        """Yield the ids of all orders, page by page."""
        return pages(self._database, select(orders.c.order_id), orders.c.order_id)

    def unknown(self, order_ids: Sequence[int]) -> list[int]:
        """Return those of the ids that are no order's."""
        known = self.which(order_ids, true())
        return [order_id for order_id in order_ids if order_id not in known]

    def which(self, order_ids: Collection[int], are: ColumnElement[bool]) -> set[int]:
        """Return those of the ids that are of orders for which a condition on their rows holds."""
        query = select(orders.c.order_id).where(orders.c.order_id.in_(order_ids) & are)
        with self._database.read() as connection:
            return set(connection.scalars(query))

    def rows(self, order_ids: Collection[int]) -> dict[int, OrderRow]:
        """Return the orders that exist."""
        lines: dict[int, dict[int, int]] = defaultdict(dict)
        unconfirmed: dict[int, dict[str, int]] = defaultdict(dict)
        with self._database.read() as connection:
            for line in connection.execute(select(order_lines).where(order_lines.c.order_id.in_(order_ids))):
                lines[line.order_id][line.goods_id] = line.quantity
            for row in connection.execute(select(settlements).where(settlements.c.order_id.in_(order_ids))):
                unconfirmed[row.order_id][row.participant] = row.since
            rows = connection.execute(select(orders).where(orders.c.order_id.in_(order_ids))).all()
            returned = [row.order_id for row in rows if row.status == Status.RETURNED]
            returning = under_way(connection, returned)
        return {
            row.order_id: OrderRow(
                Status(row.status),
                row.expires_at,
                row.paid_at,
                row.closed_at or row.returned_at,
                row.coupon_id,
                unconfirmed[row.order_id],
                lines[row.order_id],
                row.sale_id,
                row.purchase_id,
                row.order_id in returning,
            )
            for row in rows
        }

    def open_returns(self) -> list[OpenReturn]:
        """Return the newest returns that have not ended, at most `KEPT`, the oldest of them first."""
        with self._database.read() as connection:
            return open_returns(connection)

    def requests(self, request_ids: Collection[int]) -> dict[int, int | None]:
        """Return those of the ids that are order requests', with when each was over; None: it waits, or stands.

        Over is one that was refused, or whose order is closed or returned; in ms since the epoch.
        """
        query = (
            select(order_requests.c.request_id, order_requests.c.state, order_requests.c.decided_at)
            .add_columns(orders.c.closed_at, orders.c.returned_at)
            .join_from(order_requests, orders, orders.c.order_id == order_requests.c.order_id, isouter=True)
            .where(order_requests.c.request_id.in_(request_ids))
        )
        found: dict[int, int | None] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                is_refused = row.state in {RequestState.REFUSED, RequestState.FAILED}
                found[row.request_id] = row.decided_at if is_refused else row.closed_at or row.returned_at
        return found


def pages(database: Database, query: Select[int], key: Column[int]) -> Iterator[Sequence[int]]:
    """Yield what a query returns of the column `key`, page by page."""
    after = 0
    while True:
        with database.read() as connection:
            page = connection.scalars(query.where(key > after).order_by(key).limit(_PAGE)).all()
        if not page:
            return
        yield page
        after = page[-1]
