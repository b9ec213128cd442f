"""What the orders are compared with: the same REST call on the same web server, as ONE local transaction.

One process that owns stock and orders in one database: no second service, no message, no reservation, nothing that
survives a crash between two systems, because there is only one. Prices are constants and there are no
Idempotency-Keys, which is to its advantage. Run by `./scripts/bench baseline`, as `python -m lab.bench.naive`.
"""

from collections.abc import Mapping

from snowflake import SnowflakeGenerator
from sqlalchemy import Connection, bindparam, insert, update

from common.auth import verifier_of
from common.config import Settings
from common.db import Database
from common.process import Service, run
from common.telemetry import Metrics
from common.web import Api, Reply, current_identity
from halfmessage.clock import now_ms
from halfmessage.ids import EPOCH
from order.model import InsufficientStock, Line, Order, Status, order_lines, orders
from order.schema import OrderOut, PlaceOrder, order_document
from stock.model import stock

PRICE = 250
_WORKERS = 1024  # of a snowflake's ids; the port tells ours from another process's

_TAKE = (
    update(stock)
    .where((stock.c.goods_id == bindparam("goods")) & (stock.c.available >= bindparam("pieces")))
    .values(available=stock.c.available - bindparam("pieces"))
)
_NEW_ORDER, _NEW_LINES = insert(orders), insert(order_lines)


class NaiveOrders:
    """Places orders."""

    def __init__(self, database: Database, worker: int, pay_timeout: float) -> None:
        self._database = database
        self._ids = SnowflakeGenerator(worker, epoch=EPOCH)
        self._pay_timeout_ms = int(pay_timeout * 1000)

    def place(self, user_id: str, quantities: Mapping[int, int]) -> Order:
        """Take the stock and write the order. Raise `InsufficientStock` or `DatabaseUnavailable`."""
        now = now_ms()
        order = Order(
            order_id=self._next_id(),
            tx_id=0,
            user_id=user_id,
            status=Status.CREATED,
            close_reason=None,
            lines=tuple(Line(g, "Tea", "", None, quantity, PRICE, None) for g, quantity in quantities.items()),
            receiver=None,
            goods_amount=PRICE * sum(quantities.values()),
            currency="EUR",
            created_at=now,
            expires_at=now + self._pay_timeout_ms,
        )
        self._database.transact(lambda connection: _write(connection, order))
        return order

    def _next_id(self) -> int:
        while (found := next(self._ids)) is None:  # 4,096 in this millisecond already
            pass
        return int(found)


def _write(connection: Connection, order: Order) -> None:
    for line in sorted(order.lines, key=lambda line: line.goods_id):  # always in this order: no deadlocks
        taken = connection.execute(_TAKE, {"goods": line.goods_id, "pieces": line.quantity})
        if not taken.rowcount:
            raise InsufficientStock(items=[{"goods_id": str(line.goods_id)}])
    connection.execute(
        _NEW_ORDER,
        {
            "order_id": order.order_id,
            "tx_id": order.tx_id,
            "user_id": order.user_id,
            "status": order.status.value,
            "total_amount": order.total_amount,
            "goods_amount": order.goods_amount,
            "currency": order.currency,
            "created_at": order.created_at,
            "expires_at": order.expires_at,
        },
    )
    connection.execute(
        _NEW_LINES,
        [
            {
                "order_id": order.order_id,
                "position": position,
                "goods_id": line.goods_id,
                "name": line.name,
                "brief": line.brief,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
            }
            for position, line in enumerate(order.lines)
        ],
    )


def build(settings: Settings) -> Service:
    """Return the service, not started yet."""
    database = Database(settings.database_url, pool_size=settings.pool_size)
    naive = NaiveOrders(database, settings.port % _WORKERS, settings.pay_timeout)
    api = Api(
        "naive",
        title="Orders, naively",
        description="One local transaction an order.",
        max_body=settings.max_body,
        verifier=verifier_of(settings, "naive"),
        metrics=Metrics("naive"),
        checks={"database": database.ping},
    )

    @api.post(
        "/orders",
        scopes=("orders",),
        body=PlaceOrder,
        returns={201: OrderOut},
        errors=[InsufficientStock],
        rate_limit=settings.rate_limit,
    )
    def place(body: PlaceOrder) -> Reply:
        """Place an order."""
        order = naive.place(current_identity().user_id, {item.goods_id: item.quantity for item in body.items})
        return Reply(order_document(order, {}), 201, {"Location": f"/orders/{order.order_id}"})

    return Service(api, start=[], stop=[database.close])


if __name__ == "__main__":
    run("naive", build)
