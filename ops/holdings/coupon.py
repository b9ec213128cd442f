"""Coupons: each order's use, and how many uses of each there are."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Row, func, select

from coupon.model import coupon_users, coupon_uses, coupons
from halfmessage.participant.model import UseState, use_of
from ops.findings import BY_HAND, Finding, Gravity, by_age, wrong
from ops.holdings.holdings import Holdings
from ops.ledgers import OrderRow
from order.model import Status


class CouponHoldings(Holdings):
    """Uses of coupons."""

    def numbers(self) -> tuple[dict[str, int], list[Finding]]:
        """Look at each coupon, and each user of one: what is counted is what is held and used; one snapshot."""
        live = coupon_uses.c.state != UseState.FREE.value
        by_state = select(coupon_uses.c.coupon_id, coupon_uses.c.state, func.count())
        by_user = select(coupon_uses.c.coupon_id, coupon_uses.c.user_id, func.count())
        counted = select(coupons.c.coupon_id, coupons.c.uses, coupons.c.held, coupons.c.used)
        with self.database.read(snapshot=True) as connection:
            uses = Counter({
                (coupon_id, state): number
                for coupon_id, state, number in connection.execute(
                    by_state.group_by(coupon_uses.c.coupon_id, coupon_uses.c.state)
                )
            })  # fmt: skip
            users = Counter({
                use_of(coupon_id, user_id): number
                for coupon_id, user_id, number in connection.execute(
                    by_user.where(live).group_by(coupon_uses.c.coupon_id, coupon_uses.c.user_id)
                )
            })  # fmt: skip
            rows = connection.execute(counted).all()
            taken = Counter(dict(connection.execute(select(coupon_users.c.coupon_user, coupon_users.c.taken)).all()))
        found = [
            _miscounted(row.coupon_id, (row.held, row.used), (uses[row.coupon_id, "held"], uses[row.coupon_id, "used"]))
            for row in rows
            if (row.held, row.used) != (uses[row.coupon_id, "held"], uses[row.coupon_id, "used"])
            or row.held + row.used > row.uses
        ]
        miscounted = sorted(key for key in users.keys() | taken.keys() if users[key] != taken[key])
        found += [_user_miscounted(key, taken[key], users[key]) for key in miscounted]
        return {"coupons": len(rows)}, found

    def details(self, order_ids: Collection[int]) -> Mapping[int, Row[Any]]:
        """Return the uses."""
        query = select(coupon_uses).where(coupon_uses.c.order_id.in_(order_ids))
        with self.database.read() as connection:
            return {row.order_id: row for row in connection.execute(query)}

    def differences(self, order_id: str, order: OrderRow, detail: Any) -> Iterator[Finding]:
        """Compare the coupon, and whether its use is held or used up, with the order."""
        if detail is None or detail.coupon_id != order.coupon_id:
            yield wrong("order", order_id, f"the order is {order.status}, but another coupon is held", BY_HAND)
        elif order.status is Status.CREATED and detail.state == UseState.USED:
            yield wrong("order", order_id, "the order is created, but its coupon is used up", BY_HAND)
        elif order.status is Status.PAID and detail.state == UseState.HELD:
            what = "the order is paid, but its coupon is not used up"
            within = self.limits.confirm_within
            yield by_age(Gravity.UNRESOLVED, "order", order_id, what, order.paid_at or 0, within)


def _miscounted(coupon_id: int, counted: tuple[int, int], are: tuple[int, int]) -> Finding:
    what = f"the coupon does not add up: held {counted[0]}, used {counted[1]} counted; {are[0]} and {are[1]} are"
    sql = f"UPDATE coupons SET held = {are[0]}, used = {are[1]} WHERE coupon_id = {coupon_id}"  # noqa: S608 # nosec B608 - shown, never executed
    return wrong("coupon", str(coupon_id), what, f"stop coupon; {sql}")


def _user_miscounted(key: str, counted: int, are: int) -> Finding:
    coupon_id, user_id = key.split(" ", 1)
    what = f"a user's uses do not add up: {counted} counted for {user_id}; {are} are"
    remedy = f"stop coupon; set taken = {are} of {key!r} in coupon_users"
    return wrong("coupon", coupon_id, what, remedy)
