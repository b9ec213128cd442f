"""Paying through the sandbox provider, over REST: at once, on its page, refused, late, twice, and while pay is away."""

from typing import Any

import pytest

from ops.client import Client
from tests.e2e.shop import Shop, at_once, cancel, eventually_status, pay, place, placed, slug, status_of
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.P7]


def payment(client: Client, order_id: str) -> dict[str, Any] | None:
    """Return an order's payment as the order shows it."""
    shown: dict[str, Any] | None = client.get("order", f"/orders/{order_id}")["payment"]
    return shown


def books(shop: Shop, order_id: str) -> tuple[int, int]:
    """Return how often the provider took money for an order, and how often it sent it back, by its own ledger."""
    taken, query = [], {"limit": "100"}
    while True:
        page = shop.service.get("sandbox", "/ledger", **query)
        sessions = [session for session in page["items"] if session["payment_id"] == order_id]
        taken += [charge for session in sessions for charge in session["charges"]]
        if page["next_cursor"] is None:
            return len(taken), sum(refund["state"] == "done" for charge in taken for refund in charge["refunds"])
        query["cursor"] = page["next_cursor"]


def on_page(shop: Shop, pay_url: str, choice: str) -> None:
    """Press a button on the provider's page."""
    path = "/page/" + pay_url.rpartition("/page/")[2]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert shop.raw("sandbox", "POST", path, body=f"choice={choice}".encode(), headers=headers).status == 303


def test_open_until_it_is_paid(shop: Shop) -> None:
    """A new order shows an open payment; paid at once, it names who took the money, which the books confirm."""
    user, tea = shop.user(), shop.goods()
    order = placed(user, {tea: 1})
    assert order["payment"] == {"payment_id": order["order_id"], "status": "open", "provider": None}
    paid = pay(user, order["order_id"])
    assert (paid.status, paid.body["status"]) == (200, "paid")
    assert paid.body["payment"] == order["payment"] | {"status": "succeeded", "provider": "sandbox"}
    assert pay(user, order["order_id"]).body == paid.body
    assert [one["payment"] for one in user.get("order", "/orders")["items"]] == [paid.body["payment"]]
    assert books(shop, order["order_id"]) == (1, 0)


def test_paid_on_the_providers_page(shop: Shop) -> None:
    """202 with the page; asked again, the same page; once the customer paid there, the order is paid by a callback."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    first, second = (pay(user, order_id, "page") for _ in range(2))
    assert first.status == second.status == 202
    assert first.body == second.body
    assert (first.body["order_id"], first.body["payment_id"]) == (order_id, order_id)
    assert status_of(user, order_id) == "created"
    on_page(shop, first.body["pay_url"], "pay")
    eventually_status(user, order_id, "paid")
    assert books(shop, order_id) == (1, 0)
    entries = user.get("order", f"/orders/{order_id}/timeline")["entries"]
    told = {entry["event"] for entry in entries}
    assert {"payment attempt", "provider's callback: succeeded", "payment handled", "order paid"} <= told
    (callback,) = (entry for entry in entries if entry["event"] == "provider's callback: succeeded")
    assert callback["evidence"]["signature"] == "verified"


def test_refused_by_the_provider(shop: Shop) -> None:
    """402 with the provider's words; the order stays open, and can be paid by another try."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    refused = pay(user, order_id, "decline")
    assert (refused.status, slug(refused)) == (402, "payment-refused")
    assert refused.body["reason"]
    assert status_of(user, order_id) == "created"
    assert pay(user, order_id).status == 200
    assert books(shop, order_id) == (1, 0)


def test_a_provider_that_is_not_known(shop: Shop) -> None:
    """422, and nothing is changed; another user's order is not found whichever provider is to be paid."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    answer = user.ask("order", "POST", f"/orders/{order_id}/pay", json_body={"provider": "nobody"})
    assert (answer.status, slug(answer)) == (422, "unknown-provider")
    assert slug(shop.user().ask("order", "POST", f"/orders/{order_id}/pay", json_body={})) == "not-found"
    assert status_of(user, order_id) == "created"


def test_taken_twice_kept_once(shop: Shop) -> None:
    """A provider that takes the money twice sends one of them back; the order is paid."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    pay(user, order_id, "twice")
    eventually_status(user, order_id, "paid")
    eventually(lambda: books(shop, order_id) == (2, 1))
    shop.assert_sound()


def test_paid_by_many_at_once(shop: Shop) -> None:
    """However many ask at the same time, the order is paid, and money kept once."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    answers = at_once([lambda: pay(user, order_id)] * 6)
    assert {answer.status for answer in answers} <= {200, 503}
    eventually_status(user, order_id, "paid")
    eventually(lambda: (taken := books(shop, order_id))[0] - taken[1] == 1)


def test_paid_after_it_was_closed(shop: Shop) -> None:
    """Money that comes for a cancelled order goes back once, and the story says so."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    assert pay(user, order_id, "late:1").status == 202
    assert cancel(user, order_id).body["payment"]["status"] == "closed"
    eventually(lambda: payment(user, order_id) == {"payment_id": order_id, "status": "refunded", "provider": None})
    assert books(shop, order_id) == (1, 1)
    assert status_of(user, order_id) == "closed"
    assert "money sent back" in {e["event"] for e in user.get("order", f"/orders/{order_id}/timeline")["entries"]}
    assert slug(pay(user, order_id)) == "order-closed"
    eventually(lambda: shop.available(tea) == 10)
    shop.assert_sound()


def test_the_last_question(shop: Shop) -> None:
    """Paid at a provider that does not tell: asked before the order is closed by its timeout, it says so."""
    with shop.settings("order", pay_timeout=1.0):
        user, tea = shop.user(), shop.goods()
        order_id = placed(user, {tea: 1})["order_id"]
        assert pay(user, order_id, "silent").status == 202
        eventually_status(user, order_id, "paid")
    assert books(shop, order_id) == (1, 0)


def test_pay_is_killed_while_an_order_is_paid(shop: Shop) -> None:
    """503, and nothing is lost: paid again once it is back, or by what was taken before, but once."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    supervisor = shop.deployment.supervisor
    supervisor.hold("pay")
    supervisor.kill("pay", 9)
    try:
        assert slug(pay(user, order_id)) == "unavailable"
        assert slug(place(user, {tea: 1})) == "unavailable"
        assert payment(user, order_id) == {"payment_id": order_id, "status": "open", "provider": None}
    finally:
        supervisor.release("pay")
        supervisor.wait_ready("pay")
    eventually(lambda: pay(user, order_id).status == 200)
    assert books(shop, order_id) == (1, 0)
    shop.assert_sound()


def test_an_order_that_costs_nothing(shop: Shop) -> None:
    """It is paid at once, has no payment, and pay is never asked."""
    user, gift = shop.user(), shop.goods(unit_price=0)
    order = placed(user, {gift: 1})
    assert (order["status"], order["payment"]) == ("paid", None)
    assert pay(user, order["order_id"]).body == order
    assert shop.admin.ask("pay", "GET", f"/payments/{order['order_id']}").status == 404
