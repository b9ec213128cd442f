"""Whose order it is: every route with an order's id, as the document lists them, tried user by user."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest

from common.registry import NAMES, PARTICIPANTS
from ops.client import Answer, Client
from tests.e2e.shop import Shop, pay, place, placed, slug

pytestmark = pytest.mark.e2e

METHODS = ("get", "put", "post", "patch", "delete")
OF_EVERYBODY = {  # routes with an id of what belongs to no user
    ("order", "/order-requests/{request_id}"),  # one's own: see test_order_requests.py
    ("order", "/admin/sagas/{run_id}"),  # for admins alone
    ("order", "/admin/sagas/{run_id}/retry"),
    ("order", "/admin/sagas/{run_id}/give-up"),
    ("order", "/admin/sagas/{run_id}/skip"),
    ("order", "/admin/records/{tx_id}/check"),
    ("stock", "/stock/{goods_id}"),
    ("stock", "/stock/{goods_id}/restock"),
    ("stock", "/stock/{goods_id}/withdraw"),  # for admins alone
    ("stock", "/internal/allotments/{sale_id}"),  # for services alone
    ("goods", "/goods/{goods_id}"),
    ("goods", "/rooms/{room_id}/goods"),
    ("coupon", "/coupons/{coupon_id}"),  # of everybody, or one's own: see test_contract_coupon.py
    ("coupon", "/coupons/by-code/{code}"),
    ("coupon", "/coupons/{coupon_id}/withdraw"),  # for admins alone
    ("pay", "/payments/{payment_id}/attempts"),  # for services alone
    ("pay", "/payments/{payment_id}/refund"),  # for admins alone
    ("pay", "/admin/records/{tx_id}/check"),
    ("pay", "/callbacks/{provider}"),  # for who can sign
    ("flash", "/flash-sales/{sale_id}"),
    ("flash", "/flash-sales/{sale_id}/close"),  # for admins alone
    ("flash", "/flash-sales/{sale_id}/orders"),  # what is bought there is an order request: see test_flash_sales.py
    ("flash", "/flash-sales/{sale_id}/tickets"),  # each user's own: see test_flash_queue.py
    ("flash", "/internal/purchases/{purchase_id}"),  # for services alone
    ("flash", "/admin/purchases/{purchase_id}"),  # for admins alone
    ("flash", "/admin/sales/{sale_id}"),  # for admins alone
    *((name, "/reservations/{order_id}") for name in PARTICIPANTS),  # for services and admins alone
    ("sandbox", "/sessions/{reference}"),  # the provider's, which knows no users
    ("sandbox", "/sessions/{reference}/close"),
    ("sandbox", "/charges/{charge_id}/refunds"),
}
_RETURN_PATH, _RETURN = "/orders/{order_id}/return", {"reason": "too small"}
_OF_AN_ORDER = ("/orders/{order_id}", "/payments/{payment_id}")
"""Routes with an order's id; a payment has its order's."""


def filled(path: str, order_id: str) -> str:
    """Return the path about one order."""
    return path.replace("{order_id}", order_id).replace("{payment_id}", order_id)


def routes(shop: Shop) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield service, method, path and operation of every route with an id that is documented."""
    for service in NAMES:
        document = shop.raw(service, "GET", "/openapi.json").json
        for path, item in document["paths"].items():
            for method in METHODS:
                if method in item and "{" in path:
                    yield service, method.upper(), path, item[method]


def own_routes(shop: Shop) -> list[tuple[str, str, str]]:
    """Return the routes with the id of something that is one user's; a new one is among them by itself."""
    found = [(s, method, path) for s, method, path, _ in routes(shop) if (s, path) not in OF_EVERYBODY]
    assert len(found) >= 4, "the document lists less than it did"
    return found


def test_users_see_their_own_orders_and_no_others(shop: Shop) -> None:
    """Three users, each against each one's order, on every route: one's own works, another's is a 404 like any."""
    tea = shop.goods(stock=1000)
    users = [shop.user() for _ in range(3)]
    for (service, method, path), (who, of) in itertools.product(
        own_routes(shop), itertools.product(range(3), repeat=2)
    ):
        assert path.startswith(_OF_AN_ORDER), f"{path}: make something for it here, as orders are made"
        order = _order_for(users[of], tea, method, path)
        body = _RETURN if (method, path) == ("POST", _RETURN_PATH) else None
        answer = users[who].ask(service, method, filled(path, order["order_id"]), json_body=body)
        if who == of:
            assert answer.status == (200 if body is None else 202), (method, path)
        else:
            nothing = users[who].ask(service, method, filled(path, "1"), json_body=body)
            assert (answer.status, slug(answer)) == (404, "not-found"), (method, path)
            assert _without_place(answer) == _without_place(nothing)
            assert users[of].get("order", f"/orders/{order['order_id']}")["status"] == order["status"]


