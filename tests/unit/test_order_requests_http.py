"""Orders submitted now and placed soon, over the routes of the service."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from common.auth import Verifier, issue
from common.telemetry import Metrics
from common.web import Api
from common.web.openapi import document
from common.web.streams import Streams
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.batch import Batcher
from order.api import UseCases, install
from order.service.ordering import Request
from order.service.submitting import Submitted
from tests.fakes import BROKER_DOWN, Shop

_SECRET = "s" * 32
_TEA = {"items": [{"goods_id": "1", "quantity": 1}]}
_SOON = {"Prefer": "respond-async"}


class _Site:
    """The routes on a shop, and their clients."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.counted: list[str] = []
        batches: Batcher[Request, Submitted] = Batcher(
            shop.submitting.take_in, lanes=1, heaviest=9, longest_queue=9, longest_wait=5.0
        )
        others: Any = dict.fromkeys(("paying", "closing", "timeline", "sweep", "erase"))
        cases = UseCases(shop.ordering, batches.submit, shop.requests, shop.reader, shop.shown, **others)
        told = {"title": "", "description": "", "max_body": 9999, "metrics": Metrics("order"), "checks": {}}
        self.api = Api("order", verifier=Verifier(_SECRET), **cast("Any", told))
        streams = Streams(1, lasts=9, ending=self.api.ending)
        bounds: Any = {"rate_limit": "99/second", "most_at_once": 9, "most_of_one_user": 9, "timelines": 9}
        install(self.api, cases, streams=streams, count=self.counted.append, **bounds)
        self.client: FlaskClient = self.api.app.test_client()

    def headers(self, user: str, *scopes: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {issue(_SECRET, user, [*(scopes or ('orders',))], 60)}"}

    def place(self, body: Any = None, user: str = "ann", **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/orders", json=body or _TEA, headers=self.headers(user) | named)

    def ask(self, path: str, user: str = "ann", *scopes: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=self.headers(user, *scopes) | headers)

    def work_off(self, *ids: str) -> None:
        self.shop.working_off.handle([OrderEvent(tx_id=1, order_ids=tuple(map(int, ids)))])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[_Site]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 3)
        yield _Site(shop)


def test_submitted_and_placed(site: _Site) -> None:
    """202 with where its state is told: queued, and then created with its order."""
    taken = site.place(**_SOON)
    assert (taken.status_code, taken.headers["Preference-Applied"]) == (202, "respond-async")
    where, told = taken.headers["Location"], taken.get_json()
    assert where == f"/order-requests/{told['request_id']}"
    assert (told["state"], told["order_id"], told["problem"], told["decided_at"]) == ("queued", None, None, None)
    queued = site.ask(where).get_json()
    assert queued == told | {"ahead": 0}
    site.work_off(told["request_id"])
    created = site.ask(where).get_json()
    assert (created["state"], created["ahead"], created["submitted_at"]) == ("created", None, told["submitted_at"])
    assert created["decided_at"] >= created["submitted_at"]
    assert site.ask(f"/orders/{created['order_id']}").get_json()["status"] == "created"
    assert site.counted == ["submitted"]


def test_refused_with_the_problem_of_the_synchronous_call(site: _Site) -> None:
    """But for the id of the request that it was told to."""
    wanted = {"items": [{"goods_id": "1", "quantity": 4}]}
    request_id = site.place(wanted, **_SOON, X_Request_Id="first").get_json()["request_id"]
    site.work_off(request_id)
    told = site.ask(f"/order-requests/{request_id}").get_json()
    at_once = site.place(wanted)
    assert at_once.status_code == 409
    assert (told["state"], told["order_id"]) == ("refused", None)
    assert told["problem"] == at_once.get_json() | {"request_id": "first"}


def test_others(site: _Site) -> None:
    """Another user's is a 404, as one that never was; an admin sees it."""
    where = site.place(**_SOON).headers["Location"]
    assert site.ask(where, "bob").status_code == 404
    assert site.ask("/order-requests/1").status_code == 404
    assert site.ask("/order-requests/x").status_code == 404
    assert site.ask(where, "root", "admin").status_code == 200
    assert site.ask(where, "bob", Accept="text/event-stream").status_code == 404


def test_the_same_key(site: _Site) -> None:
    """The first answer again, as far as it is by now; once it is an order, the order; never for another body."""
    key = {"Idempotency_Key": "k"} | _SOON
    first = site.place(**key)
    again = site.place(**key)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert again.headers["Location"] == first.headers["Location"]
    other = site.place({"items": [{"goods_id": "1", "quantity": 2}]}, **key)
    assert (other.status_code, other.get_json()["type"]) == (422, "/problems/idempotency-mismatch")
    at_once = site.place({"items": [{"goods_id": "1", "quantity": 2}]}, Idempotency_Key="k")
    assert (at_once.status_code, at_once.get_json()["type"]) == (422, "/problems/idempotency-mismatch")
    site.work_off(first.get_json()["request_id"])
    placed = site.place(**key)
    assert (placed.status_code, placed.headers["Idempotency-Replayed"]) == (201, "true")
    assert "Preference-Applied" not in placed.headers
    assert placed.get_json()["order_id"] == site.ask(first.headers["Location"]).get_json()["order_id"]
    assert site.counted == ["submitted", "replayed", *["idempotency-mismatch"] * 2, "replayed"]


def test_a_refused_request_keeps_its_key(site: _Site) -> None:
    """For another body it is taken, with or without Prefer; for the same it may be tried again at once."""
    many = {"items": [{"goods_id": "1", "quantity": 900}]}
    refused = site.place(many, Idempotency_Key="k", **_SOON).get_json()["request_id"]
    site.work_off(refused)
    assert site.ask(f"/order-requests/{refused}").get_json()["state"] == "refused"
    for how in ({}, _SOON):
        other = site.place(Idempotency_Key="k", **how)
        assert (other.status_code, other.get_json()["type"]) == (422, "/problems/idempotency-mismatch")
    assert site.place(many, Idempotency_Key="k").status_code == 409


def test_broker_down(site: _Site) -> None:
    """503, and nothing was taken in."""
    site.shop.faults.plan("begin", BROKER_DOWN)
    refused = site.place(**_SOON)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert site.shop.console.find(topic="order_request") == []


def test_a_user_s_share(site: _Site) -> None:
    """429 with Retry-After, where too many of a user wait; another is taken in."""
    assert [site.place(**_SOON).status_code for _ in range(5)] == [202, 202, 202, 202, 429]
    refused = site.place(**_SOON)
    assert (refused.headers["Retry-After"], refused.get_json()["type"]) == ("1", "/problems/too-many-requests")
    assert site.place(user="bob", **_SOON).status_code == 202


def _data(stream: TestResponse) -> list[dict[str, Any]]:
    return [orjson.loads(event[6:]) for event in stream.text.split("\n\n") if event.startswith("data: ")]


def test_events(site: _Site) -> None:
    """A stream that ends once it is decided; one at a time here, and HEAD opens none."""
    taken = site.place(**_SOON).get_json()
    where = f"/order-requests/{taken['request_id']}"
    waiting = site.ask(where, Accept="text/event-stream")
    assert (waiting.status_code, waiting.mimetype) == (200, "text/event-stream")
    assert waiting.headers["Cache-Control"] == "no-store"
    refused = site.ask(where, "root", "admin", Accept="text/event-stream")
    assert refused.status_code == 503
    head = site.client.head(where, headers=site.headers("ann") | {"Accept": "text/event-stream"})
    assert (head.status_code, head.mimetype) == (200, "application/json")
    site.work_off(taken["request_id"])
    assert _data(waiting)[-1]["state"] == "created"
    assert _data(site.ask(where, Accept="text/event-stream")) == [site.ask(where).get_json()]


def test_documented(site: _Site) -> None:
    """The header, the answer with its headers, and the stream."""
    paths = document(site.api)["paths"]
    place = paths["/orders"]["post"]
    assert "Prefer" in [parameter["name"] for parameter in place["parameters"]]
    assert {"Location", "Preference-Applied", "Idempotency-Replayed"} <= place["responses"]["202"]["headers"].keys()
    answer = paths["/order-requests/{request_id}"]["get"]["responses"]["200"]
    assert answer["content"].keys() == {"application/json", "text/event-stream"}
