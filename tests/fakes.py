"""Order and stock wired in one process, on real files and the real embedded broker, with faults where asked for."""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sqlalchemy import MetaData, create_engine, select

from common.aside import Aside
from common.db import Database
from common.errors import PeerUnavailable
from common.registry import ROLLBACK_TOPIC
from common.reservations.client import LiveReservation
from common.reservations.schema import Settle, StatesQuery, deduct_body
from common.web.problems import document
from halfmessage.clock import now_ms, rfc3339
from halfmessage.errors import BrokerError, HalfMessageError, NotFound
from halfmessage.ids import EPOCH
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import (
    BrokerOptions,
    CheckAnswer,
    HalfMessage,
    Message,
    MessageView,
    Producer,
    Resolution,
    State,
)
from halfmessage.participant.consumer import RollbackConsumer
from halfmessage.participant.model import Fate
from halfmessage.participant.reservations import Reservations
from halfmessage.saga.engine import Engine
from halfmessage.saga.plan import Delay
from halfmessage.tx.coordinator import Checker, Coordinator
from halfmessage.tx.record import Records
from order import model as order_model
from order.clients.goods import Goods, GoodsClient
from order.clients.participant import Deduction
from order.clients.stock import StockClient
from order.model import Order, settlements, transaction_records
from order.service.auditing import Audit
from order.service.closing import Closing
from order.service.ordering import Ordering, Placed, Request
from order.service.overdue import Overdue
from order.service.participants import Participant
from order.service.paying import Elsewhere, Paying
from order.service.payments import Payments
from order.service.placing import Draft, IdempotencyKey, Placing
from order.service.pricing import Pricing
from order.service.reading import OrderReader
from order.service.requests import RequestReader
from order.service.return_saga import return_sagas
from order.service.returning import Returning
from order.service.selling import Selling
from order.service.settling import Settlements
from order.service.submitting import Bounds, Submitting
from order.service.successes import Successes
from order.service.sweeping import Sweep
from order.service.telling import Telling
from order.service.timeline import Timeline
from order.service.timeouts import Timeouts
from order.service.working_off import WorkingOff
from stock import model as stock_model
from stock.schema import OrderIn
from stock.service.levels import Levels
from stock.service.pieces import stock_reservations
from stock.service.strategies.port import Lines
from tests.coupons import InMemoryCoupon, InMemoryRules
from tests.databases import database_url
from tests.faults import Faults
from tests.in_memory_flash import InMemoryFlash
from tests.in_memory_pay import InMemoryPay
from tests.support import eventually, lines_of

P = ParamSpec("P")
T = TypeVar("T")

DEADLINE = 30.0  # seconds; transactions of `Ids.age` beyond it may be fenced
RETENTION = 3600.0
PRICE = 250


@cache
def _empty(metadata: MetaData) -> bytes:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        content: bytes = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]
    engine.dispose()
    return content


def open_database(path: Path, metadata: MetaData) -> Database:
    """Open a new database with these tables; SQLite's are copied, which is faster than making them each time."""
    url = database_url(path.parent, path.stem)
    if url.startswith("sqlite"):
        path.write_bytes(_empty(metadata))
        return Database(url)
    database = Database(url)
    metadata.create_all(database.engine)
    return database


class Ids:
    """Issues ids of one test, as if `age` seconds ago."""

    def __init__(self) -> None:
        self.age = 0.0
        self._sequence = itertools.count(1)

    def next(self) -> int:
        return ((now_ms() - int(self.age * 1000) - EPOCH) << 22) + next(self._sequence)


class AtOnce:
    """Starts nothing beside: each step is over when it was started, so that tests know where they are."""

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except HalfMessageError as error:
            future.set_exception(error)
        return future


