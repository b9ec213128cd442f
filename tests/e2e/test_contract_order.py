"""The order service's REST contract, call by call."""

import re
import time
from datetime import datetime
from typing import Any

import pytest

from ops.client import Client
from tests.e2e.shop import Shop, cancel, eventually_status, pay, place, placed, slug, status_of
from tests.support import eventually

pytestmark = pytest.mark.e2e

RECEIVER = {"name": "Ada Lovelace", "phone": "+44 20 7946 0000", "address": "12 St James's Square\nLondon"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NO_IDS = ("0", "-1", "01", "1.0", "abc", "%31x", "9223372036854775808", "99999999999999999999", "1%20", "%00", "%F0")


def ms(text: str) -> float:
    assert TIME.fullmatch(text), text
    return datetime.fromisoformat(text).timestamp() * 1000


def goods_ids(page: Any) -> list[str]:
    return [order["order_id"] for order in page["items"]]


def test_a_placed_order_tells_everything(shop: Shop) -> None:
    """POST /orders: 201, Location, and the whole order: who, what, for how much, until when."""
    name = shop.name()
    user = shop.user(name)
    tea = shop.goods(name="Tea", brief="Green", unit_price=250, market_price=300, images=["https://x.example/1.jpg"])
    pot = shop.goods(name="Pot", unit_price=1999)
    before = time.time() * 1000
    answer = place(user, {tea: 3, pot: 1}, receiver=RECEIVER)
    order = answer.body
    assert answer.status == 201
    assert answer.headers["location"] == f"/orders/{order['order_id']}"
    assert answer.headers["content-type"] == "application/json"
    assert "idempotency-replayed" not in answer.headers
    line = {"quantity": 3, "unit_price": 250, "market_price": 300}
    assert order == {
        "order_id": order["order_id"],
        "user_id": name,
        "status": "created",
        "close_reason": None,
        "items": [
            {"goods_id": tea, "name": "Tea", "brief": "Green", "image": "https://x.example/1.jpg"} | line,
            {"goods_id": pot, "name": "Pot", "brief": "", "image": None, "quantity": 1}
            | {"unit_price": 1999, "market_price": 1999},
        ],
        "receiver": RECEIVER,
        "coupon_id": None,
        "sale_id": None,
        "purchase_id": None,
        "goods_amount": 3 * 250 + 1999,
        "discount_amount": 0,
        "total_amount": 3 * 250 + 1999,
        "currency": "EUR",
        "payment": {"payment_id": order["order_id"], "status": "open", "provider": None},
        "created_at": order["created_at"],
        "expires_at": order["expires_at"],
        "paid_at": None,
        "closed_at": None,
    }
    assert re.fullmatch("[1-9][0-9]{0,18}", order["order_id"])
    assert before - 1 <= ms(order["created_at"]) <= time.time() * 1000
    assert ms(order["expires_at"]) - ms(order["created_at"]) == shop.deployment.plan.pay_timeout * 1000
    assert (shop.available(tea), shop.available(pot)) == (7, 9)
    assert user.get("order", answer.headers["location"]) == order


def test_the_receiver_may_be_left_out(shop: Shop) -> None:
    """POST /orders without a receiver, or with null: the order has none."""
    user, tea = shop.user(), shop.goods()
    assert placed(user, {tea: 1})["receiver"] is None
    assert placed(user, {tea: 1}, receiver=None)["receiver"] is None


def test_what_is_short_is_named_and_nothing_is_taken(shop: Shop) -> None:
    """POST /orders for more than there is: 409 with the short goods; no order, no stock taken of any line."""
    user, enough, short = shop.user(), shop.goods(stock=5), shop.goods(stock=1)
    answer = place(user, {enough: 2, short: 2})
    assert (answer.status, slug(answer)) == (409, "insufficient-stock")
    assert answer.body["items"] == [{"goods_id": short}]
    assert (shop.available(enough), shop.available(short)) == (5, 1)
    assert user.get("order", "/orders")["items"] == []


def test_goods_that_do_not_exist_are_named(shop: Shop) -> None:
    """POST /orders with unknown goods: 422, errors points at each."""
    tea = shop.goods()
    answer = place(shop.user(), {"1": 1, tea: 1, "2": 1})
    assert (answer.status, slug(answer)) == (422, "unknown-goods")
    assert [error["pointer"] for error in answer.body["errors"]] == ["/items/0/goods_id", "/items/2/goods_id"]
    assert shop.available(tea) == 10


def test_goods_not_on_sale_can_not_be_ordered(shop: Shop) -> None:
    """POST /orders: goods off sale are 422; put on sale again they can be ordered within a second."""
    user, tea = shop.user(), shop.goods(on_sale=False)
    answer = place(user, {tea: 1})
    assert (answer.status, slug(answer)) == (422, "unknown-goods")
    shop.admin.call("goods", "PATCH", f"/goods/{tea}", json_body={"on_sale": True})
    eventually(lambda: place(user, {tea: 1}).status == 201, within=1)


def test_an_order_mixes_no_currencies(shop: Shop) -> None:
    """POST /orders with goods of two currencies: 422, nothing taken."""
    euro, yen = shop.goods(), shop.goods(currency="JPY")
    answer = place(shop.user(), {euro: 1, yen: 1})
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert (shop.available(euro), shop.available(yen)) == (10, 10)


def test_an_order_keeps_its_goods_as_they_were_and_new_orders_pay_the_new_price(shop: Shop) -> None:
    """PATCH /goods/{id}: used by orders placed a second later at the latest; an older order keeps its snapshot."""
    user, tea = shop.user(), shop.goods(stock=1000, name="Tea", brief="Green", unit_price=250)
    old = placed(user, {tea: 2})
    change = {"name": "Coffee", "brief": "Black", "unit_price": 400, "market_price": 500, "images": ["http://x/2.png"]}
    shop.admin.call("goods", "PATCH", f"/goods/{tea}", json_body=change)
    eventually(lambda: placed(user, {tea: 2})["total_amount"] == 800, within=1)
    new = placed(user, {tea: 2})["items"][0]
    assert new == {"goods_id": tea, "quantity": 2, "image": "http://x/2.png"} | {
        k: v for k, v in change.items() if k != "images"
    }
    assert user.get("order", f"/orders/{old['order_id']}") == old


def test_the_largest_order_is_exact(shop: Shop) -> None:
    """50 lines of 999 pieces at the highest price: the total is exact, and a number that JSON can carry."""
    wanted = {shop.goods(stock=999, unit_price=10**11): 999 for _ in range(50)}
    order = placed(shop.user(), wanted)
    assert order["total_amount"] == 50 * 999 * 10**11 < 2**53
    assert [item["goods_id"] for item in order["items"]] == list(wanted)


def test_goods_for_nothing_can_be_ordered(shop: Shop) -> None:
    """A price of 0 is a price."""
    order = placed(shop.user(), {shop.goods(unit_price=0): 1})
    assert (order["total_amount"], order["status"], order["paid_at"]) == (0, "paid", order["created_at"])


_ITEM = {"goods_id": "1", "quantity": 1}
_NO_GOODS_IDS: tuple[Any, ...] = (
    1,
    0,
    "0",
    "01",
    "-1",
    "",
    " 1",
    "1.0",
    "x",
    "\u0661",
    "9223372036854775808",
    None,
    [],
)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/items"),
        ({"items": None}, "/items"),
        ({"items": {}}, "/items"),
        ({"items": []}, "/items"),
        ({"items": [{"goods_id": str(i + 1), "quantity": 1} for i in range(51)]}, "/items"),
        ({"items": [_ITEM, {"goods_id": "1", "quantity": 2}]}, "/items"),
        ({"items": [{"goods_id": "1"}]}, "/items/0/quantity"),
        *(
            ({"items": [_ITEM | {"quantity": q}]}, "/items/0/quantity")
            for q in (0, -1, 1000, 1.0, "1", True, None, 10**30)
        ),
        *(({"items": [_ITEM | {"goods_id": g}]}, "/items/0/goods_id") for g in _NO_GOODS_IDS),
        ({"items": [_ITEM | {"unit_price": 1}]}, "/items/0/unit_price"),
        ({"items": [_ITEM], "user_id": "eve"}, "/user_id"),
        ({"items": [_ITEM], "total_amount": 1}, "/total_amount"),
        ({"items": [_ITEM], "receiver": {}}, "/receiver/name"),
        ({"items": [_ITEM], "receiver": "Ada"}, "/receiver"),
        ({"items": [_ITEM], "receiver": RECEIVER | {"email": "a@b"}}, "/receiver/email"),
        ({"items": [_ITEM], "receiver": RECEIVER | {"name": "n" * 65}}, "/receiver/name"),
        ({"items": [_ITEM], "receiver": RECEIVER | {"name": ""}}, "/receiver/name"),
        ({"items": [_ITEM], "receiver": RECEIVER | {"name": "a\u0000b"}}, "/receiver/name"),
        ({"items": [_ITEM], "receiver": RECEIVER | {"phone": "1" * 33}}, "/receiver/phone"),
        ({"items": [_ITEM], "receiver": RECEIVER | {"phone": 123}}, "/receiver/phone"),
        ({"items": [_ITEM], "receiver": RECEIVER | {"address": "a" * 256}}, "/receiver/address"),
        ([], ""),
        ("x", ""),
        (1, ""),
        (False, ""),
    ],
)
def test_orders_are_checked(shop: Shop, body: Any, pointer: str) -> None:
    """POST /orders refuses what breaks a rule with 422, and points at it."""
    answer = shop.user().ask("order", "POST", "/orders", json_body=body)
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert pointer in [error["pointer"] for error in answer.body["errors"]]
    assert all(error["message"] for error in answer.body["errors"])


