"""Who places orders, cancels them and pays for them, and writes down every answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from urllib3.exceptions import HTTPError

from common.payments import PaymentEvent
from common.registry import PAYMENT_TOPIC
from halfmessage.errors import BrokerError
from halfmessage.mq.port import Producer
from lab.simulate.asked import TAKEN
from lab.simulate.coupons import WITHDRAWN, WITHDRAWN_AFTER
from lab.simulate.plan import Wish
from lab.simulate.scheduler import Process
from lab.simulate.world import World

_WITHIN: Final = 15.0  # seconds that a client waits: longer than any answer takes
_TRIES: Final = 4
_AGAIN_AFTER: Final = 3.0  # seconds
_CREATED, _OK, _PAYMENT_REQUIRED = 201, 200, 402
_PROVIDER: Final = "sandbox"

Answer = tuple[int, Any]
"""A status, and the kind of error or what was told."""


@dataclass(slots=True)
class Told:
    """What one client was told; `answers` to its placing: status, and the kind of error or the order's id.

    `others`: answers to another request under its key. `statuses`: of the order, as each 201 told it. `again`: answers
    to its request once more, when it had its order.
    """

    wish: Wish
    answers: list[Answer] = field(default_factory=list)
    others: list[Answer] = field(default_factory=list)
    again: list[Answer] = field(default_factory=list)
    statuses: set[str] = field(default_factory=set)
    has_cancelled: bool = False
    """It asked for that, whatever became of it."""
    cancelled: Answer | None = None
    strangers: Answer | None = None
    """What another user was told who asked for its order to be cancelled."""
    has_paid: bool = False
    paid: Answer | None = None
    """What it was told when it paid, where there is a pay service."""
    has_returned: bool = False
    """It asked for its order to be returned, whatever became of it."""
    returned: Answer | None = None
    """What it was told when it returned its order."""
    returned_too: Answer | None = None
    """What it was told when it asked for that twice at once."""
    return_asked_at: int | None = None
    """When it first asked for that, in ms since the epoch."""
    shown_to_strangers: Answer | None = None
    """What another user was told who asked how far its return is."""
    is_done: bool = False

    @property
    def called(self) -> str:
        """The X-Request-Id of its requests."""
        return f"wish-{self.wish.number}"

    @property
    def order_ids(self) -> list[int]:
        """The orders that it was told are created."""
        return [order_id for status, order_id in (*self.answers, *self.again) if status == _CREATED]


class Client:
    """One client, with one wish."""

    def __init__(self, world: World, process: Process, wish: Wish, producer: Producer | None) -> None:
        """Take the world, the process of all clients, what it wants, and what sends the message that it has paid."""
        self._world = world
        self._process = process
        self._producer = producer
        self._calls = wish.number
        self.told = Told(wish)

    def run(self) -> None:
        """Do all of it."""
        wish, scheduler = self.told.wish, self._world.scheduler
        scheduler.sleep(wish.at)
        if wish.twin:
            scheduler.spawn(self._process, f"twin {wish.number}", self._be_the_twin)
        tx_id = self._place()
        if tx_id is not None:
            self._go_on(self.told.order_ids[0], tx_id)
        self.told.is_done = True

    def _go_on(self, order_id: int, tx_id: int) -> None:
        """Do what comes after the order."""
        wish, scheduler = self.told.wish, self._world.scheduler
        if wish.then:
            scheduler.sleep(wish.then_after)
        if wish.then == "both":
            scheduler.spawn(self._process, f"payer {wish.number}", lambda: self._pay(order_id, tx_id))
        if wish.then in {"cancel", "both"}:
            self._cancel(order_id)
        elif wish.then == "pay":
            self._pay(order_id, tx_id)
        elif wish.then == "stranger":
            status, answer = self._ask("/cancel", {"user": "a stranger", "order_id": order_id})
            self.told.strangers = (status, answer.get("kind"))
        if wish.returns_after is not None:
            scheduler.sleep(wish.returns_after)
            if wish.returns_twice:
                scheduler.spawn(self._process, f"returner {wish.number}", lambda: self._return_too(order_id))
            self._return(order_id)
        if wish.again_after is not None:
            scheduler.sleep(wish.again_after)
            self.told.again.append(self._ask_for(wish.quantity)[0])
            self.told.others.append(self._ask_for(wish.quantity + 1)[0])

    def _be_the_twin(self) -> None:
        """Use the key at the same time."""
        wish, told = self.told.wish, self.told
        if wish.twin == "same":
            told.answers.append(self._ask_for(wish.quantity)[0])
        else:
            told.others.append(self._ask_for(wish.quantity + 1)[0])

    def _place(self) -> int | None:
        """Place the order, under a key as often as it takes; return the transaction that created it."""
        wish = self.told.wish
        for _ in range(_TRIES if wish.has_key else 1):
            (status, told), tx_id = self._ask_for(wish.quantity)
            self.told.answers.append((status, told))
            if status == _CREATED:
                return tx_id
            if status and status < 500:  # noqa: PLR2004 - refused for good
                return None
            self._world.scheduler.sleep(_AGAIN_AFTER)
        return None

    def _ask_for(self, quantity: int) -> tuple[Answer, int]:
        """Ask for the order; return the answer, and the transaction that created it, if one did."""
        wish, told = self.told.wish, self.told
        asked = {
            "user": wish.user,
            "goods_id": wish.goods_id,
            "quantity": quantity,
            "coupon_id": wish.coupon_id,
            "key": f"key-{wish.number}" if wish.has_key else None,
            "asked_as": told.called,
        }
        status, answer = self._ask("/orders", asked)
        if status == _CREATED:
            told.statuses.add(answer["status"])
        return (status, answer.get("order_id") or answer.get("kind")), int(answer.get("tx_id", 0))

    def _cancel(self, order_id: int) -> None:
        for _ in range(_TRIES):
            self.told.has_cancelled = True
            status, answer = self._ask("/cancel", {"user": self.told.wish.user, "order_id": order_id})
            self.told.cancelled = (status, answer.get("status") or answer.get("kind"))
            if status and status < 500:  # noqa: PLR2004
                return
            self._world.scheduler.sleep(_AGAIN_AFTER)

    def _return(self, order_id: int) -> None:
        """Ask for it as often as it takes; then another user asks how far it is."""
        told = self.told
        told.return_asked_at = self._world.scheduler.now // 1_000_000
        for _ in range(_TRIES):
            told.returned = self._ask_for_its_return(order_id)
            if (status := told.returned[0]) and status < 500:  # noqa: PLR2004
                break
            self._world.scheduler.sleep(_AGAIN_AFTER)
        status, answer = self._ask("/return/shown", {"user": "a stranger", "order_id": order_id})
        told.shown_to_strangers = (status, answer.get("kind"))

    def _return_too(self, order_id: int) -> None:
        """Ask for it at the same time."""
        self.told.returned_too = self._ask_for_its_return(order_id)

    def _ask_for_its_return(self, order_id: int) -> Answer:
        self.told.has_returned = True
        status, answer = self._ask("/return", {"user": self.told.wish.user, "order_id": order_id})
        return status, answer.get("kind") or answer.get("status")

    def _pay(self, order_id: int, tx_id: int) -> None:
        """Pay as the order service has it done, or where there is no pay service, have it told."""
        if self._world.plan.pays:
            self._pay_through(order_id)
        else:
            self._say_that_it_is_paid(order_id, tx_id)

    def _pay_through(self, order_id: int) -> None:
        """Ask for it as often as it takes; with another card where one was refused."""
        told, scenario = self.told, self.told.wish.scenario
        for _ in range(_TRIES):
            told.has_paid = True
            asked = {"user": told.wish.user, "order_id": order_id, "scenario": scenario}
            status, answer = self._ask("/pay", asked)
            told.paid = (status, answer.get("status") or answer.get("kind"))
            if status == _PAYMENT_REQUIRED:
                scenario = "card"
            elif status and status < 500:  # noqa: PLR2004
                return
            self._world.scheduler.sleep(_AGAIN_AFTER)

    def _say_that_it_is_paid(self, order_id: int, tx_id: int) -> None:
        """Say so as pay does; twice, as messages may come."""
        event = PaymentEvent(tx_id=1, order_ids=(order_id,), placed_by=(tx_id,), providers=(_PROVIDER,))
        assert self._producer is not None  # noqa: S101 - there is one where a wish is to pay # nosec B101
        asked = self._world.asked
        number = asked.message(self.told.wish.user, self.told.called, order_id)
        for _ in range(2):
            self.told.has_paid = True
            try:
                self._producer.send(event.to_message(PAYMENT_TOPIC))
                asked.told(number, TAKEN, {})
            except BrokerError as error:
                asked.unheard(number, type(error).__name__)
                self._world.injector.tell("could not say that it was paid")
        self._world.injector.tell("paid", order_id=order_id)

    def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer of one process after the other; 0: there was none."""
        names = self._world.processes("order")
        self._calls += 1
        name = names[self._calls % len(names)]
        number = self._world.asked.call(self.told.called, name, path, body)
        try:
            status, answer = self._world.network.call(name, "POST", path, orjson.dumps(body), _WITHIN)
        except HTTPError as error:
            self._world.asked.unheard(number, type(error).__name__)
            return 0, {"kind": type(error).__name__}
        told = orjson.loads(answer)
        self._world.asked.told(number, status, told)
        return status, told


