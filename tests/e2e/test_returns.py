"""Returning orders over REST: money, pieces and coupon go back once, whatever is down or asked for twice meanwhile."""

from typing import Any

import pytest

from ops.client import Answer, Client
from tests.e2e.shop import Shop, at_once, cancel, pay, placed, slug, status_of
from tests.e2e.test_command_line import answered, orders
from tests.e2e.test_flash_sales import bought, decided, opened, sale_of, stopped
from tests.e2e.test_order_coupon import counts, coupon
from tests.e2e.test_payments import books, payment
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.in_turn]

STEPS = ["refund", "restock", "coupon"]


def give_back(client: Client, order_id: str, reason: str = "too small") -> Answer:
    return client.ask("order", "POST", f"/orders/{order_id}/return", json_body={"reason": reason})


def returned(client: Client, order_id: str, *, within: float = 60.0) -> Any:
    """Wait until the return of an order has ended; return it."""
    found: list[Any] = []
    eventually(lambda: found.append(show(client, order_id)) or found[-1]["state"] != "running", within=within)
    return found[-1]


def show(client: Client, order_id: str) -> Any:
    return client.get("order", f"/orders/{order_id}/return")


def step(client: Client, order_id: str, name: str) -> Any:
    (found,) = (one for one in show(client, order_id)["steps"] if one["name"] == name)
    return found


def paid_order(user: Client, goods_id: str, **fields: Any) -> str:
    """Place and pay an order of three pieces; return its id."""
    order_id: str = placed(user, {goods_id: 3}, **fields)["order_id"]
    assert pay(user, order_id).status == 200
    return order_id


def test_all_of_it_goes_back(shop: Shop) -> None:
    """202 with the return's address, the order is returned at once; at the end money, pieces and coupon are back."""
    user, tea, of = shop.user(), shop.goods(stock=10), coupon(shop)
    order_id = paid_order(user, tea, coupon_id=of)
    eventually(lambda: counts(shop, of) == (1, 0, 1))
    answer = give_back(user, order_id)
    assert (answer.status, answer.headers["location"]) == (202, f"/orders/{order_id}/return")
    assert status_of(user, order_id) == "returned"
    told = returned(user, order_id)
    assert (told["state"], told["reason"], told["order_id"], told["why"]) == ("done", "too small", order_id, None)
    assert [(one["name"], one["state"], one["last_error"]) for one in told["steps"]] == [
        (name, "done", None) for name in STEPS
    ]
    assert payment(user, order_id) == {"payment_id": order_id, "status": "refunded", "provider": "sandbox"}
    assert books(shop, order_id) == (1, 1)
    assert shop.available(tea) == 10
    assert counts(shop, of) == (2, 0, 0)
    assert [one["order_id"] for one in user.get("order", "/orders?status=returned")["items"]] == [order_id]
    shop.assert_sound()


def test_again_is_the_same(shop: Shop) -> None:
    """Asked for by many at once, and later with another reason: one return, told alike; everything goes back once."""
    user, tea = shop.user(), shop.goods(stock=10)
    order_id = paid_order(user, tea)
    answers = at_once([lambda: give_back(user, order_id)] * 6)
    returned(user, order_id)
    answers.append(give_back(user, order_id, "too large"))
    assert {answer.status for answer in answers} == {202}
    assert all(answer.body == answers[0].body for answer in answers)
    assert all(answer.headers["location"] == f"/orders/{order_id}/return" for answer in answers)
    assert show(user, order_id)["reason"] == "too small"
    assert (shop.available(tea), books(shop, order_id)) == (10, (1, 1))


def test_an_order_that_cost_nothing(shop: Shop) -> None:
    """There is no payment to send back; pieces and coupon go back all the same."""
    user, tea, of = shop.user(), shop.goods(stock=10), coupon(shop, value=10_000)
    order = placed(user, {tea: 3}, coupon_id=of)
    assert (order["status"], order["payment"]) == ("paid", None)
    assert give_back(user, order["order_id"]).status == 202
    assert returned(user, order["order_id"])["state"] == "done"
    assert (shop.available(tea), counts(shop, of)) == (10, (2, 0, 0))
    shop.assert_sound()