def test_limits_of_the_receiver_count_characters(shop: Shop) -> None:
    """Names of 64, phones of 32 and addresses of 255 characters fit, whatever the characters are."""
    receiver = {"name": "\u6c49" * 64, "phone": "1" * 32, "address": "\U0001f3e0" * 255}
    order = placed(shop.user(), {shop.goods(): 1}, receiver=receiver)
    assert order["receiver"] == receiver


@pytest.mark.P4
def test_a_key_makes_one_order_whose_first_answer_comes_again(shop: Shop) -> None:
    """Same key, same body: byte for byte the first answer, with Idempotency-Replayed, also after it was paid."""
    name, tea = shop.name(), shop.goods()
    user = shop.user(name)
    body = b'{"items": [{"goods_id": "%s", "quantity": 2}]}' % tea.encode()
    headers = shop.bearer(name) | {"Idempotency-Key": "k-1", "Content-Type": "application/json"}
    first = shop.raw("order", "POST", "/orders", body=body, headers=headers)
    assert first.status == 201
    assert "idempotency-replayed" not in first.headers
    order_id = first.json["order_id"]
    assert pay(user, order_id).status == 200
    again = shop.raw("order", "POST", "/orders", body=body, headers=headers)
    assert (again.status, again.data) == (201, first.data)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert shop.available(tea) == 8
    assert goods_ids(user.get("order", "/orders")) == [order_id]


