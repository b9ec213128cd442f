"""The pay service over REST, wired as it runs: callbacks by signature, payments by owner, calls of order."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from werkzeug.test import TestResponse

from common import migrations
from common.auth import issue
from common.config import Settings
from common.db import Database
from common.errors import OrdersError
from common.payments import PaymentEvent
from common.registry import PAYMENT_TOPIC, ROLLBACK_TOPIC
from halfmessage.clock import now_ms
from halfmessage.errors import FailpointRaised
from halfmessage.ids import EPOCH
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, Delivery, Verdict
from halfmessage.participant.event import OrderEvent
from pay import providers
from pay.app import build
from pay.model import payment_events
from pay.providers.port import RefundState
from pay.service import soon
from pay.service.inbox import Inbox
from tests.fakes import AtOnce
from tests.payments import GOOD, FakeProvider
from tests.support import eventually

pytestmark = pytest.mark.P7

SECRET = "s" * 32
ORDER = (now_ms() - EPOCH) << 22
OWED = {"user_id": "ann", "amount": 500, "currency": "EUR", "expires_at": now_ms() + 900_000}
TRY = {"provider": "fake", "scenario": None, "tx_id": "77", **OWED}
Call = Callable[..., TestResponse]


class Known(FakeProvider):
    """The one that the service made last."""

    last: "Known"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        Known.last = self


def settings_of(directory: Path, **more: Any) -> Settings:
    urls = {"database_url": f"sqlite:///{directory}/pay.db", "broker_url": f"embedded:///{directory}/broker.db"}
    return Settings(port=0, jwt_secret=SECRET, providers=f"{__name__}:Known", max_body=2048, **urls, **more)  # type: ignore[arg-type]


@pytest.fixture
def call(tmp_path: Path) -> Iterator[Call]:
    settings = settings_of(tmp_path, sweep_grace=0.05)
    migrations.upgrade("pay", settings.database_url)
    service = build(settings)
    for start in service.start:
        start()
    http = service.api.app.test_client()

    def run(method: str, path: str, body: Any = None, *, as_: str | None = "service", **more: Any) -> TestResponse:
        headers = dict(more.pop("headers", {}))
        if as_ is not None:
            scope = as_ if as_ in {"service", "admin"} else "orders"
            headers["Authorization"] = f"Bearer {issue(SECRET, as_, [scope], 60)}"
        return http.open(path, method=method, json=body, headers=headers, **more)

    yield run
    for stop in service.stop:
        stop()


def called_back(call: Call, body: Any, signature: str = GOOD, path: str = "/callbacks/fake") -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return call("POST", path, as_=None, data=data, headers={"Fake-Signature": signature})


def taken(charge_id: str = "c1", order_id: int = ORDER, **fields: Any) -> dict[str, Any]:
    said = {"event_id": f"e-{charge_id}", "kind": "succeeded", "payment_id": order_id, "charge_id": charge_id}
    return said | {"amount": 500, "currency": "EUR"} | fields


def owe(call: Call, order_id: int = ORDER) -> None:
    answer = call("POST", "/reservations", {"tx_id": "77", "orders": [{"order_id": str(order_id), **OWED}]})
    assert answer.get_json()["orders"][0]["verdict"] == "deducted"


def payment(call: Call, order_id: int = ORDER) -> dict[str, Any]:
    found: dict[str, Any] = call("GET", f"/payments/{order_id}").get_json()
    return found


def test_a_callback_pays(call: Call, tmp_path: Path) -> None:
    """It is answered as the provider expects, handled soon, and told order; its story is in the payment."""
    owe(call)
    answer = called_back(call, taken())
    assert (answer.status_code, answer.data, answer.content_type) == (200, b"ok", "text/plain; charset=utf-8")
    assert called_back(call, taken()).data == b"ok"
    eventually(lambda: payment(call)["status"] == "succeeded")
    found = payment(call)
    (event,) = found["events"]
    assert {name: event[name] for name in ("event_id", "kind", "charge_id", "amount", "currency", "via", "effect")} == {
        "event_id": "e-c1", "kind": "succeeded", "charge_id": "c1", "amount": 500, "currency": "EUR",
        "via": "callback", "effect": "paid",
    }  # fmt: skip
    assert event["handled_at"].endswith("Z")
    assert event["tx_id"].isdigit()
    assert (found["payment_id"], found["provider"], found["known"]) == (str(ORDER), "fake", False)
    assert found["charges"][0]["status"] == "kept"
    broker = open_broker(f"embedded:///{tmp_path}/broker.db", BrokerOptions())
    told: list[PaymentEvent] = []

    def hear(deliveries: list[Delivery]) -> list[Verdict]:
        told.extend(PaymentEvent.from_body(delivery.message.body) for delivery in deliveries)
        return [Verdict.ACK] * len(deliveries)

    broker.consumer("order", PAYMENT_TOPIC, hear)  # type: ignore[arg-type]
    eventually(lambda: told)
    assert (told[0].order_ids, told[0].placed_by, told[0].providers) == ((ORDER,), (77,), ("fake",))
    broker.close()


def test_a_closed_order_gets_its_money_back(call: Call, tmp_path: Path) -> None:
    """The rollback reaches pay, and its workers send the money back."""
    answer = call("POST", f"/payments/{ORDER}/attempts", TRY).get_json()
    assert answer == {
        "payment_id": str(ORDER), "status": "succeeded", "provider": "fake", "pay_url": None, "refusal": None
    }  # fmt: skip
    broker = open_broker(f"embedded:///{tmp_path}/broker.db", BrokerOptions())
    broker.producer("order").send(OrderEvent(tx_id=77, order_ids=(ORDER,)).to_message(ROLLBACK_TOPIC))
    eventually(lambda: payment(call)["status"] == "refunded")
    assert list(Known.last.returned.values()) == [1]
    broker.close()


def test_forged_callbacks_leave_nothing(call: Call) -> None:
    """A bad signature is 401 before anything else: what it says is never stored, nor acted upon."""
    owe(call)
    for signature in ("", "bad"):
        answer = called_back(call, taken(), signature)
        assert (answer.status_code, answer.get_json()["type"]) == (401, "/problems/bad-signature")
        assert "WWW-Authenticate" in answer.headers
    assert called_back(call, b"no JSON", "bad").status_code == 401
    found = payment(call)
    assert (found["status"], found["events"], found["charges"]) == ("open", [], [])


def test_callbacks_that_can_not_be_read(call: Call) -> None:
    """Nor is anything stored of them; a provider that is none is told so; a body has a bound."""
    assert called_back(call, b"no JSON").status_code == 400
    assert called_back(call, taken(charge_id="c" * 200)).status_code == 400
    for wrong in ("event_id", "charge_id", "amount", "currency", "reason", "reference"):
        for value in (5.5, True, ["x"], {"a": 1}, "5" if wrong == "amount" else 5):
            assert called_back(call, taken(**{wrong: value})).status_code == 400, (wrong, value)
    assert called_back(call, taken(event_id=None)).status_code == 400
    assert called_back(call, taken(), path="/callbacks/else").status_code == 404
    assert called_back(call, b"x" * 3000).status_code == 413
    assert called_back(call, taken(), path="/callbacks/fake?a=b").status_code == 422
    assert call("GET", "/callbacks/fake", as_=None).status_code == 405
    metrics = call("GET", "/metrics").text
    for verdict, provider in (("malformed", "fake"), ("too-large", "fake"), ("unknown-provider", "unknown")):
        assert f'orders_callbacks_total{{provider="{provider}",verdict="{verdict}"}}' in metrics


def test_who_sees_a_payment(call: Call) -> None:
    """Its owner, an admin, and the services; others' is not found."""
    owe(call)
    for who, status in (("ann", 200), ("admin", 200), ("service", 200), ("bob", 404), (None, 401)):
        assert call("GET", f"/payments/{ORDER}", as_=who).status_code == status
    for who, items in (("ann", 1), ("admin", 1), ("bob", 0)):
        assert len(call("GET", f"/payments?order_id={ORDER}", as_=who).get_json()["items"]) == items
    assert call("GET", "/payments/none").status_code == 404


