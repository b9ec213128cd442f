"""The stock service's REST contract, call by call."""

import itertools
import time
from typing import Any

import pytest

from tests.e2e.shop import Shop, placed, slug

pytestmark = pytest.mark.e2e

_ids = itertools.count(time.time_ns())


def new_id() -> str:
    """Return an id that no order ever had."""
    return str(next(_ids))


def wanted(order_id: str, *items: tuple[str, int]) -> dict[str, Any]:
    return {"order_id": order_id, "items": [{"goods_id": g, "quantity": q} for g, q in items]}


def deduct(shop: Shop, *orders: dict[str, Any], tx_id: str | None = None) -> list[tuple[str, list[str]]]:
    """Deduct; return verdict and short goods of each order."""
    body = {"tx_id": tx_id or new_id(), "orders": list(orders)}
    answer = shop.service.ask("stock", "POST", "/reservations", json_body=body)
    assert answer.status == 200, answer
    decided = answer.body["orders"]
    assert [d["order_id"] for d in decided] == [o["order_id"] for o in orders]
    return [(d["verdict"], d["short"]) for d in decided]


def settle(shop: Shop, order_id: str, fate: str, tx_id: str = "1") -> str | None:
    body = {"orders": [{"order_id": order_id, "tx_id": tx_id, "fate": fate}]}
    answer = shop.service.post("stock", "/reservations/settle", body)
    state: str | None = answer["orders"][0]["state"]
    return state


def test_a_level_tells_what_there_is_and_what_is_free(shop: Shop) -> None:
    """GET /stock/{id}: a live order takes from what is available, not from the total."""
    goods_id = shop.goods(stock=7)
    placed(shop.user(), {goods_id: 3})
    answer = shop.user().ask("stock", "GET", f"/stock/{goods_id}")
    assert answer.status == 200
    assert answer.body == {"goods_id": goods_id, "total": 7, "available": 4}


def test_goods_without_stock_have_none(shop: Shop) -> None:
    """GET /stock/{id} of goods that are new: their stock starts at 0."""
    goods_id = shop.goods(stock=0)
    assert shop.user().get("stock", f"/stock/{goods_id}") == {"goods_id": goods_id, "total": 0, "available": 0}


def test_setting_the_total_keeps_what_is_reserved(shop: Shop) -> None:
    """PUT /stock/{id}: total is set, available is what no live reservation holds."""
    goods_id = shop.goods(stock=5)
    placed(shop.user(), {goods_id: 2})
    answer = shop.admin.ask("stock", "PUT", f"/stock/{goods_id}", json_body={"total": 9})
    assert answer.status == 200
    assert answer.body == {"goods_id": goods_id, "total": 9, "available": 7}
    assert shop.admin.put("stock", f"/stock/{goods_id}", {"total": 2})["available"] == 0


def test_a_total_below_what_is_reserved_is_refused(shop: Shop) -> None:
    """PUT /stock/{id} with less than live reservations hold: 409, and nothing changes."""
    goods_id = shop.goods(stock=5)
    placed(shop.user(), {goods_id: 3})
    answer = shop.admin.ask("stock", "PUT", f"/stock/{goods_id}", json_body={"total": 2})
    assert (answer.status, slug(answer)) == (409, "below-reserved")
    assert shop.admin.get("stock", f"/stock/{goods_id}") == {"goods_id": goods_id, "total": 5, "available": 2}


def test_restocking_adds(shop: Shop) -> None:
    """POST /stock/{id}/restock adds to both, also to goods that had none."""
    goods_id = shop.goods(stock=0)
    for quantity, total in ((4, 4), (6, 10)):
        answer = shop.admin.ask("stock", "POST", f"/stock/{goods_id}/restock", json_body={"quantity": quantity})
        assert answer.status == 200
        assert answer.body == {"goods_id": goods_id, "total": total, "available": total}