@pytest.mark.P4
def test_a_replay_after_cancelling_is_the_first_answer_too(shop: Shop) -> None:
    """Same key after the order was closed: the first answer, no new order, no stock taken."""
    user, tea = shop.user(), shop.goods()
    first = place(user, {tea: 2}, key="k-2", receiver=RECEIVER)
    assert cancel(user, first.body["order_id"]).status == 200
    again = place(user, {tea: 2}, key="k-2", receiver=RECEIVER)
    assert (again.status, again.body) == (201, first.body)
    eventually(lambda: shop.available(tea) == 10)


def test_a_replay_does_not_depend_on_how_the_same_request_is_written(shop: Shop) -> None:
    """Whitespace and the order of members do not make another request."""
    name, tea = shop.name(), shop.goods()
    headers = shop.bearer(name) | {"Idempotency-Key": "spelling", "Content-Type": "application/json"}
    spellings = (
        f'{{"items":[{{"goods_id":"{tea}","quantity":1}}]}}',
        f'{{ "receiver": null, "items": [ {{"quantity": 1, "goods_id": "{tea}"}} ] }}',
    )
    answers = [shop.raw("order", "POST", "/orders", body=s.encode(), headers=headers) for s in spellings]
    assert [a.status for a in answers] == [201, 201]
    assert answers[0].data == answers[1].data


@pytest.mark.P4
def test_a_replay_survives_price_changes_and_goods_going_off_sale(shop: Shop) -> None:
    """The first answer comes again whatever became of the goods."""
    user, tea = shop.user(), shop.goods()
    first = place(user, {tea: 1}, key="k")
    shop.admin.call("goods", "PATCH", f"/goods/{tea}", json_body={"unit_price": 1, "on_sale": False})
    eventually(lambda: place(user, {tea: 1}).status == 422, within=1)
    assert place(user, {tea: 1}, key="k").body == first.body


