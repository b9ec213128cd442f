"""What must be true of coupons, at every look and once it is quiet."""

from collections import Counter
from collections.abc import Iterator

from lab.drill.nemesis.case import CONFLICT, OK, PLACING, Case
from lab.drill.nemesis.history import Count, Entry, Use

_USES_OF = {"created": {"held"}, "paid": {"used"}, "closed": set(), "returned": set()}
"""The states of the use that an order has, by its own."""


def coupons_possible(case: Case) -> Iterator[str]:
    """At every look uses = free + held + used, none of them below 0, and the uses are those that it was made with."""
    for entry in case.history:
        if entry.op == "coupon" and entry.status == OK:
            yield from _impossible(case, entry.body)


def _impossible(case: Case, shown: dict[str, object]) -> Iterator[str]:
    made = case.final.coupons[str(shown["coupon_id"])]
    parts = [int(str(shown[name])) for name in ("free", "held", "used")]
    if shown["uses"] != made.uses or sum(parts) != made.uses or min(parts) < 0:
        yield f"coupon {shown['coupon_id']} was made with {made.uses} uses, and shown with {shown}"


def coupons_counted(case: Case) -> Iterator[str]:
    """In the end REST counts the uses that there are; no user has more than may be, nor have all together."""
    states = Counter((use.coupon_id, use.state) for use in case.final.uses)
    users = Counter((use.coupon_id, use.user) for use in case.final.uses if use.state != "free")
    for coupon_id, made in case.final.coupons.items():
        held, used = states[coupon_id, "held"], states[coupon_id, "used"]
        if case.final.counted[coupon_id] != Count(made.uses - held - used, held, used) or held + used > made.uses:
            counted = case.final.counted[coupon_id]
            yield f"coupon {coupon_id}, {made.uses} uses: {counted} counted, {held} are held and {used} used"
    for (coupon_id, user), number in users.items():
        if number > case.final.coupons[coupon_id].uses_per_user:
            yield f"coupon {coupon_id}: {user} has {number} uses"


def coupon_held_once(case: Case) -> Iterator[str]:
    """Orders with a coupon hold one use of it, their user's; paid, they have used it up; closed, they have none."""
    live = {use.order_id: use for use in case.final.uses if use.state != "free"}
    for order_id, order in case.orders.items():
        states = _USES_OF[order["status"]] if order["coupon_id"] else set()
        if order_id in case.final.untold:
            states = states | {"held"}
        due: set[Use | None] = {Use(order_id, order["coupon_id"], order["user_id"], state) for state in states}
        use = live.get(order_id)
        if use not in (due or {None}):
            yield f"order {order_id} is {order['status']} with coupon {order['coupon_id']}, and holds {use}"
    for order_id in live.keys() - case.orders.keys():
        yield f"order {order_id} does not exist, but holds {live[order_id]}"


def refused_truly(case: Case) -> Iterator[str]:
    """`coupon-not-usable` says `used`, and only where as many had asked for the coupon by then as may have it."""
    for entry in case.history:
        if (entry.status, entry.slug) != (CONFLICT, "coupon-not-usable"):
            continue
        coupon_id = str((entry.sent or {}).get("coupon_id"))
        made = case.final.coupons.get(coupon_id)
        if made is None or entry.body.get("reason") != "used":
            yield f"{entry.label} of {entry.user} was refused its coupon: {entry.body}"
            continue
        others = [other for other in case.history if _may_hold(other, entry, coupon_id)]
        if len(others) < made.uses and sum(o.user == entry.user for o in others) < made.uses_per_user:
            yield f"{entry.label} of {entry.user} was told that coupon {coupon_id} is used up, which it can't have been"


def _may_hold(other: Entry, entry: Entry, coupon_id: str) -> bool:
    """Whether another attempt was made before this answer came, and wanted the same coupon."""
    same = other.op in PLACING and (other.sent or {}).get("coupon_id") == coupon_id
    return same and other is not entry and other.invoked < (entry.answered or 0.0)


RULES = (coupons_possible, coupons_counted, coupon_held_once, refused_truly)