@pytest.mark.parametrize("total", [-1, 1.0, 1.5, "1", None, True, 10**13, 2**63, 10**30])
def test_totals_are_whole_numbers_within_limits(shop: Shop, total: Any) -> None:
    """PUT /stock/{id} takes exactly an integer from 0 on: everything else is 422 and changes nothing."""
    goods_id = shop.goods(stock=1)
    answer = shop.admin.ask("stock", "PUT", f"/stock/{goods_id}", json_body={"total": total})
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert answer.body["errors"][0]["pointer"] == "/total"
    assert shop.available(goods_id) == 1


@pytest.mark.parametrize("quantity", [0, -1, 1.0, "1", None, False, 10**13])
def test_restocked_quantities_are_positive_whole_numbers(shop: Shop, quantity: Any) -> None:
    """POST /stock/{id}/restock takes exactly an integer from 1 on."""
    goods_id = shop.goods(stock=1)
    answer = shop.admin.ask("stock", "POST", f"/stock/{goods_id}/restock", json_body={"quantity": quantity})
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert shop.available(goods_id) == 1


def test_stock_never_grows_beyond_what_numbers_hold(shop: Shop) -> None:
    """Restocking past the limit of a total is 422, not an overflow."""
    goods_id = shop.goods(stock=0)
    most = 1_000_000_000_000
    shop.admin.put("stock", f"/stock/{goods_id}", {"total": most})
    answer = shop.admin.ask("stock", "POST", f"/stock/{goods_id}/restock", json_body={"quantity": 1})
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert shop.available(goods_id) == most


def test_an_order_is_deducted_whole_or_not_at_all(shop: Shop) -> None:
    """POST /reservations: one line short, and no line is taken; short names the goods."""
    enough, short = shop.goods(stock=5), shop.goods(stock=1)
    first, second = new_id(), new_id()
    assert deduct(shop, wanted(first, (enough, 2), (short, 2)), wanted(second, (enough, 5))) == [
        ("insufficient", [short]),
        ("deducted", []),
    ]
    assert (shop.available(enough), shop.available(short)) == (0, 1)
    assert shop.service.ask("stock", "GET", f"/reservations/{first}").status == 404
    settle(shop, second, "void")


def test_a_deduction_is_done_once(shop: Shop) -> None:
    """POST /reservations again for the same order: the same answer, nothing more taken."""
    goods_id, order_id, tx_id = shop.goods(stock=5), new_id(), new_id()
    for _ in range(3):
        assert deduct(shop, wanted(order_id, (goods_id, 2)), tx_id=tx_id) == [("deducted", [])]
    assert shop.available(goods_id) == 3
    settle(shop, order_id, "void")


def test_short_orders_stay_open_for_another_try(shop: Shop) -> None:
    """An order that was short leaves no trace: asked again after a restock, it is deducted."""
    goods_id, order_id = shop.goods(stock=1), new_id()
    assert deduct(shop, wanted(order_id, (goods_id, 2))) == [("insufficient", [goods_id])]
    shop.admin.post("stock", f"/stock/{goods_id}/restock", {"quantity": 1})
    assert deduct(shop, wanted(order_id, (goods_id, 2))) == [("deducted", [])]
    settle(shop, order_id, "void")


def test_unknown_goods_are_short(shop: Shop) -> None:
    """POST /reservations for goods that stock never heard of: insufficient."""
    goods_id = new_id()
    assert deduct(shop, wanted(new_id(), (goods_id, 1))) == [("insufficient", [goods_id])]


def test_a_tombstone_refuses_a_late_deduction(shop: Shop) -> None:
    """Released before it was deducted: the deduction that comes late is `released` and takes nothing."""
    goods_id, order_id = shop.goods(stock=5), new_id()
    assert settle(shop, order_id, "void") == "released"
    assert deduct(shop, wanted(order_id, (goods_id, 2))) == [("released", [])]
    assert shop.available(goods_id) == 5
    found = shop.service.get("stock", f"/reservations/{order_id}")
    assert (found["state"], found["items"]) == ("released", [])
    assert found["released_at"] is not None