def test_a_key_with_another_body_is_refused(shop: Shop) -> None:
    """Same key, another body: 422, and no order."""
    user, tea = shop.user(), shop.goods()
    placed(user, {tea: 1}, key="k")
    for answer in (place(user, {tea: 2}, key="k"), place(user, {tea: 1}, key="k", receiver=RECEIVER)):
        assert (answer.status, slug(answer)) == (422, "idempotency-mismatch")
    assert shop.available(tea) == 9


def test_a_key_belongs_to_its_user(shop: Shop) -> None:
    """Two users with the same key have an order each."""
    tea = shop.goods()
    ids = {placed(shop.user(), {tea: 1}, key="shared")["order_id"] for _ in range(2)}
    assert len(ids) == 2
    assert shop.available(tea) == 8


def test_a_refused_request_does_not_use_up_its_key(shop: Shop) -> None:
    """A key whose request was refused for want of stock makes the order once there is stock."""
    user, tea = shop.user(), shop.goods(stock=1)
    assert place(user, {tea: 2}, key="k").status == 409
    shop.admin.post("stock", f"/stock/{tea}/restock", {"quantity": 1})
    answer = place(user, {tea: 2}, key="k")
    assert answer.status == 201
    assert "idempotency-replayed" not in answer.headers


@pytest.mark.parametrize("key", ["", " ", "a b", "k" * 256, "k\u00e9y", "\t"])
def test_keys_are_visible_ascii(shop: Shop, key: str) -> None:
    """Idempotency-Key: 1 to 255 visible ASCII characters, or 422."""
    answer = place(shop.user(), {"1": 1}, key=key)
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert answer.body["errors"][0]["pointer"] == "/Idempotency-Key"


def test_the_longest_key_works(shop: Shop) -> None:
    """255 characters of any visible kind."""
    user, tea = shop.user(), shop.goods()
    key = "".join(map(chr, range(33, 127))) + "k" * 161
    assert len(key) == 255
    assert placed(user, {tea: 1}, key=key) == place(user, {tea: 1}, key=key).body


def test_paying_marks_an_order_paid_once(shop: Shop) -> None:
    """POST /orders/{id}/pay: 200, paid; again: the same; then it can't be cancelled, and keeps its stock."""
    user, tea = shop.user(), shop.goods()
    order = placed(user, {tea: 1})
    first, second = (pay(user, order["order_id"]) for _ in range(2))
    third = user.ask("order", "POST", f"/orders/{order['order_id']}/pay", json_body={"provider": "sandbox"})
    assert first.status == second.status == third.status == 200
    payment = {"payment_id": order["order_id"], "status": "succeeded", "provider": "sandbox"}
    paid = {"status": "paid", "paid_at": first.body["paid_at"], "payment": payment}
    assert first.body == second.body == third.body == order | paid
    assert ms(first.body["paid_at"]) >= ms(order["created_at"])
    answer = cancel(user, order["order_id"])
    assert (answer.status, slug(answer)) == (409, "order-paid")
    assert user.get("order", f"/orders/{order['order_id']}") == first.body
    shop.assert_sound()
    assert shop.available(tea) == 9


def test_cancelling_closes_an_order_and_gives_its_stock_back(shop: Shop) -> None:
    """POST /orders/{id}/cancel: 200, closed; again: the same; then it can't be paid; the stock comes back once."""
    user, tea = shop.user(), shop.goods()
    order = placed(user, {tea: 3})
    first, second = (cancel(user, order["order_id"]) for _ in range(2))
    assert first.status == second.status == 200
    payment = {"payment_id": order["order_id"], "status": "closed", "provider": None}
    closed = {
        "status": "closed", "close_reason": "cancelled", "closed_at": first.body["closed_at"], "payment": payment
    }  # fmt: skip
    assert first.body == second.body == order | closed
    assert ms(first.body["closed_at"]) >= ms(order["created_at"])
    answer = pay(user, order["order_id"])
    assert (answer.status, slug(answer)) == (409, "order-closed")
    eventually(lambda: shop.available(tea) == 10)
    shop.assert_sound()
    assert shop.available(tea) == 10


