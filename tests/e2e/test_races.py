"""Races over real HTTP: the first one wins, the other one is told, and nothing is counted twice."""

import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from ops.client import Answer, Client
from tests.e2e.shop import Shop, at_once, cancel, eventually_status, pay, place, placed, slug, status_of
from tests.support import eventually

pytestmark = pytest.mark.e2e

_PAY_TIMEOUT = 2.0  # seconds: long enough to place what races
_ORDERS = 40


def _expiring(user: Client, tea: str) -> list[dict[str, Any]]:
    """Place orders that expire together, more or less."""
    return at_once([partial(placed, user, {tea: 1}) for _ in range(_ORDERS)])


def _around_its_timeout(call: Callable[[], Answer], order: dict[str, Any], number: int) -> Callable[[], Answer]:
    """Return `call`, made from 80 ms before to 80 ms after the order expires."""
    at = datetime.fromisoformat(order["expires_at"]).timestamp() + (number - _ORDERS / 2) * 0.004

    def wait_and_call() -> Answer:
        time.sleep(max(0.0, at - time.time()))
        return call()

    return wait_and_call


def _cancelled(user: Client, order_id: str) -> Answer:
    """Try to cancel an order, again as long as that took too long, as its 503 asks for."""
    answers: list[Answer] = []

    def is_told() -> bool:
        answers.append(cancel(user, order_id))
        return answers[-1].status != 503

    eventually(is_told, within=30.0)
    return answers[-1]


@pytest.mark.P3
def test_pay_against_timeout(shop: Shop) -> None:
    """An order is paid (200) or closed by its timeout (409), never both; the stock follows."""
    user, tea = shop.user(), shop.goods(stock=_ORDERS)
    with shop.settings("order", pay_timeout=_PAY_TIMEOUT):
        orders = _expiring(user, tea)
        calls = [_around_its_timeout(partial(pay, user, o["order_id"]), o, i) for i, o in enumerate(orders)]
        answers = at_once(calls)
        shop.assert_sound()
    outcomes: Counter[int] = Counter()
    for order, answer in zip(orders, answers, strict=True):
        if answer.status == 200:
            assert answer.body["status"] == status_of(user, order["order_id"]) == "paid"
            outcomes[200] += 1
        elif answer.status == 503 and status_of(user, order["order_id"]) == "paid":  # not known in time
            outcomes[200] += 1
        else:
            assert (answer.status, slug(answer)) in {(409, "order-closed"), (503, "unavailable")}
            assert user.get("order", f"/orders/{order['order_id']}")["close_reason"] == "timeout"
            outcomes[409] += 1
    assert shop.available(tea) == outcomes[409]


@pytest.mark.P3
def test_cancel_against_timeout(shop: Shop) -> None:
    """An order is closed once, by one of the two; its stock comes back once."""
    user, tea = shop.user(), shop.goods(stock=_ORDERS)
    with shop.settings("order", pay_timeout=_PAY_TIMEOUT):
        orders = _expiring(user, tea)
        calls = [_around_its_timeout(partial(_cancelled, user, o["order_id"]), o, i) for i, o in enumerate(orders)]
        answers = at_once(calls)
        shop.assert_sound()
    for order, answer in zip(orders, answers, strict=True):
        assert answer.status == 200
        assert answer.body["status"] == "closed"
        assert answer.body == user.get("order", f"/orders/{order['order_id']}")
    assert shop.available(tea) == _ORDERS


@pytest.mark.P3
def test_pay_against_cancel(shop: Shop) -> None:
    """Exactly one of the two succeeds, the other one is a 409 that says why."""
    user, tea = shop.user(), shop.goods(stock=20)
    ids = [placed(user, {tea: 1})["order_id"] for _ in range(20)]
    answers = at_once([partial(call, user, order_id) for order_id in ids for call in (pay, _cancelled)])
    paid = 0
    for order_id, payment, cancellation in zip(ids, answers[::2], answers[1::2], strict=True):
        if payment.status == 200:
            paid += 1
            assert (cancellation.status, slug(cancellation)) == (409, "order-paid")
            assert status_of(user, order_id) == "paid"
        elif payment.status == 503 and cancellation.status == 409:  # it was not known in time that it was paid
            paid += 1
            assert status_of(user, order_id) == "paid"
        else:
            assert (payment.status, slug(payment)) in {(409, "order-closed"), (503, "unavailable")}
            assert cancellation.status == 200
            assert status_of(user, order_id) == "closed"
    shop.assert_sound()
    assert shop.available(tea) == 20 - paid


