"""Checks coupons of a deployment at rest from outside: plain SQL on its databases, no code of the services."""

from collections import Counter
from collections.abc import Iterator

from lab.drill.rows import read
from ops.deployment import Deployment


def disagreements(deployment: Deployment) -> list[str]:
    """Return every broken promise about coupons, in words; none where the deployment has no coupons."""
    if "coupon" not in deployment.plan.services:
        return []
    (orders,) = read(deployment.database_url("order"), "SELECT order_id, user_id, status, coupon_id FROM orders")
    coupons, headers, uses, users = read(
        deployment.database_url("coupon"),
        "SELECT coupon_id, uses, held, used, uses_per_user FROM coupons",
        "SELECT order_id, state FROM reservations",
        "SELECT order_id, coupon_id, user_id, state FROM coupon_uses",
        "SELECT coupon_user, taken FROM coupon_users",
    )
    states: dict[int, str] = dict(headers)
    live = {order_id: (coupon_id, user, state) for order_id, coupon_id, user, state in uses if state != "free"}
    due = {
        order_id: (coupon_id, user, "used" if status == "paid" else "held")
        for order_id, user, status, coupon_id in orders
        if coupon_id is not None and status != "closed"
    }
    return [
        *_of_orders(due, live),
        *_of_headers(states, live, {row[0] for row in uses}),
        *_counts(coupons, Counter((coupon_id, state) for coupon_id, _, state in live.values())),
        *_of_users(dict(users), Counter((coupon_id, user) for coupon_id, user, _ in live.values()), coupons),
    ]


_Use = tuple[int, str, str]
"""Coupon, user, `held` or `used`."""


def _of_orders(due: dict[int, _Use], live: dict[int, _Use]) -> Iterator[str]:
    for order_id in sorted(due.keys() | live.keys()):
        if due.get(order_id) != live.get(order_id):
            yield f"order {order_id}: {due.get(order_id, 'no coupon')} is due, {live.get(order_id, 'none')} is there"


def _of_headers(states: dict[int, str], live: dict[int, _Use], known: set[int]) -> Iterator[str]:
    for order_id, state in states.items():
        if (state == "deducted") != (order_id in live):
            yield f"coupon reservation {order_id}: {state}, its use is {live.get(order_id, 'free')}"
    yield from (f"coupon reservation {order_id}: a use without a header" for order_id in known - states.keys())


def _counts(coupons: list[tuple[int, int, int, int, int]], are: Counter[tuple[int, str]]) -> Iterator[str]:
    for coupon_id, uses, held, used, _ in coupons:
        found = (are[coupon_id, "held"], are[coupon_id, "used"])
        if (held, used) != found or held + used > uses:
            yield f"coupon {coupon_id}: {uses} uses, held {held} and used {used} counted, {found} are"


def _of_users(
    taken: dict[str, int], are: Counter[tuple[int, str]], coupons: list[tuple[int, int, int, int, int]]
) -> Iterator[str]:
    found = {f"{coupon_id} {user}": number for (coupon_id, user), number in are.items()}
    for key in sorted(taken.keys() | found.keys()):
        if taken.get(key, 0) != found.get(key, 0):
            yield f"coupon and user {key}: {taken.get(key, 0)} counted, {found.get(key, 0)} are"
    most = {row[0]: row[4] for row in coupons}
    for (coupon_id, user), number in are.items():
        if number > most.get(coupon_id, 0):
            yield f"coupon {coupon_id}: {user} has {number} uses, and may have {most.get(coupon_id, 0)}"