def test_admins_list_payments(call: Call) -> None:
    """Newest first, all or by state, page by page without holes; others are refused; an order has one payment."""
    ids = [ORDER + number for number in range(5)]
    for order_id in ids:
        owe(call, order_id)
    for order_id in ids[1:3]:
        called_back(call, taken(f"c{order_id}", order_id))
    eventually(lambda: [payment(call, order_id)["status"] for order_id in ids[1:3]] == ["succeeded"] * 2)
    assert listed(call, "limit=2") == ids[::-1]
    assert listed(call, "limit=1&status=succeeded") == ids[2:0:-1]
    assert listed(call, "status=open") == [ids[4], ids[3], ids[0]]
    assert listed(call, "status=refunded") == []
    (one,) = call("GET", "/payments?limit=1", as_="admin").get_json()["items"]
    whole = call("GET", f"/payments/{one['payment_id']}", as_="admin").get_json()
    assert one == {name: value for name, value in whole.items() if name not in {"events", "charges", "attempts"}}
    for who, status in (("ann", 403), ("service", 403), (None, 401)):
        assert call("GET", "/payments", as_=who).status_code == status
    for wrong in ("status=paid", "limit=0", "limit=101", "cursor=x", f"order_id={ORDER}&status=open", "user_id=ann"):
        assert call("GET", f"/payments?{wrong}", as_="admin").status_code == 422, wrong
    assert call("GET", f"/payments?order_id={ORDER}&limit=20", as_="admin").status_code == 422