@pytest.mark.parametrize("closed", [False, True])
def test_what_is_not_paid_is_not_returned(shop: Shop, closed: bool) -> None:
    """409 for an order that is open or closed, and nothing is begun: its return is not found."""
    user = shop.user()
    order_id = placed(user, {shop.goods(): 1})["order_id"]
    if closed:
        cancel(user, order_id)
    answer = give_back(user, order_id)
    assert (answer.status, slug(answer)) == (409, "order-not-paid")
    assert slug(user.ask("order", "GET", f"/orders/{order_id}/return")) == "not-found"
    assert status_of(user, order_id) == ("closed" if closed else "created")


def test_too_late(shop: Shop) -> None:
    """409 once ORDERS_RETURN_WITHIN is over since it was paid; one that was begun in time is told as ever."""
    user, tea = shop.user(), shop.goods()
    before, late = (paid_order(user, tea) for _ in range(2))
    assert give_back(user, before).status == 202
    with shop.settings("order", return_within=0):
        answer = give_back(user, late)
        assert (answer.status, slug(answer)) == (409, "return-too-late")
        assert status_of(user, late) == "paid"
        assert give_back(user, before).status == 202
    returned(user, before)


def test_whose_order_it_is(shop: Shop) -> None:
    """Another's order is not found, for both calls, as one that never was; an admin may return it."""
    user, other = shop.user(), shop.user()
    order_id = paid_order(user, shop.goods())
    for one in (order_id, "1", "x"):
        assert slug(give_back(other, one)) == "not-found"
        assert slug(other.ask("order", "GET", f"/orders/{one}/return")) == "not-found"
    assert give_back(shop.admin, order_id).status == 202
    assert slug(other.ask("order", "GET", f"/orders/{order_id}/return")) == "not-found"
    assert returned(shop.admin, order_id)["state"] == "done"


def test_nothing_else_changes_a_returned_order(shop: Shop) -> None:
    """Paying it is refused as for a closed one, cancelling it as for a paid one; a timeout leaves it alone."""
    user = shop.user()
    order_id = paid_order(user, shop.goods())
    give_back(user, order_id)
    assert slug(pay(user, order_id)) == "order-closed"
    assert slug(cancel(user, order_id)) == "order-paid"
    returned(user, order_id)
    assert status_of(user, order_id) == "returned"


def test_a_service_that_is_down_is_waited_for(shop: Shop) -> None:
    """The others have let go; its step tells its tries and the last error, and is done once it is back."""
    user, tea, of = shop.user(), shop.goods(stock=10), coupon(shop)
    order_id = paid_order(user, tea, coupon_id=of)
    with stopped(shop, "stock"):
        assert give_back(user, order_id).status == 202
        eventually(lambda: step(user, order_id, "restock")["tries"] >= 2, within=60.0)
        assert "stock" in step(user, order_id, "restock")["last_error"]
        eventually(lambda: step(user, order_id, "refund")["state"] == step(user, order_id, "coupon")["state"] == "done")
        assert show(user, order_id)["state"] == "running"
    assert returned(user, order_id)["state"] == "done"
    assert (shop.available(tea), counts(shop, of), books(shop, order_id)) == (10, (2, 0, 0), (1, 1))


