"""Returns as the order service wires them itself, but for the web; and what must hold of them when a run is at rest."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self, cast

from halfmessage.ids import IdSource
from lab.judge.databases import Ask
from lab.simulate.clients import Told
from lab.simulate.plan import RETURNED_WITHIN
from lab.simulate.provider import Provider
from lab.simulate.world import SimulatedDatabase
from order.clients.pay import PayClient
from order.returns import Returns
from order.service.participants import Participant
from order.service.reading import OrderReader
from order.service.returning import Returning
from order.service.settling import Settlements

if TYPE_CHECKING:
    from common.config import Settings
    from common.telemetry import Metrics

_SETTINGS: Final = cast("Settings", SimpleNamespace(peer_timeout=2.0, return_within=RETURNED_WITHIN))
"""What returns read of all settings."""
_OTHERWISE: Final = """
SELECT o.order_id, o.status, s.state FROM orders o
LEFT JOIN sagas s ON s.saga = 'return' AND s.key = CAST(o.order_id AS TEXT)
WHERE (o.status = 'returned') <> (s.state IS NOT NULL) OR s.state <> 'done'
"""
_REFUNDED: Final = """
SELECT o.order_id, o.returned_at, t.changed_at FROM orders o
JOIN sagas s ON s.saga = 'return' AND s.key = CAST(o.order_id AS TEXT)
JOIN sagas_steps t ON t.run_id = s.run_id AND t.step = 'refund' AND t.state = 'done'
"""
_PAID_AT: Final = "SELECT order_id, paid_at FROM orders WHERE status = 'returned'"


class _Uncounted:
    """Stands for metrics, and for each counter of theirs."""

    def counter(self, *_: str) -> Self:
        return self

    def labels(self, *_: str) -> Self:
        return self

    def inc(self) -> None:
        pass

    def observe_all(self, _what: str, _gauges: object) -> None:
        pass


def start_returns(
    database: SimulatedDatabase,
    ids: IdSource,
    reader: OrderReader,
    participants: Sequence[Participant],
    payments: PayClient | None,
    settlements: Settlements,
) -> Returning:
    """Start what drives returns in a process of order."""
    metrics = cast("Metrics", _Uncounted())
    returns = Returns(_SETTINGS, database, ids, reader, participants, payments, settlements, metrics)
    returns.start()
    return returns.returning


def returned_wrongly(orders: Ask, clients: Sequence[Told], provider: Provider | None) -> Iterator[str]:
    """Yield what is wrong of returns, beside what each order holds and what its payment is."""
    for order_id, status, state in orders(_OTHERWISE):
        yield f"order {order_id} is {status}, and its return is {state or 'not there'}"
    yield from _too_late(orders, clients)
    if provider is not None:
        yield from _said_to_be_refunded(orders, provider)


def _too_late(orders: Ask, clients: Sequence[Told]) -> Iterator[str]:
    """Yield the orders whose return was asked for when its time was over, and begun."""
    first: dict[int, int] = {told.order_ids[0]: told.return_asked_at for told in clients if told.return_asked_at}
    for order_id, paid_at in orders(_PAID_AT):
        late = first.get(order_id, paid_at) - paid_at
        if late > 1000 * RETURNED_WITHIN:
            yield f"order {order_id} was to be returned {late} ms after it was paid, and is"


def _said_to_be_refunded(orders: Ask, provider: Provider) -> Iterator[str]:
    """Yield the orders whose return said that their money is back before it was."""
    said: dict[int, tuple[Any, ...]] = {row[0]: row[1:] for row in orders(_REFUNDED)}
    for order_id, taken_at, back_at in provider.sent_back():
        returned_at, said_at = said.get(order_id, (0, 0))
        if taken_at < returned_at and said_at < back_at:
            yield f"order {order_id}: its money was said to be back {back_at - said_at} ms before it was"