def _order_for(user: Client, goods_id: str, method: str, path: str) -> dict[str, Any]:
    """Return an order that a route can be tried on: a return is of a paid one, and shown once it was begun."""
    order_id = placed(user, {goods_id: 1})["order_id"]
    if path == _RETURN_PATH:
        assert pay(user, order_id).status == 200
        if method == "GET":
            user.post("order", filled(path, order_id), _RETURN)
    order: dict[str, Any] = user.get("order", f"/orders/{order_id}")
    return order


def _without_place(answer: Answer) -> dict[str, Any]:
    return {k: v for k, v in answer.body.items() if k not in {"instance", "request_id"}}


def test_no_scope_but_admin_is_above_ownership(shop: Shop) -> None:
    """A token with `orders` and `service` sees no more than one with `orders`."""
    order = placed(shop.user(), {shop.goods(): 1})
    both = shop.user(scopes=("orders", "service"))
    for service, method, path in own_routes(shop):
        body = _RETURN if (method, path) == ("POST", _RETURN_PATH) else None
        assert both.ask(service, method, filled(path, order["order_id"]), json_body=body).status == 404


def test_a_service_is_no_user(shop: Shop) -> None:
    """The token that services call each other with: 403 for placing and for whatever is an order's."""
    tea, owner = shop.goods(), shop.user()
    order = placed(owner, {tea: 1})
    for name in ("order", owner_name(shop, order)):
        service: Client = shop.user(name, scopes=("service",))
        assert refused(place(service, {tea: 1}))
        assert refused(service.ask("order", "GET", "/orders"))
        for of, method, path in own_routes(shop):
            if of == "pay":  # which the order service asks in its own name
                continue
            assert refused(service.ask(of, method, filled(path, order["order_id"])))
    assert owner.get("order", f"/orders/{order['order_id']}")["status"] == "created"


def test_payments_of_all_users_are_for_admins(shop: Shop) -> None:
    """`GET /payments` is one call of two sorts: a user's of an order of theirs, and the list, which tells of others."""
    owner = shop.user()
    order = placed(owner, {shop.goods(): 1})
    assert pay(owner, order["order_id"]).status == 200
    for path in ("/payments", "/payments?status=succeeded", "/payments?limit=1"):
        assert refused(owner.ask("pay", "GET", path))
        assert refused(shop.user(scopes=("orders", "service")).ask("pay", "GET", path))
        assert refused(shop.user(scopes=("service",)).ask("pay", "GET", path))
        assert order["order_id"] in {one["order_id"] for one in shop.admin.get("pay", path)["items"]}


FOR_CUSTOMERS = {"/callbacks/{provider}", "/flash-sales/{sale_id}/orders", "/flash-sales/{sale_id}/tickets"}
"""Calls for customers, and for who can sign."""


def owner_name(shop: Shop, order: dict[str, Any]) -> str:
    """Return the name of the user whose order it is."""
    name: str = shop.admin.get("order", f"/orders/{order['order_id']}")["user_id"]
    return name


def refused(answer: Answer) -> bool:
    return (answer.status, slug(answer)) == (403, "forbidden")


def test_customers_may_not_look_behind_the_counter(shop: Shop) -> None:
    """What is no user's and can change something, or tells of other users' orders, is not for customers."""
    order = placed(shop.user(), {shop.goods(): 1})
    customer = shop.user()
    for service, method, path, operation in routes(shop):
        if (service, path) in OF_EVERYBODY and (method != "GET" or "reservations" in path):
            if path in FOR_CUSTOMERS:
                continue
            scopes = {scope for way in operation["security"] for scope in way["token"]}
            assert scopes
            assert "orders" not in scopes
            body = {} if "requestBody" in operation else None
            place = re.sub(r"\{[a-z_]+\}", "1", filled(path, order["order_id"]))
            assert refused(customer.ask(service, method, place, json_body=body)), (method, path)
