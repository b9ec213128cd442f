"""Who places orders, cancels them and pays for them, and writes down every answer."""

from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from urllib3.exceptions import HTTPError

from common.payments import PaymentEvent
from common.registry import PAYMENT_TOPIC
from halfmessage.errors import BrokerError
from halfmessage.mq.port import Producer
from lab.simulate.plan import Wish
from lab.simulate.scheduler import Process
from lab.simulate.world import World

_WITHIN: Final = 15.0  # seconds that a client waits: longer than any answer takes
_TRIES: Final = 4
_AGAIN_AFTER: Final = 3.0  # seconds
_CREATED, _OK = 201, 200
_PROVIDER: Final = "sandbox"


@dataclass(slots=True)
class Told:
    """What one client was told; `answers` to its placing: status, and the kind of error or the order's id."""

    wish: Wish
    user: str
    answers: list[tuple[int, Any]] = field(default_factory=list)
    has_cancelled: bool = False
    """It asked for that, whatever became of it."""
    cancelled: tuple[int, Any] | None = None
    has_paid: bool = False
    is_done: bool = False

    @property
    def order_ids(self) -> list[int]:
        """The orders that it was told are created."""
        return [order_id for status, order_id in self.answers if status == _CREATED]


class Client:
    """One client, with one wish."""

    def __init__(self, world: World, wish: Wish, producer: Producer | None) -> None:
        """Take the world, what it wants, and what sends the message that an order was paid."""
        self._world = world
        self._producer = producer
        self.told = Told(wish, f"user-{wish.number}")

    def run(self) -> None:
        """Do all of it."""
        wish, scheduler = self.told.wish, self._world.scheduler
        scheduler.sleep(wish.at)
        tx_id = self._place()
        if tx_id is not None and wish.then:
            scheduler.sleep(wish.then_after)
            if wish.then == "cancel":
                self._cancel(self.told.order_ids[0])
            else:
                self._pay(self.told.order_ids[0], tx_id)
        self.told.is_done = True

    def _place(self) -> int | None:
        """Place the order, under a key as often as it takes; return the transaction that created it."""
        wish, told = self.told.wish, self.told
        asked = {
            "user": told.user,
            "goods_id": wish.goods_id,
            "quantity": wish.quantity,
            "coupon_id": wish.coupon_id,
            "key": "key" if wish.has_key else None,
        }
        for _ in range(_TRIES if wish.has_key else 1):
            status, answer = self._ask("/orders", asked)
            told.answers.append((status, answer.get("order_id") or answer.get("kind")))
            if status == _CREATED:
                return int(answer["tx_id"])
            if status and status < 500:  # noqa: PLR2004 - refused for good
                return None
            self._world.scheduler.sleep(_AGAIN_AFTER)
        return None

    def _cancel(self, order_id: int) -> None:
        for _ in range(_TRIES):
            self.told.has_cancelled = True
            status, answer = self._ask("/cancel", {"user": self.told.user, "order_id": order_id})
            self.told.cancelled = (status, answer.get("status") or answer.get("kind"))
            if status and status < 500:  # noqa: PLR2004
                return
            self._world.scheduler.sleep(_AGAIN_AFTER)

    def _pay(self, order_id: int, tx_id: int) -> None:
        """Say so as pay does; twice, as messages may come."""
        event = PaymentEvent(tx_id=1, order_ids=(order_id,), placed_by=(tx_id,), providers=(_PROVIDER,))
        assert self._producer is not None  # noqa: S101 - there is one where a wish is to pay # nosec B101
        for _ in range(2):
            self.told.has_paid = True
            try:
                self._producer.send(event.to_message(PAYMENT_TOPIC))
            except BrokerError:
                self._world.injector.tell("could not say that it was paid")
        self._world.injector.tell("paid", order_id=order_id)

    def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer; 0: there was none."""
        try:
            status, answer = self._world.network.call("order", "POST", path, orjson.dumps(body), _WITHIN)
        except HTTPError as error:
            return 0, {"kind": type(error).__name__}
        return status, orjson.loads(answer)


def start_clients(world: World, process: Process) -> list[Client]:
    """Start a client for each wish; what says that orders are paid has a link to the broker of its own."""
    clients: list[Client] = []
    pays = any(wish.then == "pay" for wish in world.plan.wishes)

    def main() -> None:
        producer = world.broker().producer("pay") if pays else None
        for wish in world.plan.wishes:
            client = Client(world, wish, producer)
            clients.append(client)
            world.scheduler.spawn(process, f"client {wish.number}", client.run)

    world.scheduler.spawn(process, "main", main)
    return clients


def serve_goods(_method: str, _path: str, payload: bytes | None) -> tuple[int, bytes]:
    """Be the goods service: whatever is asked for costs 5.00."""
    asked = orjson.loads(payload or b"{}")["goods_ids"]
    items = [
        {
            "goods_id": one,
            "name": "a lamp",
            "brief": None,
            "images": [],
            "unit_price": 500,
            "market_price": None,
            "currency": "EUR",
            "on_sale": True,
        }
        for one in asked
    ]
    return _OK, orjson.dumps({"items": items})
