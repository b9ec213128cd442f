"""From what a client asks for to an order: prices, refusals, and the same answer to the same key."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from common.auth import Verifier, issue
from common.errors import IdempotencyMismatch, Invalid, PeerUnavailable
from common.telemetry import Metrics
from common.web import Api
from common.web.streams import Streams
from halfmessage.errors import CommitOutcomeUnknown, OutcomeUnknown, Unavailable
from order.api import UseCases, install
from order.model import CloseReason, InsufficientStock, Order, Receiver, Status, UnknownGoods, orders
from order.schema import PlaceOrder
from order.service.ordering import Ordering, Placed, Request, _Turns
from order.service.placing import Draft, IdempotencyKey, KeyTaken
from stock.model import reservations
from tests.fakes import PRICE, Shop
from tests.support import eventually

RECEIVER = Receiver("Ann", "+49", "Street 1")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 10)
        shop.sell(2, 10)
        yield shop


def _request(quantities: dict[int, int] | None = None, *, key: str | None = "k", body: str = "body") -> Request:
    idempotency = IdempotencyKey("ann", key, body) if key else None
    return Request("ann", quantities or {1: 1}, RECEIVER, idempotency)


def _count(shop: Shop) -> int:
    with shop.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(orders)) or 0


def test_order(shop: Shop) -> None:
    """An order has its lines in the client's order, a snapshot of the goods, the total, and its time to be paid."""
    placed = shop.ordering.order(_request({2: 3, 1: 1}))
    order = placed.order
    assert not placed.replayed
    assert order == shop.reader.get(order.order_id, owner="ann")
    assert [(line.goods_id, line.quantity, line.name) for line in order.lines] == [(2, 3, "goods 2"), (1, 1, "goods 1")]
    line = order.lines[0]
    assert (line.unit_price, line.market_price, line.image) == (PRICE, 2 * PRICE, "https://img.example/2")
    assert (order.total_amount, order.currency, order.status) == (4 * PRICE, "EUR", Status.CREATED)
    assert (order.receiver, order.user_id) == (RECEIVER, "ann")
    assert order.expires_at == order.created_at + 900_000


def test_snapshot(shop: Shop) -> None:
    """What happens to the goods later does not change an order."""
    order = shop.ordering.order(_request()).order
    shop.goods.add(1, price=9999)
    assert shop.reader.get(order.order_id, owner="ann").lines[0].unit_price == PRICE


def test_no_receiver(shop: Shop) -> None:
    """An order needs no receiver."""
    order = shop.order({1: 1})
    assert order.receiver is None
    assert shop.reader.get(order.order_id, owner="ann").receiver is None


def _order_over_http(shop: Shop, body: dict[str, Any]) -> TestResponse:
    """Send `body` under the key "k", as ann, through the routes of the service."""
    others: Any = dict.fromkeys(("submit", "requests", "paying", "closing", "timeline", "sweep", "erase"))
    cases = UseCases(ordering=shop.ordering, reader=shop.reader, payments=shop.shown, **others)
    secret = "s" * 32
    told = {"title": "", "description": "", "max_body": 9999, "metrics": Metrics("order"), "checks": {}}
    api = Api("order", verifier=Verifier(secret), **cast("Any", told))
    streams = Streams(9, lasts=9, ending=api.ending)
    install(api, cases, rate_limit="9/second", most_at_once=9, most_of_one_user=9, timelines=9, streams=streams)
    headers = {"Authorization": f"Bearer {issue(secret, 'ann', ['orders'], 60)}", "Idempotency-Key": "k"}
    return api.app.test_client().post("/orders", json=body, headers=headers)


def test_an_order_asked_for_again_after_an_upgrade(shop: Shop) -> None:
    """A key that an earlier release stored gets the first answer; for another order it is still refused."""
    body = {"items": [{"goods_id": "1", "quantity": 1}]}
    (stored,) = PlaceOrder.model_validate(body).older_hashes()
    first = shop.ordering.order(_request(body=stored)).order
    again = _order_over_http(shop, body)
    assert (again.status_code, again.headers.get("Idempotency-Replayed")) == (201, "true")
    assert again.get_json()["order_id"] == str(first.order_id)
    assert _order_over_http(shop, {"items": [{"goods_id": "1", "quantity": 2}]}).status_code == 422
    assert _count(shop) == 1