def test_an_unpaid_order_is_closed_by_its_timeout(shop: Shop) -> None:
    """Left unpaid: closed by its timeout, the stock back; it can't be paid then, and cancelling changes nothing."""
    with shop.settings("order", pay_timeout=0.3):
        user, tea = shop.user(), shop.goods()
        order = placed(user, {tea: 2})
        eventually_status(user, order["order_id"], "closed")
    closed = user.get("order", f"/orders/{order['order_id']}")
    assert closed["close_reason"] == "timeout"
    assert ms(closed["expires_at"]) <= ms(closed["closed_at"])
    assert slug(pay(user, order["order_id"])) == "order-closed"
    answer = cancel(user, order["order_id"])
    assert (answer.status, answer.body) == (200, closed)
    eventually(lambda: shop.available(tea) == 10)


ORDER_ROUTES = (("GET", ""), ("POST", "/pay"), ("POST", "/cancel"), ("GET", "/timeline"))


@pytest.mark.parametrize(("method", "tail"), ORDER_ROUTES)
def test_anothers_order_is_not_found(shop: Shop, method: str, tail: str) -> None:
    """Every route with an order's id: 404 for all users but the owner, the same as for an order that never was."""
    owner, stranger = shop.user(), shop.user()
    mine, theirs = placed(owner, {shop.goods(): 1}), placed(stranger, {shop.goods(): 1})
    for client, order, expected in (
        (owner, mine, 200),
        (owner, theirs, 404),
        (stranger, mine, 404),
        (stranger, theirs, 200),
    ):
        answer = client.ask("order", method, f"/orders/{order['order_id']}{tail}")
        assert answer.status == expected
        if expected == 404:
            never = client.ask("order", method, f"/orders/{int(order['order_id']) + 1}{tail}")
            assert slug(answer) == slug(never) == "not-found"
            assert answer.body["detail"] == never.body["detail"]


def test_an_admin_sees_the_orders_of_all_users(shop: Shop) -> None:
    """The receiver is shown to the owner and to admins."""
    order = placed(shop.user(), {shop.goods(): 1}, receiver=RECEIVER)
    assert shop.admin.get("order", f"/orders/{order['order_id']}") == order
    assert cancel(shop.admin, order["order_id"]).status == 200


@pytest.mark.parametrize(("method", "tail"), ORDER_ROUTES)
@pytest.mark.parametrize("no_id", NO_IDS)
def test_what_is_no_id_is_not_found(shop: Shop, method: str, tail: str, no_id: str) -> None:
    """Every route with an order's id: 404 for what can't be one."""
    answer = shop.user().ask("order", method, f"/orders/{no_id}{tail}")
    assert (answer.status, slug(answer)) == (404, "not-found")


def test_orders_are_listed_newest_first(shop: Shop) -> None:
    """GET /orders: one's own, newest first, no other user's."""
    user, tea = shop.user(), shop.goods(stock=100)
    placed(shop.user(), {tea: 1})
    orders = [placed(user, {tea: 1}) for _ in range(3)]
    assert user.get("order", "/orders") == {"items": orders[::-1], "next_cursor": None}