def listed(call: Call, query: str) -> list[int]:
    """Return the ids of what an admin lists, page after page."""
    found, cursor = list[int](), ""
    while True:
        page = call("GET", f"/payments?{query}{cursor}", as_="admin").get_json()
        found += [int(one["payment_id"]) for one in page["items"]]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_an_admin_refunds(call: Call) -> None:
    """Once, under a key or not; others may not; without money there is nothing to refund."""
    owe(call)
    refund, why = f"/payments/{ORDER}/refund", {"reason": "broken"}
    assert call("POST", refund, why, as_="ann").status_code == 403
    answer = call("POST", refund, why, as_="admin")
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/nothing-to-refund")
    call("POST", f"/payments/{ORDER}/attempts", TRY)
    key = {"Idempotency-Key": "k"}
    first = call("POST", refund, why, as_="admin", headers=key)
    assert (first.status_code, first.get_json()) == (
        202, {"payment_id": str(ORDER), "order_id": str(ORDER), "status": "refunding"}
    )  # fmt: skip
    eventually(lambda: payment(call)["status"] == "refunded")
    again = call("POST", refund, why, as_="admin", headers=key)
    assert (again.get_json(), again.headers["Idempotency-Replayed"]) == (first.get_json(), "true")
    assert call("POST", refund, {"reason": "other"}, as_="admin", headers=key).status_code == 422
    assert call("POST", refund, {"reason": ""}, as_="admin").status_code == 422
    assert call("POST", "/payments/5/refund", why, as_="admin").status_code == 404
    assert list(Known.last.returned.values()) == [1]


def test_calls_of_the_order_service(call: Call) -> None:
    """Tries, the last question and look-ups; for services alone."""
    owe(call)
    page = call("POST", f"/payments/{ORDER}/attempts", {**TRY, "scenario": "page"}).get_json()
    assert (page["status"], page["refusal"]) == ("open", None)
    refused = call("POST", f"/payments/{ORDER}/attempts", {**TRY, "scenario": "refuse"}).get_json()
    assert (refused["status"], refused["pay_url"], refused["refusal"]) == ("open", None, "card declined")
    ids = {"order_ids": [str(ORDER), "5"]}
    standing = {"payments": [{"order_id": str(ORDER), "status": "open", "provider": None}]}
    assert call("POST", "/payments/lookup", ids).get_json() == standing
    Known.last.take(page["pay_url"].rpartition("/")[2])
    asked = call("POST", "/payments/ask", ids).get_json()
    assert asked == {"payments": [{"order_id": str(ORDER), "status": "succeeded", "provider": "fake"}]}
    unknown = call("POST", f"/payments/{ORDER}/attempts", {**TRY, "provider": "else"})
    assert (unknown.status_code, unknown.get_json()["type"]) == (422, "/problems/unknown-provider")
    for path, body in ((f"/payments/{ORDER}/attempts", TRY), ("/payments/ask", ids), ("/payments/lookup", ids)):
        assert call("POST", path, body, as_="ann").status_code == 403
    many = {"order_ids": [str(ORDER + n) for n in range(1000)]}
    assert call("POST", "/payments/lookup", many).status_code == 200


def test_a_reservation_is_shown(call: Call) -> None:
    """With what is owed."""
    owe(call)
    shown = call("GET", f"/reservations/{ORDER}").get_json()
    assert (shown["amount"], shown["currency"], shown["state"]) == (500, "EUR", "deducted")