@pytest.mark.P3
def test_the_same_order_cancelled_often_at_once(shop: Shop) -> None:
    """Twenty cancellations of one order at once: all 200, the stock comes back once."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 3})["order_id"]
    answers = at_once([partial(cancel, user, order_id)] * 20)
    assert [a.status for a in answers] == [200] * 20
    assert len({repr(a.body) for a in answers}) == 1
    shop.assert_sound()
    assert shop.available(tea) == 10


@pytest.mark.P1
def test_fifty_clients_for_the_last_ten_pieces(shop: Shop) -> None:
    """Exactly 10 orders, exactly 40 times 409, and no piece left."""
    tea = shop.goods(stock=10)
    answers = at_once([partial(place, shop.user(), {tea: 1}) for _ in range(50)])
    assert Counter(a.status for a in answers) == {201: 10, 409: 40}
    assert {slug(a) for a in answers if a.status == 409} == {"insufficient-stock"}
    assert shop.available(tea) == 0
    shop.assert_sound()


def test_orders_that_want_the_same_goods_in_opposite_order(shop: Shop) -> None:
    """Orders over the same two goods, lines turned round, don't block each other; each is whole or not at all."""
    tea, pot = shop.goods(stock=12), shop.goods(stock=8)
    both = [{tea: 1, pot: 1}, {pot: 1, tea: 1}]
    answers = at_once([partial(place, shop.user(), both[i % 2]) for i in range(24)])
    assert Counter(a.status for a in answers) == {201: 8, 409: 16}
    assert (shop.available(tea), shop.available(pot)) == (4, 0)
    shop.assert_sound()


@pytest.mark.parametrize("stock", [10, 1])
def test_one_key_fifty_times_at_once(shop: Shop, stock: int) -> None:
    """One order, fifty times the same answer, also where there is exactly one piece."""
    name, tea = shop.name(), shop.goods(stock=stock)
    headers = shop.bearer(name) | {"Idempotency-Key": "once", "Content-Type": "application/json"}
    body = b'{"items": [{"goods_id": "%s", "quantity": 1}]}' % tea.encode()
    answers = at_once([partial(shop.raw, "order", "POST", "/orders", body=body, headers=headers)] * 50)
    assert [a.status for a in answers] == [201] * 50
    assert len({a.data for a in answers}) == 1
    assert sum("idempotency-replayed" not in a.headers for a in answers) == 1
    assert len(shop.user(name).get("order", "/orders")["items"]) == 1
    assert shop.available(tea) == stock - 1
    shop.assert_sound()


@pytest.mark.P4
def test_one_key_for_two_bodies_at_once(shop: Shop) -> None:
    """Whichever comes first makes the order; the other body is a mismatch, however they interleave."""
    user, tea = shop.user(), shop.goods(stock=10)
    answers = at_once([partial(place, user, {tea: 1 + i % 2}, key="two") for i in range(30)])
    made = {a.body["order_id"] for a in answers if a.status == 201}
    assert len(made) == 1
    assert Counter(a.status for a in answers) == {201: 15, 422: 15}
    assert {slug(a) for a in answers if a.status == 422} == {"idempotency-mismatch"}
    shop.assert_sound()


@pytest.mark.P1
def test_setting_the_total_while_orders_come_in(shop: Shop) -> None:
    """Totals set between orders are taken or refused (409); never is more sold than there is."""
    tea = shop.goods(stock=20)

    def set_total(total: int) -> Answer:
        return shop.admin.ask("stock", "PUT", f"/stock/{tea}", json_body={"total": total})

    def order(_: int) -> Answer:
        return place(shop.user(), {tea: 1})

    answers = at_once([partial(order if i % 3 else set_total, i) for i in range(60)])
    totals, orders = answers[::3], [a for i, a in enumerate(answers) if i % 3]
    assert {a.status for a in totals} <= {200, 409}
    assert {slug(a) for a in totals if a.status == 409} <= {"below-reserved"}
    assert {a.status for a in orders} <= {201, 409}
    level = shop.admin.get("stock", f"/stock/{tea}")
    assert level["total"] - level["available"] == sum(a.status == 201 for a in orders)
    shop.assert_sound()


@pytest.mark.P2
def test_timeouts_while_orders_are_still_coming_in(shop: Shop) -> None:
    """Orders that expire almost at once, placed while the older ones are being closed: all closed, all stock back."""
    user, tea = shop.user(), shop.goods(stock=1000)
    with shop.settings("order", pay_timeout=0.05):
        orders = [o for _ in range(3) for o in at_once([partial(placed, user, {tea: 1}) for _ in range(20)])]
        for order in orders:
            eventually_status(user, order["order_id"], "closed")
        shop.assert_sound()
    assert shop.available(tea) == 1000
