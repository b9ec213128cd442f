"""Orders submitted now and placed soon, over the wire: taken in, placed once, told as they change."""

import json
import signal
from typing import Any

import pytest
import urllib3

from halfmessage.mq.port import Message, Resolution, State
from ops.client import Answer, Client
from tests.e2e.shop import Raw, Shop, at_once, place, slug
from tests.support import eventually

pytestmark = pytest.mark.e2e

_SOON = {"Prefer": "respond-async"}
_EVENTS = {"Accept": "text/event-stream"}


def submit(client: Client, goods_id: str, quantity: int = 1, *, key: str | None = None) -> Answer:
    """Try to submit an order."""
    headers = _SOON | ({} if key is None else {"Idempotency-Key": key})
    body = {"items": [{"goods_id": goods_id, "quantity": quantity}]}
    return client.ask("order", "POST", "/orders", json_body=body, headers=headers)


def submitted(client: Client, goods_id: str, quantity: int = 1, **options: Any) -> str:
    """Submit an order that must be taken in; return where its state is told."""
    answer = submit(client, goods_id, quantity, **options)
    assert answer.status == 202, answer
    assert answer.headers["preference-applied"] == "respond-async"
    where = answer.headers["location"]
    assert where == f"/order-requests/{answer.body['request_id']}"
    return where


def decided(client: Client, where: str) -> Any:
    """Wait until a request is decided; return how it is told then."""
    found: list[Any] = []
    eventually(lambda: found.append(client.get("order", where)) or found[-1]["state"] != "queued", within=120.0)
    return found[-1]


def test_many_at_once_are_one_order_each(shop: Shop) -> None:
    """From sixteen users at the same moment: each is created, or refused as it would have been at once."""
    tea, users = shop.goods(stock=12), [shop.user() for _ in range(16)]
    places = at_once([lambda user=user: submitted(user, tea) for user in users])
    told = [decided(user, where) for user, where in zip(users, places, strict=True)]
    assert sorted(one["state"] for one in told) == ["created"] * 12 + ["refused"] * 4
    for user, one in zip(users, told, strict=True):
        orders = [order["order_id"] for order in user.get("order", "/orders")["items"]]
        assert orders == ([one["order_id"]] if one["state"] == "created" else [])
        assert one["ahead"] is None
        if one["state"] == "refused":
            assert one["problem"]["type"] == "/problems/insufficient-stock"
            assert one["problem"]["items"] == [{"goods_id": tea}]
    assert shop.available(tea) == 0
    shop.assert_sound()


def test_refused_as_it_would_have_been_at_once(shop: Shop) -> None:
    """The same problem, but for the id of the HTTP request."""
    user, tea = shop.user(), shop.goods(stock=1)
    told = decided(user, submitted(user, tea, 2))
    now = place(user, {tea: 2})
    assert slug(now) == "insufficient-stock"
    assert told["problem"] | {"request_id": ""} == now.body | {"request_id": ""}


def test_what_is_wrong_with_the_request_itself_is_told_at_once(shop: Shop) -> None:
    """Nothing is taken in that could not even be read."""
    user = shop.user()
    refused = user.ask("order", "POST", "/orders", json_body={"items": []}, headers=_SOON)
    assert (refused.status, slug(refused)) == (422, "invalid")
    assert place(user, {"1": 0}).status == 422


def test_its_message_comes_again(shop: Shop) -> None:
    """Three times more, with all that it named: it stays one order."""
    user, tea = shop.user(), shop.goods()
    first = decided(user, submitted(user, tea))
    broker = shop.deployment.open_broker()
    try:
        body = json.dumps({"tx_id": first["request_id"], "order_ids": [first["request_id"]]}).encode()
        for _ in range(3):
            half = broker.producer("order").begin(Message("order_request", body))
            broker.producer("order").resolve(half, Resolution.COMMIT)
    finally:
        broker.close()
    shop.assert_sound()
    assert user.get("order", f"/order-requests/{first['request_id']}") == first
    assert len(user.get("order", "/orders")["items"]) == 1
    assert shop.available(tea) == 9


def test_the_same_key(shop: Shop) -> None:
    """Submitted twice and placed once: one order, whichever way it is asked for."""
    user, tea = shop.user(), shop.goods()
    where = submitted(user, tea, key="k")
    again = submit(user, tea, key="k")
    assert again.headers["idempotency-replayed"] == "true"
    assert again.status in {201, 202}
    order_id = decided(user, where)["order_id"]
    for answer in (submit(user, tea, key="k"), place(user, {tea: 1}, key="k")):
        assert (answer.status, answer.body["order_id"]) == (201, order_id)
        assert answer.headers["idempotency-replayed"] == "true"
    assert slug(submit(user, tea, 2, key="k")) == "idempotency-mismatch"


