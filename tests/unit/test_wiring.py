"""What each service's composition root hands to whom: every setting arrives where it is meant to, and only there.

The parts are the real ones, on files; only what is passed to them is written down.
"""

import inspect
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from common import migrations, tracing
from common.aside import ThreadedAside
from common.auth import Verifier
from common.config import Settings
from common.errors import OrdersError
from common.payments import PaymentEvent
from common.process import Service
from common.registry import NAMES, PAYMENT_TOPIC, REQUEST_TOPIC, ROLLBACK_TOPIC, TIMEOUT_TOPIC
from common.reservations import service as participants
from common.reservations.schema import MAX_ORDERS
from coupon import app as coupon_app
from coupon import model as coupon_model
from goods import app as goods_app
from goods import model as goods_model
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import Broker, BrokerOptions, CheckAnswer
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.batch import Batcher
from order import app as order_app
from order import outside as order_outside
from order.clients import coupon as coupon_client
from order.clients.coupon import CouponClient
from order.clients.pay import PayClient
from order.clients.stock import StockClient
from stock import app as stock_app
from stock import model as stock_model
from user import app as user_app

SECRET = "s" * 40

Passed = dict[str, list[dict[str, Any]]]
"""By the name of what was called: the arguments of each call, by parameter."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings none of which is a default, and no two alike."""
    return Settings(
        port=0,
        threads=5,
        max_body=20_001,
        rate_limit="77/minute",
        jwt_secret=SECRET,
        database_url=f"sqlite:///{tmp_path}/own.db",
        broker_url=f"embedded:///{tmp_path}/broker.db",
        stock_url="http://127.0.0.1:11",
        goods_url="http://127.0.0.1:12",
        coupon_url="http://127.0.0.1:13",
        pay_url="http://127.0.0.1:14",
        last_question=3.25,
        participants="stock, coupon, pay",
        peer_timeout=1.25,
        goods_cache=0.75,
        placing_lanes=3,
        placing_batch=123,
        placing_queue=45,
        pay_timeout=611.0,
        transaction_deadline=6.5,
        sweep_interval=71.0,
        sweep_grace=37.0,
        check_interval=4.5,
        max_deliveries=9,
    )


_NOT_PARTS = {
    "participant_service",
    "build",
    "open_broker",
    "outside",
    "client_of",
    "LookUps",
    "CouponClient",
    "FlashClient",
    "OrderEvent",
    "ParticipantClient",
    "PayClient",
    "PaymentEvent",
}


class Noting:
    """Writes down with what something is called."""

    def __init__(self) -> None:
        self.passed: Passed = {}
        self.made: dict[str, list[Any]] = {}

    def __call__(self, name: str, part: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            made = part(*args, **kwargs)
            self.passed.setdefault(name, []).append(inspect.signature(part).bind(*args, **kwargs).arguments)
            self.made.setdefault(name, []).append(made)
            return made

        public = {named: getattr(part, named) for named in dir(part) if not named.startswith("_")}
        noted.__dict__.update(public)  # a class has methods of its own
        return noted


class Wiring:
    """A service that is built, and what was passed to each of its parts."""

    def __init__(self, app: types.ModuleType, settings: Settings, patch: pytest.MonkeyPatch) -> None:
        self.noting = Noting()
        modules = (app, *((order_outside, coupon_client) if app is order_app else (participants,)))
        for module in modules:
            for name, part in vars(module).copy().items():
                if _is_ours(part) and not name.startswith("_") and name not in _NOT_PARTS:
                    patch.setattr(module, name, self.noting(name, part))
            if hasattr(module, "open_broker"):
                patch.setattr(module, "open_broker", self.noting("open_broker", self._open_broker))
        patch.setattr(tracing, "together", self._together)
        patch.setattr(app.rest, "install", self.noting("install", app.rest.install))
        self.service: Service = app.build(settings)

    def _together(self, name: str, run: Callable[..., Any], **bounds: Any) -> Callable[..., Any]:
        """Note a batcher under the name that its batches are traced by, and return its `submit`."""
        batcher: Batcher[Any, Any] = self.noting(name, Batcher)(run, **bounds)
        return batcher.submit

    def _open_broker(self, url: str, options: BrokerOptions, **more: Any) -> Broker:
        broker = open_broker(url, options, **more)
        for name in ("producer", "consumer"):
            setattr(broker, name, self.noting(name, getattr(broker, name)))
        return broker

    def of(self, part: str, *parameters: str) -> tuple[Any, ...]:
        """Return these arguments of the one call of a part; None for one that was left out."""
        (passed,) = self.noting.passed[part]
        return tuple(passed.get(parameter) for parameter in parameters)

    def the(self, part: str) -> Any:
        """Return what the one call of a part made."""
        (made,) = self.noting.made[part]
        return made

    def counted(self) -> str:
        return str(self.the("Metrics").render().decode())

    def close(self) -> None:
        for stop in self.service.stop:
            stop()


def _is_ours(part: object) -> bool:
    if isinstance(part, type) and issubclass(part, BaseException):
        return False
    ours = {"common", "halfmessage", *NAMES}
    return callable(part) and str(getattr(part, "__module__", "")).partition(".")[0] in ours


@pytest.fixture
def wired(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[types.ModuleType], Wiring]]:
    """Return what builds a service on files of its own, and closes it afterwards."""
    built: list[Wiring] = []

    def build(app: types.ModuleType) -> Wiring:
        migrations.upgrade(app.__name__.partition(".")[0], settings.database_url)
        built.append(Wiring(app, settings, monkeypatch))
        return built[-1]

    yield build
    for wiring in built:
        wiring.close()