def start_clients(world: World, process: Process) -> list[Client]:
    """Start a client for each wish; what says that orders are paid has a link to the broker of its own."""
    clients: list[Client] = []
    pays = not world.plan.pays and any(wish.then in {"pay", "both"} for wish in world.plan.wishes)
    withdraws = any(wish.coupon_id == WITHDRAWN for wish in world.plan.wishes)

    def main() -> None:
        producer = _producer(world) if pays else None
        for wish in world.plan.wishes:
            client = Client(world, process, wish, producer)
            clients.append(client)
            world.scheduler.spawn(process, f"client {wish.number}", client.run)
        if withdraws:
            world.scheduler.spawn(process, "operator", lambda: _withdraw(world))

    world.scheduler.spawn(process, "main", main)
    return clients


def _producer(world: World) -> Producer:
    """Open the broker's file, as soon as no other process keeps it locked."""
    while True:
        try:
            return world.broker().producer("pay")
        except BrokerError:
            world.scheduler.sleep(_AGAIN_AFTER)


def _withdraw(world: World) -> None:
    """Be the operator who withdraws a coupon."""
    world.scheduler.sleep(WITHDRAWN_AFTER)
    try:
        status, _ = world.network.call("coupon", "POST", f"/coupons/{WITHDRAWN}/withdraw", None, _WITHIN)
    except HTTPError:
        return
    if status == _OK:
        world.withdrawn_at = world.scheduler.now // 1_000_000


def serve_goods(_method: str, _path: str, payload: bytes | None, _headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Be the goods service: whatever is asked for costs 4.99."""
    asked = orjson.loads(payload or b"{}")["goods_ids"]
    items = [
        {
            "goods_id": one,
            "name": "a lamp",
            "brief": None,
            "images": [],
            "unit_price": 499,
            "market_price": None,
            "currency": "EUR",
            "on_sale": True,
        }
        for one in asked
    ]
    return _OK, orjson.dumps({"items": items})