def test_receiver_is_not_logged() -> None:
    """A receiver does not show in a log or a traceback."""
    assert repr(RECEIVER) == "Receiver(…)"


def test_unknown_goods(shop: Shop) -> None:
    """Goods that don't exist or are not on sale are named by JSON pointer; nothing is deducted."""
    shop.goods.add(3, on_sale=False)
    with pytest.raises(UnknownGoods) as caught:
        shop.ordering.order(_request({9: 1, 1: 1, 3: 1}))
    assert [error["pointer"] for error in caught.value.members["errors"]] == ["/items/0/goods_id", "/items/2/goods_id"]
    assert shop.available(1) == 10


def test_mixed_currencies(shop: Shop) -> None:
    """An order mixes no currencies."""
    shop.goods.add(3, currency="USD")
    with pytest.raises(Invalid) as caught:
        shop.ordering.order(_request({1: 1, 3: 1}))
    assert caught.value.slug == "invalid"
    assert caught.value.members["errors"][0]["pointer"] == "/items"


def test_goods_down(shop: Shop) -> None:
    """Without prices there is no order."""
    shop.goods.down = True
    with pytest.raises(PeerUnavailable):
        shop.ordering.order(_request())
    assert shop.console.find() == []


def test_short(shop: Shop) -> None:
    """What stock refuses is refused, with or without a key; the key stays free."""
    for key in (None, "k"):
        with pytest.raises(InsufficientStock):
            shop.ordering.order(_request({1: 11}, key=key))
    assert not shop.ordering.order(_request({1: 10})).replayed


def test_outcome_unknown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection lost in COMMIT is answered with the order's id, to ask for later."""

    def lost(_: object) -> None:
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", lost)
        with pytest.raises(OutcomeUnknown) as caught:
            shop.ordering.order(_request())
    assert int(caught.value.members["order_id"]) > 0


def test_replay(shop: Shop) -> None:
    """The same key and body again: the first order, and nothing is deducted again."""
    first = shop.ordering.order(_request())
    again = shop.ordering.order(_request())
    assert again == Placed(first.order, replayed=True)
    assert shop.available(1) == 9
    assert _count(shop) == 1
    with shop.stock_database.read() as connection:  # nor deducted and given back
        assert connection.scalar(select(func.count()).select_from(reservations)) == 1


def test_replay_repeats_the_first_answer(shop: Shop) -> None:
    """Though the order was paid, or closed, meanwhile: the answer is the first one."""
    paid = shop.ordering.order(_request()).order
    shop.pay(paid.order_id, owner="ann")
    assert shop.ordering.order(_request()).order == paid
    closed = shop.ordering.order(_request(key="k2")).order
    shop.closing.close([closed.order_id], CloseReason.CANCELLED)
    assert shop.ordering.order(_request(key="k2")).order == closed


def test_mismatch(shop: Shop) -> None:
    """The same key with another body is refused."""
    shop.ordering.order(_request())
    with pytest.raises(IdempotencyMismatch):
        shop.ordering.order(_request({1: 2}, body="another body"))
    assert shop.available(1) == 9


def test_keys_belong_to_users(shop: Shop) -> None:
    """Two users may use the same key."""
    first = shop.order({1: 1}, user="ann", key="k")
    second = shop.order({1: 1}, user="bob", key="k")
    assert first.order_id != second.order_id


def test_no_key_no_replay(shop: Shop) -> None:
    """Without a key every request makes an order of its own."""
    assert {shop.ordering.order(_request(key=None)).replayed for _ in range(2)} == {False}
    assert _count(shop) == 2


def _at_once(number: int, work: Callable[[], Placed]) -> list[Placed]:
    placed: list[Placed] = []
    start = threading.Barrier(number)

    def run() -> None:
        start.wait()
        placed.append(work())

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return placed