def test_pieces_of_a_sale_go_back_to_it(shop: Shop) -> None:
    """As a closed order's do: the sale sells them again, and in the end stock has them."""
    sale_id, tea = opened(shop, 5, per_user=2)
    user = shop.user()
    order_id = decided(user, bought(user, sale_id, 2))["order_id"]
    assert pay(user, order_id).status == 200
    assert sale_of(shop, sale_id)["left"] == 3
    assert give_back(user, order_id).status == 202
    assert returned(user, order_id)["state"] == "done"
    eventually(lambda: sale_of(shop, sale_id)["left"] == 5)
    shop.admin.post("flash", f"/flash-sales/{sale_id}/close")
    eventually(lambda: shop.available(tea) == 20)
    shop.assert_sound()


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": "x" * 256}, {"reason": "x", "amount": 1}])
def test_a_reason_is_needed(shop: Shop, body: Any) -> None:
    """Anything else than a reason of up to 255 characters is refused, and the order stays paid."""
    user = shop.user()
    order_id = paid_order(user, shop.goods())
    answer = user.ask("order", "POST", f"/orders/{order_id}/return", json_body=body)
    assert answer.status in {400, 415, 422}
    assert status_of(user, order_id) == "paid"


def sagas(shop: Shop, *words: str) -> Any:
    """Run `orders sagas …` on the shop's deployment; return what it prints as JSON."""
    return answered(orders("sagas", *words, "--json", data_dir=shop.deployment.directory.root))


@pytest.mark.timeout(300)  # its sweep looks at the orders of all tests before it
def test_an_operator(shop: Shop) -> None:
    """By command line: returns that don't get on, with their tries; one is retried, skipped, given up, with reasons."""
    user, tea = shop.user(), shop.goods(stock=10)
    skipped, given_up = paid_order(user, tea), paid_order(user, tea)
    with stopped(shop, "stock"):
        for order_id in (skipped, given_up):
            give_back(user, order_id)
            eventually(lambda order_id=order_id: step(user, order_id, "restock")["tries"] >= 1)
            eventually(lambda order_id=order_id: step(user, order_id, "refund")["state"] == "done")
        runs = {run["key"]: run["run_id"] for run in sagas(shop, "list")}
        assert {skipped, given_up} <= set(runs)
        assert sagas(shop, "list", "--state", "undone") == []
        tries = step(user, skipped, "restock")["tries"]
        assert sagas(shop, "retry", runs[skipped])["state"] == "running"
        eventually(lambda: step(user, skipped, "restock")["tries"] > tries)
        told = sagas(shop, "skip", runs[skipped], "restock", "--why", "counted by hand")
        assert told["state"] == "done"
        (restock,) = (one for one in told["steps"] if one["name"] == "restock")
        assert (restock["state"], restock["last_error"]) == ("skipped", "skipped: counted by hand")
        told = sagas(shop, "give-up", runs[given_up], "--why", "the pieces are broken")
        assert (told["state"], told["why"]) == ("given-up", "given up: the pieces are broken")
        assert show(user, given_up)["why"] == told["why"]
        assert sagas(shop, "show", runs[given_up]) == told
        refused = orders("sagas", "retry", runs[given_up], data_dir=shop.deployment.directory.root)
        assert (refused.returncode, "has ended" in refused.stderr) == (1, True)
        shown = orders("sagas", "show", runs[given_up], data_dir=shop.deployment.directory.root)
        assert "restock" in shown.stdout
        assert "given-up: given up: the pieces are broken" in shown.stdout
    shop.admin.post("order", "/sweep/full")  # what was never told to stock is found by the sweep
    assert shop.available(tea) == 10


def test_only_admins_see_sagas(shop: Shop) -> None:
    """Pages of runs, newest first, one after the other; a user's token sees none of them."""
    user, tea = shop.user(), shop.goods(stock=20)
    ours = [paid_order(user, tea) for _ in range(3)]
    for order_id in ours:
        give_back(user, order_id)
        returned(user, order_id)
    first = shop.admin.get("order", "/admin/sagas", state="done", limit=2)
    second = shop.admin.get("order", "/admin/sagas", state="done", limit=1, cursor=first["next_cursor"])
    assert [run["key"] for run in (*first["items"], *second["items"])] == ours[::-1]
    assert all(run["is_known"] for run in first["items"])
    assert slug(user.ask("order", "GET", "/admin/sagas")) == "forbidden"