def test_pages_are_stable_under_writes(shop: Shop) -> None:
    """Pages by cursor show each order once, although orders are placed between them."""
    user, tea = shop.user(), shop.goods(stock=100)
    ids = [placed(user, {tea: 1})["order_id"] for _ in range(7)][::-1]
    seen, cursor = [], None
    while True:
        page = user.get("order", "/orders", limit=3, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= 3
        seen += goods_ids(page)
        placed(user, {tea: 1})
        cancel(user, ids[-1])
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids


def test_a_full_last_page_has_no_next_one(shop: Shop) -> None:
    """A limit of the number of orders: next_cursor is null; no page is empty."""
    user, tea = shop.user(), shop.goods()
    for _ in range(2):
        placed(user, {tea: 1})
    assert user.get("order", "/orders", limit=2)["next_cursor"] is None
    assert user.get("order", "/orders", limit=1)["next_cursor"] is not None
    assert shop.user().get("order", "/orders") == {"items": [], "next_cursor": None}


def test_orders_are_filtered_by_status(shop: Shop) -> None:
    """GET /orders?status=…, with pages too."""
    user, tea = shop.user(), shop.goods()
    ids = [placed(user, {tea: 1})["order_id"] for _ in range(6)]
    for order_id in ids[:2]:
        pay(user, order_id)
    for order_id in ids[2:4]:
        cancel(user, order_id)

    def listed(status: str) -> list[str]:
        first = user.get("order", "/orders", status=status, limit=1)
        second = user.get("order", "/orders", status=status, limit=1, cursor=first["next_cursor"])
        assert second["next_cursor"] is None
        return goods_ids(first) + goods_ids(second)

    assert listed("paid") == ids[1::-1]
    assert listed("closed") == ids[3:1:-1]
    assert listed("created") == ids[:3:-1]


@pytest.mark.parametrize(
    "query",
    [
        *(f"limit={v}" for v in ("0", "101", "-1", "1.0", "x", "", "01", "1e1", "9" * 20, "%C2%B2")),
        *(f"cursor={v}" for v in ("", "x", "A" * 16, "A" * 48, "A" * 49, "%00", "MTIz")),
        *(f"status={v}" for v in ("", "open", "PAID", "paid%20")),
        "limit=1&limit=2",
        "page=1",
        "limit=%FF",
        "&".join(f"x{i}=1" for i in range(40)),
    ],
)
def test_queries_are_checked(shop: Shop, query: str) -> None:
    """GET /orders with a parameter that is wrong, unknown or repeated: 422."""
    answer = shop.user().ask("order", "GET", f"/orders?{query}")
    assert (answer.status, slug(answer)) == (422, "invalid")


def test_a_cursor_of_another_list_gives_nothing_of_another_user(shop: Shop) -> None:
    """A cursor is a position, not a right: with another's cursor one sees one's own orders."""
    user, other, tea = shop.user(), shop.user(), shop.goods()
    mine = placed(other, {tea: 1})
    for _ in range(2):
        placed(user, {tea: 1})
    cursor = user.get("order", "/orders", limit=1)["next_cursor"]
    assert goods_ids(other.get("order", "/orders", cursor=cursor)) == [mine["order_id"]]


_SHOWS_MESSAGES = pytest.mark.embedded("RocketMQ shows messages to its admin tool alone, the timeline says unknown")


def events(client: Client, order_id: str) -> list[str]:
    timeline = client.get("order", f"/orders/{order_id}/timeline")
    assert timeline["order_id"] == order_id
    times = [entry["at"] for entry in timeline["entries"] if entry["at"] is not None]
    assert times == sorted(times)
    assert all(TIME.fullmatch(at) for at in times)
    for entry in timeline["entries"]:
        assert entry.keys() == {"at", "event", "source", "known", "evidence"}
    return [entry["event"] for entry in timeline["entries"]]


@_SHOWS_MESSAGES
def test_the_timeline_of_a_paid_order(shop: Shop) -> None:
    """GET /orders/{id}/timeline: half message, delayed message, deduction, local transaction, resolution, payment."""
    user = shop.user()
    order_id = placed(user, {shop.goods(): 1})["order_id"]
    eventually(lambda: "half message resolved: rollback" in events(user, order_id))  # no answer waits for it
    pay(user, order_id)
    eventually(lambda: "payment handled" in events(user, order_id))
    said = [event.replace("'s callback", "'s answer") for event in events(user, order_id)]  # the first of them counts
    assert set(said) == {  # steps of one millisecond may stand in any order
        "order requested",
        "half message sent",
        "timeout scheduled",
        "stock deducted",
        "pay deducted",
        "local transaction committed",
        "half message resolved: rollback",
        "payment attempt",
        "provider's answer: succeeded",
        "payment event handled: paid",
        "half message resolved: commit",
        "payment handled",
        "order paid",
    }


@_SHOWS_MESSAGES
def test_the_timeline_of_a_cancelled_order(shop: Shop) -> None:
    """Closing shows its own half message, committed, and the rollback that stock handled."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    cancel(user, order_id)
    eventually(lambda: "stock released" in events(user, order_id))
    told = events(user, order_id)
    assert told.count("half message sent") == 2
    assert {"order closed", "half message resolved: commit", "half message resolved: rollback"} <= set(told)
    eventually(lambda: "rollback handled" in events(user, order_id))


def test_admins_may_sweep(shop: Shop) -> None:
    """POST /sweep says what it found; a healthy deployment has no violations."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 1})["order_id"]
    shop.assert_sound()
    assert shop.admin.post("order", "/sweep")["violations"] == []
    assert status_of(user, order_id) == "created"
    assert shop.available(tea) == 9
