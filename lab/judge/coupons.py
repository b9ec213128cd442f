"""Coupons: uses = free + held by open orders + used by paid ones, and a user has no more of them than may be."""

from collections import Counter
from collections.abc import KeysView

from lab.judge.databases import UNTOLD, Ask, Rows
from lab.judge.invariant import Invariant, Lines

_DUE = """
SELECT order_id, user_id, status, coupon_id FROM orders WHERE coupon_id IS NOT NULL AND status IN ('created', 'paid')
"""
_DISAGREE, _HEADER = "orders and coupons that disagree", "headers and uses that disagree"
_COUNTS, _USERS, _MOST = "counts of coupons", "counts of users", "too many for one user"

_Use = tuple[int, str, str]
"""Coupon, user, `held` or `used`."""


def coupons(orders: Ask, coupon: Ask, most: int | None) -> Invariant:
    """Compare orders with the uses of coupons, and uses with what is counted. All of it is held in memory.

    The use of a paid order may still be held where the order service has written down that it has to tell so.
    """
    due: dict[int, _Use] = {
        order_id: (coupon_id, user, "used" if status == "paid" else "held")
        for order_id, user, status, coupon_id in orders(_DUE)
    }
    known = list(coupon("SELECT coupon_id, uses, held, used, uses_per_user FROM coupons"))
    states: dict[int, str] = dict(coupon("SELECT order_id, state FROM reservations"))
    uses = {row[0]: row[1:] for row in coupon("SELECT order_id, coupon_id, user_id, state FROM coupon_uses")}
    taken: dict[str, int] = dict(coupon("SELECT coupon_user, taken FROM coupon_users"))
    live: dict[int, _Use] = {order_id: (use[0], use[1], use[2]) for order_id, use in uses.items() if use[2] != "free"}
    lines = Lines(most)
    untold = {row[0] for row in orders(UNTOLD.format(participant="coupon"))}
    told = {o: (*use[:2], "used") if o in untold and use[2] == "held" else use for o, use in live.items()}
    _of_orders(due, told, lines)
    _of_headers(states, live, uses.keys(), lines)
    _counts(known, Counter((coupon_id, state) for coupon_id, _, state in live.values()), lines)
    _of_users(taken, Counter((coupon_id, user) for coupon_id, user, _ in live.values()), known, lines)
    held = sum(state == "held" for _, _, state in live.values())
    figures = {
        "coupons": len(known),
        "held": held,
        "used": len(live) - held,
        "coupons out of balance": lines.count(_HEADER, _COUNTS, _USERS, _MOST),
        "orders and coupons that disagree": lines.count(_DISAGREE),
    }
    return Invariant("uses = free + held by open orders + used by paid ones", figures, lines.broken)


def _of_orders(due: dict[int, _Use], live: dict[int, _Use], lines: Lines) -> None:
    for order_id in sorted(due.keys() | live.keys()):
        if due.get(order_id) != live.get(order_id):
            there = live.get(order_id, "none")
            lines.add(_DISAGREE, f"order {order_id}: {due.get(order_id, 'no coupon')} is due, {there} is there")


def _of_headers(states: dict[int, str], live: dict[int, _Use], known: KeysView[int], lines: Lines) -> None:
    for order_id, state in states.items():
        if (state == "deducted") != (order_id in live):
            lines.add(_HEADER, f"coupon reservation {order_id}: {state}, its use is {live.get(order_id, 'free')}")
    for order_id in known - states.keys():
        lines.add(_HEADER, f"coupon reservation {order_id}: a use without a header")


def _counts(coupons: Rows, are: Counter[tuple[int, str]], lines: Lines) -> None:
    for coupon_id, uses, held, used, _ in coupons:
        found = (are[coupon_id, "held"], are[coupon_id, "used"])
        if (held, used) != found or held + used > uses:
            lines.add(_COUNTS, f"coupon {coupon_id}: {uses} uses, held {held} and used {used} counted, {found} are")


def _of_users(taken: dict[str, int], are: Counter[tuple[int, str]], coupons: Rows, lines: Lines) -> None:
    found = {f"{coupon_id} {user}": number for (coupon_id, user), number in are.items()}
    for key in sorted(taken.keys() | found.keys()):
        if taken.get(key, 0) != found.get(key, 0):
            lines.add(_USERS, f"coupon and user {key}: {taken.get(key, 0)} counted, {found.get(key, 0)} are")
    most = {row[0]: row[4] for row in coupons}
    for (coupon_id, user), number in are.items():
        if number > most.get(coupon_id, 0):
            lines.add(_MOST, f"coupon {coupon_id}: {user} has {number} uses, and may have {most.get(coupon_id, 0)}")