@pytest.fixture
def order(wired: Callable[[types.ModuleType], Wiring]) -> Wiring:
    return wired(order_app)


@pytest.fixture
def stock(wired: Callable[[types.ModuleType], Wiring]) -> Wiring:
    return wired(stock_app)


@pytest.fixture
def goods(wired: Callable[[types.ModuleType], Wiring]) -> Wiring:
    return wired(goods_app)


def test_order_hands_each_setting_to_what_it_is_for(order: Wiring, settings: Settings) -> None:
    """Times, sizes and addresses, each to one part."""
    assert order.of("Database", "url", "pool_size") == (settings.database_url, 13)
    assert order.of("Checker", "deadline") == (6.5,)
    assert order.of("open_broker", "url", "options") == (settings.broker_url, settings.broker_options)
    assert [passed["threads"] for passed in order.noting.passed["ThreadedAside"]] == [2, 24, 1]
    assert order.of("place orders", "lanes", "heaviest", "longest_queue") == (3, 123, 45 + settings.request_threads)
    assert order.of("Periodic", "interval") == (71.0,)
    assert order.of("Ordering", "pay_timeout") == (611.0,)
    assert order.of("GoodsClient", "max_age", "shared") == (0.75, None)
    assert order.of("CouponRules", "max_age", "timeout", "shared") == (0.75, 1.25, None)
    assert order.of("Api", "service", "max_body", "limiter") == ("order", 20_001, None)
    assert order.of("verifier_of", "settings") == (settings,)
    assert order.of("Api", "optional") == (("coupon",),)
    assert order.of("install", "rate_limit", "most_at_once") == ("77/minute", 45)
    assert order.of("install", "most_of_one_user") == (settings.queue_share,)
    assert order.of("install", "timelines") == (max(1, settings.threads // 4),)
    assert order.service.waiting == 45
    assert order.of("Streams", "most", "lasts") == (settings.streams, settings.request_stream_lasts)


def test_order_asks_each_peer_at_its_own_address(order: Wiring) -> None:
    """With the same time limit, as many connections as there are threads, and the service's token."""
    passed, made = order.noting.passed["Peer"], order.noting.made["Peer"]
    assert {one["name"]: one["url"] for one in passed} == {
        "stock": "http://127.0.0.1:11",
        "goods": "http://127.0.0.1:12",
        "coupon": "http://127.0.0.1:13",
        "pay": "http://127.0.0.1:14",
    }
    assert {(one["timeout"], one["connections"]) for one in passed} == {(1.25, 5)}
    by_name = {one["name"]: peer for one, peer in zip(passed, made, strict=True)}
    assert order.of("GoodsClient", "peer") == (by_name["goods"],)
    assert order.of("CouponRules", "peer") == (by_name["coupon"],)
    participants = stock, coupon, pay = order.of("Placing", "participants")[0]
    assert isinstance(stock, StockClient)
    assert isinstance(coupon, CouponClient)
    assert isinstance(pay, PayClient)
    assert [(one.name, one._peer) for one in participants] == [(n, by_name[n]) for n in ("stock", "coupon", "pay")]
    assert coupon.rules is order.the("CouponRules")
    for one in passed:
        caller = Verifier(SECRET).verify(f"Bearer {one['token']()}")
        assert (caller.user_id, caller.scopes) == ("order", frozenset({"service"}))


def test_a_participant_that_order_has_no_client_of_is_refused(settings: Settings) -> None:
    """It is said before anything starts, and no other client is taken for it."""
    more = settings.model_copy(update={"participants": "stock, giftwrap"})
    with pytest.raises(OrdersError, match="names giftwrap, of which order/clients has no client"):
        order_outside.outside(more, None, lambda *_: None, ThreadedAside("looking ahead", 1))


def test_order_sweeps_by_itself_with_its_grace_and_by_hand_with_the_deadline(
    order: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it leaves alone what is younger than the grace; by hand, all is looked at but what may be under way."""
    swept: list[tuple[float, bool]] = []
    monkeypatch.setattr(order.the("Sweep"), "run", lambda grace, *, full=False: swept.append((grace, full)))
    (work,) = order.of("Periodic", "work")
    work()
    (use_cases,) = order.of("install", "use_cases")
    use_cases.sweep(False)
    use_cases.sweep(True)
    assert swept == [(37.0, False), (6.5, False), (6.5, True)]


def test_order_gives_its_parts_to_each_other(order: Wiring) -> None:
    """One database, one fence, one coordinator, one source of ids: each part that needs one has that one."""
    database, records, checker = order.the("Database"), order.the("Records"), order.the("Checker")
    coordinator, ids, reader, closing = (order.the(p) for p in ("Coordinator", "LeasedIds", "OrderReader", "Closing"))
    assert order.of("Checker", "database", "records") == (database, records)
    assert order.of("LeasedIds", "database", "owner") == (database, "order")
    assert order.of("producer", "group", "checker", "topics") == ("order", checker, [ROLLBACK_TOPIC, REQUEST_TOPIC])
    parts = (order.the("producer"), database, records, ids)
    assert order.of("Coordinator", "producer", "database", "records", "ids") == parts
    settlements, telling = order.the("Settlements"), order.the("Telling")
    (participants,) = order.of("Placing", "participants")
    payments = participants[-1]
    looking_ahead, aside, telling_aside = order.noting.made["ThreadedAside"]
    parts = (coordinator, order.the("producer"), participants, settlements, aside, telling.soon)
    assert order.of("Placing", "coordinator", "producer", "participants", "settlements", "aside", "tell") == parts
    assert order.of("Settlements", "database", "participants") == (database, participants)
    assert order.of("Telling", "settlements", "aside") == (settlements, telling_aside)
    assert order.of("GoodsClient", "aside") == order.of("CouponRules", "aside") == (looking_ahead,)
    parts = (database, coordinator, reader, settlements)
    assert order.of("Closing", "database", "coordinator", "reader", "settlements") == parts
    audits = order.noting.made["Audit"]
    told = [(one["database"], one["participant"], one["closing"]) for one in order.noting.passed["Audit"]]
    assert told == [(database, participant, closing) for participant in participants]
    paying, overdue = order.the("Paying"), order.the("Overdue")
    parts = (database, reader, payments, settlements, telling.soon)
    assert order.of("Paying", "database", "reader", "payments", "settlements", "tell") == parts
    assert order.of("Overdue", "closing", "paying", "payments") == (closing, paying, payments)
    assert order.of("Payments", "payments") == (payments,)
    parts = (database, records, checker, overdue, settlements, audits)
    assert order.of("Sweep", "database", "records", "checker", "overdue", "settlements", "audits") == parts
    assert order.of("Ordering", "reader", "pricing", "ids") == (reader, order.the("Pricing"), ids)
    assert order.of("Pricing", "goods", "coupons") == (order.the("GoodsClient"), order.the("CouponRules"))
    assert order.of("Ordering", "place") == (order.the("place orders").submit,)
    assert order.of("place orders", "run") == (order.the("Placing").place,)
    assert order.of("Timeouts", "database", "checker", "overdue") == (database, checker, overdue)
    assert order.of("Successes", "database", "checker", "paying") == (database, checker, paying)
    assert order.of("Timeline", "database", "records", "participants") == (database, records, participants)
    assert order.of("Timeline", "payments") == (payments,)
    assert order.of("Timeline", "console")[0] is not None
    soon = order.the("Soon")
    parts = (database, order.the("Coordinator"), order.the("Ordering").order)
    assert order.of("Soon", "database", "coordinator", "order") == parts
    use_cases = order.of("install", "use_cases")[0]
    assert (use_cases.submit, use_cases.requests) == (soon.submit, soon.reader)
    assert (use_cases.reader, use_cases.closing, use_cases.paying) == (reader, closing, paying)
    assert use_cases.payments == order.the("Payments")
    assert (use_cases.ordering, use_cases.timeline) == (order.the("Ordering"), order.the("Timeline"))


def test_order_consumes_messages_while_it_can_handle_them(order: Wiring, settings: Settings) -> None:
    """A failure keeps it from taking more until it can write, has ids, and can send."""
    for start in order.service.start:
        start()
    standby = order.the("Standby")
    timeouts, successes = order.noting.made["EventConsumer"]
    *subscribed, of_requests = order.noting.passed["consumer"]
    assert [(one["group"], one["topic"], one["handler"]) for one in subscribed] == [
        ("order", TIMEOUT_TOPIC, timeouts),
        ("order_payment_succeeded", PAYMENT_TOPIC, successes),
    ]
    assert {(one["batch"], one["ready"]) for one in subscribed} == {(256, standby.ready)}
    told = [(one["name"], one["kind"], one["handle"], one["failed"]) for one in order.noting.passed["EventConsumer"]]
    assert told == [
        ("timeout", OrderEvent, order.the("Timeouts").handle, standby.suspect),
        ("payment", PaymentEvent, order.the("Successes").handle, standby.suspect),
    ]
    soon = order.the("Soon")
    asked = (of_requests["group"], of_requests["topic"], of_requests["handler"], of_requests["ready"])
    assert asked == ("order_order_request", REQUEST_TOPIC, soon._consumers[REQUEST_TOPIC], soon._standby.ready)
    assert {consumer._together for consumer in soon._consumers.values()} == {settings.request_threads}
    assert order.of("Heartbeat", "database") == (order.the("Database"),)
    probes = order.of("Standby", "probes")[0]
    assert probes[:2] == (order.the("Heartbeat").beat, order.the("LeasedIds").ask)
    probes[2]()  # what it would send its messages with
    order.the("open_broker").close()
    with pytest.raises(HalfMessageError):
        probes[2]()
    assert order.the("LeasedIds").worker_id >= 0


def test_order_tells_prometheus_what_each_part_counts(order: Wiring) -> None:
    """Each callback ends in its own metric."""
    order.of("Checker", "count")[0](CheckAnswer.COMMIT)
    order.of("Coordinator", "observe")[0]("order.deduct", 0.5)
    order.of("place orders", "observe")[0](7)
    order.of("Sweep", "count")[0]("released", 3)
    order.of("install", "count")[0]("created")
    for one, number in zip(order.noting.passed["EventConsumer"], (5, 6), strict=True):
        one["count"]("early", number)
    order.noting.made["Peer"][-1]._beside[0]._watch("pay", "http://127.0.0.1:14", True)
    order.noting.passed["Peer"][0]["watch"]("stock", "http://127.0.0.1:11", True)
    told = order.counted().splitlines()
    for line in (
        'orders_check_backs_total{answer="commit"} 1.0',
        'orders_step_seconds_sum{step="order.deduct"} 0.5',
        "orders_batch_orders_sum 7.0",
        'orders_sweep_findings_total{finding="released"} 3.0',
        'orders_placed_total{outcome="created"} 1.0',
        'orders_timeouts_total{result="early"} 5.0',
        'orders_payments_total{result="early"} 6.0',
        'orders_peer_left_alone{instance="http://127.0.0.1:14",peer="pay (providers)"} 1.0',
        'orders_peer_left_alone{instance="http://127.0.0.1:11",peer="stock"} 1.0',
        "orders_half_messages_unresolved 0.0",
        "orders_messages_pending 0.0",
    ):
        assert line in told


def test_order_weighs_drafts_by_what_they_write(order: Wiring) -> None:
    """A batch is full by lines, not by orders."""
    assert order.of("place orders", "weigh")[0](SimpleNamespace(weight=17)) == 17


@pytest.mark.parametrize("lines", [50, 1000, 1001, 4999, 5000])
def test_no_batch_has_more_orders_than_a_call(monkeypatch: pytest.MonkeyPatch, settings: Settings, lines: int) -> None:
    """However many lines a batch may have, and however few its orders: participants would refuse all of them."""
    bounds: dict[str, Any] = {}
    monkeypatch.setattr("order.app.tracing.together", lambda *_, **given: bounds.update(given))
    nothing: Any = SimpleNamespace(place=None, batch=None)
    order_app._in_batches(nothing, settings.model_copy(update={"placing_batch": lines}), nothing)
    of_one, of_fifty = (bounds["weigh"](SimpleNamespace(weight=weight)) for weight in (1, 50))
    assert bounds["heaviest"] // of_one <= MAX_ORDERS
    assert (of_one > 1, of_fifty) == (lines > MAX_ORDERS, 50)


def forgets(service: Wiring, keys: Table, settings: Settings) -> None:
    """Expect that the periodic work purges keys beyond their retention, and no younger ones."""
    database = service.the("Database")
    kept = int(settings.idempotency_retention * 1000)
    made = {"old": now_ms() - kept - 60_000, "young": now_ms() - kept + 60_000}
    row = {"user_id": "u", "request_hash": "h", "answer": {}}
    rows = [row | {"idempotency_key": name, "created_at": at} for name, at in made.items()]
    database.transact(lambda connection: connection.execute(insert(keys), rows))
    service.of("Periodic", "work")[0]()
    with database.read() as connection:
        assert connection.scalars(select(keys.c.idempotency_key)).all() == ["young"]


def test_stock_is_wired(stock: Wiring, settings: Settings) -> None:
    """Each setting, part, callback and probe."""
    for start in stock.service.start:
        start()
    database, standby = stock.the("Database"), stock.the("Standby")
    assert stock.of("Database", "url", "pool_size") == (settings.database_url, 13)
    assert stock.of("open_broker", "url", "options") == (settings.broker_url, settings.broker_options)
    assert stock.of("make_strategy", "name", "redis", "production") == ("conditional", None, False)
    assert stock.of("stock_reservations", "database", "strategy") == (database, stock.the("make_strategy"))
    assert stock.of("Levels", "database") == (database,)
    assert stock.of("Periodic", "interval") == (3600.0,)
    forgets(stock, stock_model.idempotency_keys, settings)
    assert stock.of("Heartbeat", "database") == (database,)
    assert stock.of("Standby", "probes")[0] == (stock.the("Heartbeat").beat,)
    assert stock.of("RollbackConsumer", "reservations", "failed") == (stock.the("stock_reservations"), standby.suspect)
    assert stock.of("consumer", "group", "topic", "handler") == ("stock", ROLLBACK_TOPIC, stock.the("RollbackConsumer"))
    assert stock.of("consumer", "batch", "threads", "ready") == (256, 4, standby.ready)
    assert stock.of("Api", "service", "max_body") == ("stock", 20_001)
    assert stock.of("verifier_of", "settings") == (settings,)
    assert stock.of("install", "levels") == (stock.the("Levels"),)
    assert stock.of("install_reservations", "reservations") == (stock.the("stock_reservations"),)
    stock.of("RollbackConsumer", "count")[0]("released", 3)
    assert 'orders_rollbacks_total{result="released"} 3.0' in stock.counted().splitlines()


def test_goods_is_wired(goods: Wiring, settings: Settings) -> None:
    """Each setting and part."""
    for start in goods.service.start:
        start()
    database = goods.the("Database")
    assert goods.of("Database", "url", "pool_size") == (settings.database_url, 13)
    assert goods.of("LeasedIds", "database", "owner") == (database, "goods")
    assert goods.of("Catalogue", "database", "ids") == (database, goods.the("LeasedIds"))
    assert goods.of("Rooms", "database") == (database,)
    assert goods.of("Periodic", "interval") == (71.0,)
    forgets(goods, goods_model.idempotency_keys, settings)
    assert goods.of("Api", "service", "max_body") == ("goods", 20_001)
    assert goods.of("verifier_of", "settings") == (settings,)
    assert goods.of("install", "catalogue", "rooms") == (goods.the("Catalogue"), goods.the("Rooms"))


def test_coupon_is_wired(wired: Callable[[types.ModuleType], Wiring], settings: Settings) -> None:
    """Each setting and part."""
    coupon = wired(coupon_app)
    for start in coupon.service.start:
        start()
    database, standby = coupon.the("Database"), coupon.the("Standby")
    reservations = coupon.the("coupon_reservations")
    assert coupon.of("Database", "url", "pool_size") == (settings.database_url, 13)
    assert coupon.of("LeasedIds", "database", "owner") == (database, "coupon")
    assert coupon.of("coupon_reservations", "database") == (database,)
    assert coupon.of("Coupons", "database", "ids") == (database, coupon.the("LeasedIds"))
    assert coupon.of("Periodic", "interval") == (3600.0,)
    forgets(coupon, coupon_model.idempotency_keys, settings)
    assert coupon.of("Heartbeat", "database") == (database,)
    assert coupon.of("Standby", "probes")[0] == (coupon.the("Heartbeat").beat,)
    assert coupon.of("RollbackConsumer", "reservations", "failed") == (reservations, standby.suspect)
    assert coupon.of("consumer", "group", "topic", "handler") == (
        "coupon", ROLLBACK_TOPIC, coupon.the("RollbackConsumer")
    )  # fmt: skip
    assert coupon.of("consumer", "batch", "threads", "ready") == (256, 4, standby.ready)
    assert coupon.of("Api", "service", "max_body") == ("coupon", 20_001)
    assert coupon.of("verifier_of", "settings") == (settings,)
    assert coupon.of("install", "coupons") == (coupon.the("Coupons"),)
    assert coupon.of("install_reservations", "reservations") == (reservations,)
    coupon.of("RollbackConsumer", "count")[0]("released", 3)
    assert 'orders_rollbacks_total{result="released"} 3.0' in coupon.counted().splitlines()


def test_user_is_wired(wired: Callable[[types.ModuleType], Wiring], settings: Settings) -> None:
    """Each setting and part; what is kept no longer is purged, and tokens are verified with the keys that sign them."""
    changed = {
        "access_token_lifetime": 61.0,
        "refresh_token_lifetime": 3601.0,
        "log_ins_kept": 17.0,
        "proxies": 2,
        "hashes_at_once": 3,
        "hashes_waiting": 4,
        "registration_rate": "5/day",
        "log_in_rate": "6/day",
        "log_in_rate_of_name": "7/day",
    }
    for name, value in changed.items():
        object.__setattr__(settings, name, value)
    user = wired(user_app)
    for start in user.service.start:
        start()
    database, keys = user.the("Database"), user.the("SigningKeys")
    assert user.of("Database", "url", "pool_size") == (settings.database_url, 13)
    assert user.of("LeasedIds", "database", "owner") == (database, "user")
    assert user.of("SigningKeys", "database", "lifetime") == (database, 61.0)
    assert user.of("Lifetimes", "access", "refresh") == (61.0, 3601.0)
    assert user.of("Hashing", "at_once", "waiting") == (3, 4)
    assert user.service.waiting == 7
    assert user.of("Breached", "path") == (None,)
    assert user.of("Audit", "kept") == (17.0,)
    assert user.of("verifier_of", "settings", "service", "users") == (settings, "user", keys)
    rates = user.of("install", "doors")[0]._rates
    assert (rates.registration, rates.log_in, rates.log_in_of_name, rates.proxies) == ("5/day", "6/day", "7/day", 2)
    parts = (user.the("Accounts"), user.the("Sessions"), keys)
    assert user.of("install", "accounts", "sessions", "keys") == parts
    assert user.of("Api", "service", "max_body") == ("user", 20_001)
    assert set(user.of("Api", "checks")[0]) == {"database", "ids", "keys"}
    assert user.of("Periodic", "interval") == (3600.0,)
    user.of("Periodic", "work")[0]()


@pytest.mark.parametrize("app", [order_app, stock_app, goods_app, coupon_app])
def test_ready_means_that_all_it_needs_answers(
    app: types.ModuleType, wired: Callable[[types.ModuleType], Wiring]
) -> None:
    """Closed, none of its checks passes: each looks at the part that it is named for."""
    wiring = wired(app)
    checks = wiring.of("Api", "checks")[0]
    assert "database" in checks
    if app is not goods_app:
        checks["broker"]()
        wiring.the("open_broker").close()
        with pytest.raises(HalfMessageError):
            checks["broker"]()
    if app is order_app:
        for peer in ("stock", "goods"):
            with pytest.raises(HalfMessageError):  # nothing listens there
                checks[peer]()