def test_whose_it_is(shop: Shop) -> None:
    """Another user's is a 404 as one that never was; admins see it, services don't."""
    user, tea = shop.user(), shop.goods()
    where = submitted(user, tea)
    foreign, nothing = (shop.user().ask("order", "GET", path) for path in (where, "/order-requests/1"))
    assert (foreign.status, slug(foreign)) == (nothing.status, slug(nothing)) == (404, "not-found")
    assert foreign.body["detail"] == nothing.body["detail"]
    assert slug(shop.service.ask("order", "GET", where)) == "forbidden"
    assert shop.admin.get("order", where)["request_id"] == where.rsplit("/", 1)[1]


def _events(answer: Raw) -> list[dict[str, Any]]:
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(event[6:]) for event in answer.data.decode().split("\n\n") if event.startswith("data: ")]


def test_told_as_it_changes(shop: Shop) -> None:
    """A stream of events that ends when the request is decided, with what GET tells."""
    name = shop.name()
    user, tea = shop.user(name), shop.goods()
    where = submitted(user, tea)
    events = _events(shop.raw("order", "GET", where, headers=shop.bearer(name) | _EVENTS))
    assert events[-1] == user.get("order", where)
    assert events[-1]["state"] == "created"


def test_streams_that_no_client_reads_end(shop: Shop) -> None:
    """A client that stays gives its place back after a while; others are told to wait meanwhile."""
    name = shop.name()
    user, tea = shop.user(name), shop.goods()
    url = shop.deployment.plan.urls["order"]
    with shop.settings("order", request_streams=4, request_stream_lasts=4.0):
        shop.deployment.supervisor.hold("stock")
        shop.deployment.supervisor.kill("stock", signal.SIGKILL)
        try:
            where = submitted(user, tea)
            options: dict[str, Any] = {"headers": shop.bearer(name) | _EVENTS, "preload_content": False, "timeout": 30}
            stays = urllib3.request("GET", url + where, **options)
            pieces = stays.stream(64)  # dropped, it would hang up
            assert next(pieces).startswith(b"retry: 1000")
            full = shop.raw("order", "GET", where, headers=shop.bearer(name) | _EVENTS)
            assert (full.status, slug(full)) == (429, "too-many-requests")
            assert b'"queued"' in b"".join(pieces)
            again = shop.raw("order", "GET", where, headers=shop.bearer(name) | _EVENTS)
            assert [event["state"] for event in _events(again)] == ["queued"]
        finally:
            shop.deployment.supervisor.release("stock")
        assert decided(user, where)["state"] == "created"
    shop.assert_sound()


def test_nothing_is_taken_in_while_the_queue_is_full(shop: Shop) -> None:
    """Of one user 429, of all 503; what was taken in is placed once stock is back, in order."""
    user, other, tea = shop.user(), shop.user(), shop.goods()
    with shop.settings("order", request_queue=2, request_queue_per_user=1):
        shop.deployment.supervisor.hold("stock")
        shop.deployment.supervisor.kill("stock", signal.SIGKILL)
        try:
            first = submitted(user, tea)
            full = submit(user, tea)
            assert (full.status, slug(full), full.headers["retry-after"]) == (429, "too-many-requests", "1")
            second = submitted(other, tea)
            assert other.get("order", second)["ahead"] == 1
            all_full = submit(shop.user(), tea)
            assert (all_full.status, slug(all_full)) == (503, "unavailable")
        finally:
            shop.deployment.supervisor.release("stock")
            shop.deployment.supervisor.wait_ready()
        told = [decided(user, first), decided(other, second)]
        assert [one["state"] for one in told] == ["created", "created"]
    shop.assert_sound()


@pytest.mark.embedded("RocketMQ shows messages to its admin tool alone")
def test_the_timeline_tells_of_the_submission(shop: Shop) -> None:
    """When it was submitted and decided, before and after its order was placed; its message is done with."""
    user, tea = shop.user(), shop.goods()
    told = decided(user, submitted(user, tea))
    entries = user.get("order", f"/orders/{told['order_id']}/timeline")["entries"]
    events = [entry["event"] for entry in entries]
    assert events.index("order submitted") < events.index("order requested")
    assert "order request decided" in events
    with shop.deployment.open_console() as console:
        eventually(lambda: console.find(topic="order_request", key=told["request_id"])[0].state is State.DONE)
