"""Compares coupons with orders: what is held and used, by which orders, and whether it adds up. It never writes."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from common import schema_version
from common.db import Database
from coupon.model import UseState, coupon_user, coupon_users, coupon_uses, coupons, reservations
from ops.findings import BY_HAND, Finding, Gravity, by_age, wrong
from ops.ledgers import pages
from order.model import Status, orders

_LIVE = reservations.c.state == "deducted"
_USES = select(coupon_uses, reservations.c.created_at).join(
    reservations, reservations.c.order_id == coupon_uses.c.order_id
)
_ORDERS = select(orders.c.order_id, orders.c.status, orders.c.coupon_id, orders.c.paid_at, orders.c.closed_at)


@dataclass(frozen=True, slots=True)
class _Order:
    status: Status
    coupon_id: int | None
    paid_at: int | None
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class _Use:
    coupon_id: int
    state: UseState
    created_at: int


class Coupons:
    """The coupon database of a deployment beside that of its orders."""

    def __init__(self, order_url: str, coupon_url: str, *, grace: float, confirm_within: float) -> None:
        """Open both for reading. Seconds: how old what is on its way may get, and a payment until it is confirmed.

        Raise `SchemaMismatch` where they are another release's.
        """
        self._orders, self._coupons = Database(order_url, pool_size=1), Database(coupon_url, pool_size=1)
        self._grace, self._confirm_within = grace, confirm_within
        schema_version.require("order", self._orders)
        schema_version.require("coupon", self._coupons)

    def close(self) -> None:
        """Close both."""
        self._orders.close()
        self._coupons.close()

    def live_ids(self) -> Iterator[Sequence[int]]:
        """Yield the ids of all orders that hold or have used a coupon, page by page."""
        return pages(self._coupons, select(reservations.c.order_id).where(_LIVE), reservations.c.order_id)

    def counts(self) -> tuple[int, list[Finding]]:
        """Return how many coupons there are, and those whose counts are not those of their uses; one snapshot."""
        live = coupon_uses.c.state != UseState.FREE.value
        by_state = select(coupon_uses.c.coupon_id, coupon_uses.c.state, func.count())
        by_user = select(coupon_uses.c.coupon_id, coupon_uses.c.user_id, func.count())
        counted = select(coupons.c.coupon_id, coupons.c.uses, coupons.c.held, coupons.c.used)
        with self._coupons.read(snapshot=True) as connection:
            uses = Counter({
                (coupon_id, state): number
                for coupon_id, state, number in connection.execute(
                    by_state.group_by(coupon_uses.c.coupon_id, coupon_uses.c.state)
                )
            })  # fmt: skip
            users = Counter({
                coupon_user(coupon_id, user_id): number
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
        wrong = sorted(key for key in users.keys() | taken.keys() if users[key] != taken[key])
        return len(rows), found + [_user_miscounted(key, taken[key], users[key]) for key in wrong]

    def judge(self, order_ids: Collection[int]) -> list[Finding]:
        """Return what is wrong with these orders and their coupons."""
        with self._orders.read() as connection:
            rows = connection.execute(_ORDERS.where(orders.c.order_id.in_(order_ids)))
            known = {row.order_id: _Order(Status(row.status), *row[2:]) for row in rows}
        with self._coupons.read() as connection:
            rows = connection.execute(_USES.where(_LIVE & coupon_uses.c.order_id.in_(order_ids)))
            uses = {row.order_id: _Use(row.coupon_id, UseState(row.state), row.created_at) for row in rows}
        return [
            finding
            for order_id in order_ids
            for finding in self._judge(str(order_id), known.get(order_id), uses.get(order_id))
        ]

    def _judge(self, order_id: str, order: _Order | None, use: _Use | None) -> Iterator[Finding]:
        if use is None:
            if order is not None and order.coupon_id is not None and order.status is not Status.CLOSED:
                yield wrong("order", order_id, f"the order is {order.status}, but its coupon is not held")
        elif order is None:
            what = "a coupon is held for an order that does not exist"
            yield by_age(Gravity.DISAGREEMENT, "order", order_id, what, use.created_at, self._grace)
        elif order.status is Status.CLOSED:
            what = "the order is closed, but its coupon is still held"
            yield by_age(Gravity.DISAGREEMENT, "order", order_id, what, order.closed_at or 0, self._grace)
        elif order.coupon_id != use.coupon_id:
            yield wrong("order", order_id, f"the order is {order.status}, but another coupon is held", BY_HAND)
        elif order.status is Status.CREATED and use.state is UseState.USED:
            yield wrong("order", order_id, "the order is created, but its coupon is used up", BY_HAND)
        elif order.status is Status.PAID and use.state is UseState.HELD:
            what = "the order is paid, but its coupon is not used up"
            yield by_age(Gravity.UNRESOLVED, "order", order_id, what, order.paid_at or 0, self._confirm_within)


def _miscounted(coupon_id: int, counted: tuple[int, int], are: tuple[int, int]) -> Finding:
    what = f"the coupon does not add up: held {counted[0]}, used {counted[1]} counted; {are[0]} and {are[1]} are"
    sql = f"UPDATE coupons SET held = {are[0]}, used = {are[1]} WHERE coupon_id = {coupon_id}"  # noqa: S608 # nosec B608 - shown, never executed
    return wrong("coupon", str(coupon_id), what, f"stop coupon; {sql}")


def _user_miscounted(key: str, counted: int, are: int) -> Finding:
    coupon_id, user_id = key.split(" ", 1)
    what = f"a user's uses do not add up: {counted} counted for {user_id}; {are} are"
    remedy = f"stop coupon; set taken = {are} of {key!r} in coupon_users"
    return wrong("coupon", coupon_id, what, remedy)