class FaultyProducer:
    """A real producer whose steps fail as planned, before or after they were done."""

    def __init__(self, producer: Producer, faults: Faults) -> None:
        self._producer = producer
        self._faults = faults

    def _do(self, where: str, deed: Callable[[], T]) -> T:
        self._faults.passing(where, "before")
        result = deed()
        self._faults.passing(where, "after")
        return result

    def send(self, message: Message) -> str:
        return self._do("send", lambda: self._producer.send(message))

    def send_at(self, message: Message, deliver_at: int) -> str:
        return self._do("send_at", lambda: self._producer.send_at(message, deliver_at))

    def begin(self, message: Message) -> HalfMessage:
        return self._do("begin", lambda: self._producer.begin(message))

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        self._do("resolve", lambda: self._producer.resolve(half, resolution))

    def close(self) -> None:
        self._producer.close()


_DEDUCT = deduct_body(OrderIn)


def _problem(error: HalfMessageError, asked_as: str) -> dict[str, Any]:
    return document(error, "/orders", asked_as)


class InProcessStock(StockClient):
    """`order.clients.stock.StockClient` over the real use case, without the network between.

    It takes what stock's interface takes: an empty list, or one of too many, would be refused there.
    """

    def __init__(self, reservations: Reservations[Lines], faults: Faults) -> None:
        self._reservations = reservations
        self._faults = faults
        self.name = "stock"
        self.settled: list[tuple[int, int, Fate]] = []

    def deduct(self, tx_id: int, orders: Sequence[Order], *, revive: bool = False) -> dict[int, Deduction]:
        self._faults.passing("deduct", "before")
        asked = [{"order_id": str(order.order_id), **self.want(order)} for order in orders]
        body = _DEDUCT.model_validate({"tx_id": str(tx_id), "orders": asked, "revive": revive})
        decisions = self._reservations.deduct(body.tx_id, body.wants(), revive=body.revive)
        self._faults.passing("deduct", "after")
        return {d.order_id: self._deduction({"verdict": d.verdict, **d.members}) for d in decisions}

    def unverified(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        self._faults.passing("unverified", "before")
        found = self._reservations.unverified(older_than=older_than, after=after, limit=limit)
        return [LiveReservation(r.order_id, r.tx_id) for r in found]

    def live(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        self._faults.passing("live", "before")
        found = self._reservations.unverified(older_than=older_than, after=after, limit=limit, or_verified=True)
        return [LiveReservation(r.order_id, r.tx_id) for r in found]

    def states(self, order_ids: Collection[int]) -> dict[int, str | None]:
        self._faults.passing("states", "before")
        StatesQuery.model_validate({"order_ids": [str(order_id) for order_id in order_ids]})
        found = self._reservations.states(list(order_ids))
        return {o: found[o].value if o in found else None for o in order_ids}

    def settle(self, fates: Sequence[tuple[int, int, Fate]]) -> dict[int, str | None]:
        self._faults.passing("settle", "before")
        asked = [{"order_id": str(o), "tx_id": str(t), "fate": fate} for o, t, fate in fates]
        Settle.model_validate({"orders": asked})
        self.settled += fates
        states = self._reservations.settle({o: (t, fate) for o, t, fate in fates})
        return {o: states[o].value if o in states else None for o, _, _ in fates}

    def reservation(self, order_id: int) -> dict[str, Any]:
        self._faults.passing("reservation", "before")
        found = self._reservations.get(order_id)
        return {
            "order_id": str(found.order_id),
            "tx_id": str(found.tx_id),
            "state": found.state.value,
            "items": [{"goods_id": str(g), "quantity": q} for g, q in lines_of(found).items()],
            "created_at": rfc3339(found.created_at),
            "released_at": None if found.released_at is None else rfc3339(found.released_at),
        }


class InMemoryGoods(GoodsClient):
    """`order.clients.goods.GoodsClient` without the network: goods by id."""

    def __init__(self) -> None:
        self.known: dict[int, Goods] = {}
        self.down = False

    def add(self, goods_id: int, *, price: int = PRICE, currency: str = "EUR", on_sale: bool = True) -> None:
        image = f"https://img.example/{goods_id}"
        self.known[goods_id] = Goods(goods_id, f"goods {goods_id}", "brief", image, price, price * 2, currency, on_sale)

    def find(self, goods_ids: Collection[int]) -> dict[int, Goods]:
        if self.down:
            raise PeerUnavailable
        return {goods_id: self.known[goods_id] for goods_id in goods_ids if goods_id in self.known}


class Shop:
    """Everything of order and stock but Flask and the network; close it. On demand with further participants.

    Orders can be paid also where pay is no participant: then nothing but its answers to tries is of it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        pay_timeout: float = 900.0,
        coupons: bool = False,
        pay: bool = False,
        flash: bool = False,
        urls: tuple[str, str] | None = None,
    ) -> None:
        """Make the databases of order and stock, unless they are there, at these URLs."""
        self.ids, self.faults, self.goods = Ids(), Faults(), InMemoryGoods()
        if urls is None:
            self.database = open_database(directory / "order.db", order_model.metadata)
            self.stock_database = open_database(directory / "stock.db", stock_model.metadata)
        else:
            self.database, self.stock_database = map(Database, urls)
        self.levels, self.reservations = Levels(self.stock_database), stock_reservations(self.stock_database)
        self.stock = InProcessStock(self.reservations, self.faults)

        self.rules = InMemoryRules()
        self.coupon = InMemoryCoupon(self.faults, self.rules)
        self.payments = InMemoryPay(self.faults)
        self.participants: list[Participant] = [self.stock, *([self.coupon] if coupons else [])]
        self.participants += [self.payments] if pay else []
        self.flash = InMemoryFlash(self.faults)
        self.participants += [self.flash] if flash else []

        self.broker = open_broker(f"embedded:///{directory}/broker.db", BrokerOptions(retry_first_after=0.02))
        self.console = self.broker.console()
        self._plain_producer = self.broker.producer("order")
        self.producer = FaultyProducer(self._plain_producer, self.faults)
        self.broker.consumer("stock", ROLLBACK_TOPIC, RollbackConsumer(self.reservations))
        for participant in (self.coupon, self.payments, self.flash):
            if participant in self.participants:
                self.broker.consumer(participant.name, ROLLBACK_TOPIC, participant.consume)

        self.records = Records(transaction_records, retention=RETENTION)
        self.checker = Checker(self.database, self.records, deadline=DEADLINE)
        self.coordinator = Coordinator(self.producer, self.database, self.records, self.ids)
        self.reader = OrderReader(self.database)
        self.pricing = Pricing(self.goods, self.rules if coupons else None)
        self.settlements = Settlements(self.database, self.participants)
        self.telling = Telling(self.settlements, AtOnce())
        self.placing = self.placing_with(AtOnce())
        self.ordering = Ordering(self.reader, self.pricing, self.ids, self.place, pay_timeout=pay_timeout)
        self.closing = Closing(self.database, self.coordinator, self.reader, self.settlements)
        self.audits = [Audit(self.database, participant, self.closing) for participant in self.participants]
        self.paying = Paying(self.database, self.reader, self.payments, self.is_held, self.settlements, self.tell)
        self.overdue = Overdue(self.closing, self.paying, self.payments, last_question=2.0)
        self.shown = Payments(self.payments)
        self.timeouts = Timeouts(self.database, self.checker, self.overdue)
        self.successes = Successes(self.database, self.checker, self.paying)
        self.counted: dict[str, int] = {}
        self.sweep = Sweep(
            self.database,
            self.records,
            self.checker,
            self.overdue,
            self.settlements,
            self.audits,
            count=lambda what, number: self.counted.update({what: self.counted.get(what, 0) + number}),
        )
        self.decided: list[str] = []
        self.requests = RequestReader(self.database)
        self.submitting = Submitting(self.coordinator, self.database, AtOnce(), Bounds(8, 4))
        self.working_off = self.working_off_with(self.ordering.order)
        self.selling = Selling(self.database, self.working_off)
        self.returning = self.returning_within(60.0)
        self.timeline = Timeline(self.database, self.records, self.console, self.participants, self.payments)

    def close(self) -> None:
        self.broker.close()
        self.database.close()
        self.stock_database.close()

    def placing_with(self, aside: Aside) -> Placing:
        return Placing(self.coordinator, self.producer, self.participants, self.settlements, aside, self.tell)

    def working_off_with(self, order: Callable[[Request], Placed], *, expires: float = 600.0) -> WorkingOff:
        """Work requests off through `order`, two at a time, each over before the next one begins."""
        count = self.decided.append
        first = self.ordering.first_answer
        return WorkingOff(self.database, order, first, AtOnce(), _problem, at_once=2, expires=expires, count=count)

    def engine(self) -> Engine:
        """Return one more instance of what runs returns: nothing drives them until `sweep` is called."""
        sagas = return_sagas(self.reader, self.participants, self.payments, within=5.0)
        delay = Delay(first=0.02, longest=0.02)
        return Engine(self.database, order_model.sagas, self.ids, sagas, name="return", delay=delay)

    def returning_within(self, seconds: float) -> Returning:
        """Return orders that were paid so many seconds ago at most."""
        return Returning(self.database, self.engine(), self.reader, self.settlements, within=seconds)

    def pay(self, order_id: int, *, owner: str | None = None) -> Order:
        """Pay an order at once through the use case."""
        paid = self.paying.pay(order_id, "sandbox", None, owner=owner)
        assert not isinstance(paid, Elsewhere)
        return paid

    def tell(self) -> None:
        """Tell participants what they have to hear of, unless a test has this fail."""
        self.faults.passing("tell", "before")
        self.telling.soon()

    def is_held(self, order: Order) -> bool:
        return all(audit.is_held(order) for audit in self.audits)

    def settled(self) -> set[tuple[int, str, str]]:
        """Return what participants have still to confirm: order id, participant, fate."""
        with self.database.read() as connection:
            rows = connection.execute(select(settlements.c.order_id, settlements.c.participant, settlements.c.fate))
            return {(row.order_id, row.participant, row.fate) for row in rows}

    def place(self, draft: Draft) -> Order:
        """Place a batch of one."""
        (answer,) = self.placing.place([draft])
        if isinstance(answer, HalfMessageError):
            raise answer
        return answer

    def sell(self, goods_id: int, pieces: int) -> None:
        """Put goods on sale, so many pieces of them in stock."""
        self.goods.add(goods_id)
        self.levels.set_total(goods_id, pieces)

    def order(
        self,
        quantities: Mapping[int, int],
        *,
        user: str = "ann",
        key: str | None = None,
        coupon: int | None = None,
        asked_as: str = "",
    ) -> Order:
        """Place an order through the use case."""
        idempotency = IdempotencyKey(user, key, repr(sorted(quantities.items()))) if key is not None else None
        return self.ordering.order(Request(user, quantities, None, idempotency, coupon, asked_as=asked_as)).order

    def check_back(self) -> list[CheckAnswer]:
        """Answer every open half message, as the broker's check-back would have it done."""
        answers = []
        for view in reversed(self.console.find(state=State.HALF)):
            half = HalfMessage(view.message_id, view.message, view.born_at, 1)
            answers.append(self.checker(half))
            if answers[-1] is not CheckAnswer.UNKNOWN:
                self._plain_producer.resolve(half, Resolution(answers[-1].value))
        return answers

    def quiet(self) -> None:
        """Wait until nothing is on its way to the stock service."""
        eventually(lambda: self.console.stats().pending == 0)

    def available(self, goods_id: int) -> int:
        return self.levels.get(goods_id).available

    def state(self, order_id: int) -> str | None:
        """Return the state of an order's reservation, None without one."""
        try:
            return self.reservations.get(order_id).state.value
        except NotFound:
            return None

    def rollbacks(self, order_id: int) -> list[MessageView]:
        """Return the rollback messages that name an order, oldest first."""
        return self.console.find(topic=ROLLBACK_TOPIC, key=str(order_id))[::-1]


BROKER_DOWN = BrokerError("down")