def test_a_reservation_shows_its_state_lines_and_times(shop: Shop) -> None:
    """GET /reservations/{order_id} for services and admins, before and after its release."""
    goods_id, order_id, tx_id = shop.goods(stock=5), new_id(), new_id()
    deduct(shop, wanted(order_id, (goods_id, 2)), tx_id=tx_id)
    found = shop.admin.get("stock", f"/reservations/{order_id}")
    assert found == {
        "order_id": order_id,
        "tx_id": tx_id,
        "state": "deducted",
        "verified": False,
        "items": [{"goods_id": goods_id, "quantity": 2}],
        "created_at": found["created_at"],
        "released_at": None,
    }
    assert settle(shop, order_id, "stands", tx_id) == "deducted"
    assert shop.service.get("stock", f"/reservations/{order_id}") == found | {"verified": True}
    for _ in range(2):  # released once, however often it is said
        assert settle(shop, order_id, "void", tx_id) == "released"
        assert shop.available(goods_id) == 5
    released = shop.service.get("stock", f"/reservations/{order_id}")
    assert released["state"] == "released"
    assert released["released_at"] >= released["created_at"]


def test_unverified_reservations_are_listed_until_they_are_verified(shop: Shop) -> None:
    """GET /reservations?older_than=…: live and unverified ones, lowest id first, in pages."""
    goods_id = shop.goods(stock=5)
    ids = [new_id() for _ in range(3)]
    deduct(shop, *(wanted(order_id, (goods_id, 1)) for order_id in ids))
    query = {"older_than": time.time_ns() // 1_000_000 + 1000, "after": int(ids[0]) - 1}
    seen = [r["order_id"] for r in shop.service.get("stock", "/reservations", **query, limit=2)["items"]]
    assert seen == ids[:2]
    settle(shop, ids[0], "stands")
    settle(shop, ids[1], "void")
    seen = [r["order_id"] for r in shop.service.get("stock", "/reservations", **query)["items"]]
    assert seen == ids[2:]
    assert shop.service.get("stock", "/reservations", older_than=0, after=query["after"])["items"] == []
    for order_id in ids:
        settle(shop, order_id, "void")


def test_settling_an_order_that_stock_never_saw_as_standing_changes_nothing(shop: Shop) -> None:
    """POST /reservations/settle `stands` without a reservation: its state is null."""
    assert settle(shop, new_id(), "stands") is None


_ITEM = {"goods_id": "1", "quantity": 1}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"orders": [{"order_id": "1", "items": [_ITEM]}]}, "/tx_id"),
        ({"tx_id": 1, "orders": [{"order_id": "1", "items": [_ITEM]}]}, "/tx_id"),
        ({"tx_id": "1", "orders": []}, "/orders"),
        ({"tx_id": "1", "orders": [{"order_id": "1", "items": []}]}, "/orders/0/items"),
        ({"tx_id": "1", "orders": [{"order_id": "1", "items": [_ITEM, _ITEM]}]}, "/orders/0/items"),
        ({"tx_id": "1", "orders": [{"order_id": "1", "items": [_ITEM]}] * 2}, "/orders"),
        ({"tx_id": "1", "orders": [{"order_id": "0", "items": [_ITEM]}]}, "/orders/0/order_id"),
        (
            {"tx_id": "1", "orders": [{"order_id": "1", "items": [_ITEM | {"quantity": 1000}]}]},
            "/orders/0/items/0/quantity",
        ),
        ({"tx_id": "1", "orders": [{"order_id": "1", "items": [_ITEM], "x": 1}]}, "/orders/0/x"),
    ],
)
def test_deductions_are_checked(shop: Shop, body: Any, pointer: str) -> None:
    """POST /reservations refuses what breaks a rule, and points at it."""
    answer = shop.service.ask("stock", "POST", "/reservations", json_body=body)
    assert (answer.status, slug(answer)) == (422, "invalid")
    assert answer.body["errors"][0]["pointer"] == pointer