def test_what_it_tells_of_itself(call: Call) -> None:
    """Ready, documented, and counted: money by currency, callbacks by verdict, polls, and what waits."""
    assert call("GET", "/readyz").status_code == 200
    document = call("GET", "/openapi.json").get_json()
    callback = document["paths"]["/callbacks/{provider}"]["post"]
    assert (callback["security"], sorted(callback["responses"])) == (
        [], ["200", "400", "401", "404", "405", "408", "413", "422", "500", "503"]
    )  # fmt: skip
    owe(call)
    called_back(call, taken("late", 5))
    called_back(call, taken(), "bad")
    Known.last.taken["late"] = (5, 500, "EUR")
    Known.last.refunds = lambda _: RefundState.REFUSED
    eventually(lambda: "orders_refunds_standing_refused 1.0" in call("GET", "/metrics").text)
    metrics = call("GET", "/metrics").text
    for line in (
        'orders_money_taken_total{currency="EUR"} 500.0',
        'orders_callbacks_total{provider="fake",verdict="new"} 1.0',
        'orders_callbacks_total{provider="fake",verdict="bad-signature"} 1.0',
        "orders_refunds_refused_total 1.0",
        'orders_charges_total{reason="unknown-order"} 1.0',
        'orders_money_going_back{age="minutes",currency="EUR"} 500.0',
        "# TYPE orders_polls_total counter",
        "orders_payment_events_unhandled 0.0",
        "orders_refunds_under_way 0.0",
    ):
        assert line in metrics
    assert "orders_money_refunded_total{" not in metrics
    assert float(metrics.split("\norders_refund_oldest_seconds ")[1].split()[0]) >= 0


def test_the_database_does_not_answer(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is stored, so nothing is answered as if it were: the provider calls again."""

    def down(*_: Any) -> None:
        raise FailpointRaised

    monkeypatch.setattr(Inbox, "store", down)
    assert called_back(call, taken()).status_code == 503
    assert 'orders_callbacks_total{provider="fake",verdict="not-stored"} 1.0' in call("GET", "/metrics").text


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("nobody", "'nobody' is none of sandbox, stripe, wechat"),
        ("no.such.module:Class", "can't be loaded"),
        ("tests.payments:Nobody", "can't be loaded"),
        ("tests.payments:FakeProvider, tests.payments:FakeProvider", "twice"),
        ("tests.unit.test_pay_api:Misnamed", "is not 1 to 64 letters"),
    ],
)
def test_providers_that_can_not_be_loaded(tmp_path: Path, named: str, told: str) -> None:
    """The start ends with one line that says which."""
    with pytest.raises(OrdersError) as raised:
        providers.load(settings_of(tmp_path).model_copy(update={"providers": named}))
    assert told in raised.value.detail
    assert "\n" not in raised.value.detail


class Misnamed(FakeProvider):
    """A name that no path can have."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, name="a/b")


def test_providers_that_are_ours(tmp_path: Path) -> None:
    """By their words; none is a deployment that takes no money."""
    assert list(providers.load(settings_of(tmp_path).model_copy(update={"providers": " sandbox ,"}))) == ["sandbox"]
    assert providers.load(settings_of(tmp_path).model_copy(update={"providers": ""})) == {}


def test_soon_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events that come while a batch is handled are the next batch; beyond the bound they are left to the worker."""
    monkeypatch.setattr(soon, "MOST_WAITING", 2)
    batches: list[list[tuple[str, str]]] = []

    def handle(keys: Any) -> None:
        batches.append(list(keys))
        if len(batches) == 1:
            for name in ("b", "c", "d"):
                beside.handle(("fake", name))
            raise FailpointRaised

    beside = soon.Soon(handle, AtOnce())
    beside.handle(("fake", "a"))
    assert batches == [[("fake", "a")], [("fake", "b"), ("fake", "c")]]


def test_soon_goes_on_after_a_mistake() -> None:
    """What it does not expect ends a run, and the next event begins another."""
    done: list[Any] = []

    def handle(keys: Any) -> None:
        done.extend(keys)
        if len(done) == 1:
            raise KeyError

    beside = soon.Soon(handle, AtOnce())
    with pytest.raises(KeyError):
        beside.handle(("fake", "a"))
    beside.handle(("fake", "b"))
    assert done == [("fake", "a"), ("fake", "b")]


def test_events_that_mean_nothing_are_purged_as_it_runs(tmp_path: Path) -> None:
    """By the service itself, every sweep interval."""
    settings = settings_of(tmp_path, sweep_interval=0.05)
    migrations.upgrade("pay", settings.database_url)
    database = Database(settings.database_url)
    row = {"provider": "fake", "event_id": "e", "kind": "other", "via": "callback", "raw": b""}
    row |= {"received_at": 1, "handled_at": 1}
    database.transact(lambda connection: connection.execute(insert(payment_events).values(row)))

    def number() -> int:
        with database.read() as connection:
            return len(connection.execute(select(payment_events.c.event_id)).all())

    assert number() == 1
    service = build(settings)
    for start in service.start:
        start()
    try:
        eventually(lambda: number() == 0)
    finally:
        for stop in service.stop:
            stop()
        database.close()
