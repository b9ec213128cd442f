"""Our code at work on a file, for its statements: the embedded broker, and what services write in their databases."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from common import migrations
from common.db import Database
from common.heartbeat import Heartbeat
from halfmessage.clock import now_ms
from halfmessage.ids import LeasedIds
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.port import BrokerOptions, Delivery, Message, Resolution, Verdict
from halfmessage.tx.record import Records
from order.model import transaction_records
from stock.service.levels import Levels
from stock.service.pieces import stock_reservations

Workload = Callable[[Path], None]

_WITHIN = 10.0  # seconds for the consumer to get everything
_LARGE = b"x" * 9_000  # bytes: two pages and more


def _broker(path: Path) -> None:
    """Send, delay, begin and resolve messages; retry and acknowledge them."""
    told, got = threading.Event(), list[str]()
    options = BrokerOptions(retry_first_after=0.01)

    def handle(deliveries: Sequence[Delivery]) -> list[Verdict]:
        got.extend(delivery.message.keys[0] for delivery in deliveries)
        if len(set(got)) == 7:  # noqa: PLR2004 (what is sent, and committed)
            told.set()
        return [Verdict.ACK if got.count(one.message.keys[0]) > 1 else Verdict.RETRY for one in deliveries]

    with closing(EmbeddedBroker(path, options)) as broker:
        sender = broker.producer("order")
        broker.consumer("stock", "topic", handle)
        for number in range(5):
            sender.send(Message("topic", _LARGE if number % 2 else b"small", keys=(f"sent-{number}",)))
            half = sender.begin(Message("topic", b"half", keys=(f"half-{number}",), properties={"tx_id": str(number)}))
            sender.resolve(half, Resolution.ROLLBACK if number % 2 else Resolution.COMMIT)
        sender.send_at(Message("topic", b"late", keys=("late",)), now_ms() + 3_600_000)
        sender.begin(Message("topic", b"open", keys=("open",)))
        told.wait(_WITHIN)
        broker.ping()


def _stock(path: Path) -> None:
    """Set levels, deduct for several orders at once, be refused, give back, also what was never deducted."""
    migrations.upgrade("stock", f"sqlite:///{path}")
    with closing(Database(f"sqlite:///{path}")) as database:
        levels, reservations = Levels(database), stock_reservations(database)
        for goods in range(1, 5):
            levels.set_total(goods, 20)
        for batch in range(6):
            first = 10 * batch + 1
            reservations.deduct(batch + 1, {first + order: {1 + order: 3, 4: 1} for order in range(3)})
            reservations.release({first: batch + 1, first + 8: batch + 1})


def _order(path: Path) -> None:
    """Commit and fence records, lease ids, beat."""
    migrations.upgrade("order", f"sqlite:///{path}")
    with closing(Database(f"sqlite:///{path}")) as database:
        records, heartbeat = Records(transaction_records, retention=3600.0), Heartbeat(database)
        ids = LeasedIds(database, "order", workers=range(4))
        ids.start()
        for _ in range(8):
            database.transact(lambda connection: records.commit(connection, ids.next()))
            records.fence(database, ids.next())
            heartbeat.beat()
        ids.close()


WORKLOADS: Mapping[str, Workload] = MappingProxyType({"broker": _broker, "stock": _stock, "order": _order})
"""By the name of whose file it is."""