def test_same_key_at_once(shop: Shop) -> None:
    """The same key ten times at once: one order, one deduction, ten equal answers."""
    placed = _at_once(10, lambda: shop.ordering.order(_request()))
    assert len({answer.order.order_id for answer in placed}) == 1
    assert sorted(answer.replayed for answer in placed) == [False] + [True] * 9
    assert shop.available(1) == 9
    assert shop.ordering._turns._locks == {}


class _Guarded(dict[Any, Any]):
    """A dictionary that is looked at and changed only while a lock is held."""

    def __init__(self, guard: threading.Lock) -> None:
        super().__init__()
        self._guard = guard
        self.uses: list[str] = []

    def _note(self, name: str) -> None:
        assert self._guard.locked(), name
        self.uses.append(name)

    def get(self, key: Any, default: Any = None) -> Any:
        self._note("get")
        return super().get(key, default)

    def __getitem__(self, key: Any) -> Any:
        self._note("read")
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._note("set")
        super().__setitem__(key, value)

    def __delitem__(self, key: Any) -> None:
        self._note("delete")
        super().__delitem__(key)


def test_two_requests_that_come_at_once_find_the_same_lock() -> None:
    """Looked up and noted in one step, and given up in one: else each has its own, and both place an order."""
    turns = _Turns()
    turns._locks = locks = _Guarded(turns._guard)
    with ThreadPoolExecutor(1) as pool:
        with turns.of(("ann", "k")):
            waiting = pool.submit(_take_turn, turns)
            eventually(lambda: locks.uses == ["get", "set"] * 2)
            assert not waiting.done()
            with pytest.raises(AssertionError, match="get"):  # seen, where the guard is not held
                locks.get("another key")
        assert waiting.exception(10) is None
    assert locks == {}


def _take_turn(turns: _Turns) -> None:
    with turns.of(("ann", "k")):
        pass


def _other_process(shop: Shop) -> Ordering:
    return Ordering(shop.reader, shop.pricing, shop.ids, shop.place, pay_timeout=900.0)


def test_who_waits_in_vain_for_another_with_its_key_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has made nothing and knows nothing of the other; that goes on, and its answer is the key's."""
    monkeypatch.setattr("order.service.ordering._LONGEST_TURN", 0.05)
    inside, go_on = threading.Event(), threading.Event()
    find = shop.goods.find

    def slow(*asked: Any) -> Any:
        inside.set()
        assert go_on.wait(10)
        return find(*asked)

    monkeypatch.setattr(shop.goods, "find", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shop.ordering.order, _request())
        assert inside.wait(10)
        with pytest.raises(Unavailable, match="still being worked on"):
            shop.ordering.order(_request())
        go_on.set()
        made = first.result(10).order  # the last request waits for nobody, or it might in vain on a busy machine
    assert shop.ordering.order(_request()).order == made
    assert shop.ordering._turns._locks == {}


@pytest.mark.parametrize("pieces", [10, 1], ids=["enough for both", "the last piece"])
def test_same_key_in_another_process(shop: Shop, pieces: int) -> None:
    """A request that loses its key to another process answers with the other's order; its own stock comes back."""
    shop.levels.set_total(1, pieces)
    other = _other_process(shop)
    first: list[Placed] = []
    shop.faults.hooks["begin"] = lambda: first.append(other.order(_request()))
    second = shop.ordering.order(_request())
    assert second == Placed(first[0].order, replayed=True)
    shop.quiet()
    assert shop.available(1) == pieces - 1
    assert _count(shop) == 1


def test_key_taken_and_gone(shop: Shop) -> None:
    """A key that was taken, under which there is no order after all, is not answered with another user's."""

    def taken(_: Draft) -> Order:
        raise KeyTaken

    ordering = Ordering(shop.reader, shop.pricing, shop.ids, taken, pay_timeout=900.0)
    with pytest.raises(KeyTaken):
        ordering.order(_request())
