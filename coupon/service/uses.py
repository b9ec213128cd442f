"""What the reservations of coupons hold: a use of one coupon each.

A coupon's row is the lock of all that is counted about it: a change of a count holds it, taken in the order of ids.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from common.db import Database
from coupon.model import UseState, coupon_user, coupon_users, coupon_uses, coupons, reservations
from halfmessage.chunks import VALUES, chunks, rows_in
from halfmessage.clock import now_ms
from halfmessage.participant.counts import Counts
from halfmessage.participant.effect import Direct, Members, Refusal
from halfmessage.participant.reservations import Reservations

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
_COUPONS = Counts(coupons.c.coupon_id, "held", "used")
_USERS = Counts(coupon_users.c.coupon_user, "taken")
_TAKEN = select(coupon_users.c.coupon_user, coupon_users.c.taken).where(
    coupon_users.c.coupon_user.in_(bindparam("keys", expanding=True))
)
_OF_ORDERS = coupon_uses.c.order_id.in_(bindparam("order_ids", expanding=True))
_USES = select(coupon_uses).where(_OF_ORDERS)
_MOVE = update(coupon_uses).where(_OF_ORDERS).values(state=bindparam("to"))

REFUSED: Final = "refused"
CHANGED: Final = "changed"


@dataclass(frozen=True, slots=True)
class Want:
    """The coupon that an order is to use; `version`: of its rules, when the order was priced."""

    coupon_id: int
    user_id: str
    goods_amount: int
    currency: str
    version: int

    @property
    def user(self) -> str:
        """Whose use of which coupon is counted."""
        return coupon_user(self.coupon_id, self.user_id)


class Uses(Direct[Want]):
    """Takes a use of a coupon, gives it back, or lets it be used up."""

    held = coupon_uses

    def begin(self, connection: Connection, wants: Mapping[int, Want]) -> None:
        """Lock their coupons, in one order for everybody."""
        _COUPONS.lock(connection, {want.coupon_id for want in wants.values()})

    def take(self, connection: Connection, order_id: int, want: Want) -> Refusal | None:
        """Take one."""
        return self.take_all(connection, {order_id: want}).get(order_id)

    def take_all(self, connection: Connection, wants: Mapping[int, Want]) -> dict[int, Refusal]:
        """Look at all under their locks; decide; take with few statements."""
        rules = _COUPONS.lock(connection, {want.coupon_id for want in wants.values()})
        known = dict(rows_in(connection, _TAKEN, "keys", sorted({want.user for want in wants.values()})))
        taken, more = Counter(known), Counter[int]()
        refused: dict[int, Refusal] = {}
        now = now_ms()
        for order_id, want in wants.items():
            refusal = _refusal(rules.get(want.coupon_id), want, now, more[want.coupon_id], taken[want.user])
            if refusal is not None:
                refused[order_id] = refusal
                continue
            more[want.coupon_id] += 1
            taken[want.user] += 1
        _write(connection, {order_id: want for order_id, want in wants.items() if order_id not in refused}, known)
        return refused

    def unfit(self, want: Want) -> Refusal:  # noqa: ARG002 - whatever it wants
        """Return that no use is left: the counts are wrong already."""
        return Refusal(REFUSED, {"reason": "used"})

    def give_back(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Free their uses, used ones too: the order service alone knows whether an order stands."""
        rows = _locked_uses(connection, order_ids, {UseState.HELD, UseState.USED})
        _count(connection, (row.coupon_id for row in rows if row.state == UseState.HELD), held=-1)
        _count(connection, (row.coupon_id for row in rows if row.state == UseState.USED), used=-1)
        users = Counter(coupon_user(row.coupon_id, row.user_id) for row in rows)
        _USERS.add(connection, {user: (-uses,) for user, uses in users.items()})
        _move(connection, rows, UseState.FREE)

    def paid(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Move what they hold to used; again: nothing."""
        rows = _locked_uses(connection, order_ids, {UseState.HELD})
        _count(connection, (row.coupon_id for row in rows), held=-1, used=1)
        _move(connection, rows, UseState.USED)

    def describe(self, connection: Connection, order_id: int) -> Members:
        """Return the coupon, and whether it is used up: the order is paid."""
        row = connection.execute(_USES, {"order_ids": [order_id]}).first()
        return {} if row is None else {"coupon_id": row.coupon_id, "used": row.state == UseState.USED}


def coupon_reservations(database: Database) -> Reservations[Want]:
    """Return the coupon service's reservations."""
    return Reservations("coupon", database, reservations, Uses())


def _refusal(rule: Row[Any] | None, want: Want, now: int, more: int, taken: int) -> Refusal | None:
    """Return why an order gets no use; `changed` where it was priced by another rule than is in force now.

    `now` in ms; so many uses `more` are taken than the rule's row counts, and so many are `taken` by this user.
    """
    if rule is None or rule.user_id not in {None, want.user_id} or rule.version != want.version:
        return Refusal(CHANGED)
    if rule.ends_at is not None and rule.ends_at <= now:
        return Refusal(CHANGED, {"reason": "expired"})
    reasons = {
        "withdrawn": rule.withdrawn,
        "not-started": rule.starts_at is not None and rule.starts_at > now,
        "other-currency": rule.currency not in {None, want.currency},
        "below-minimum": want.goods_amount < rule.minimum_amount,
        "used": rule.held + rule.used + more >= rule.uses or taken >= rule.uses_per_user,
    }
    reason = next((reason for reason, breaks in reasons.items() if breaks), None)
    return None if reason is None else Refusal(REFUSED, {"reason": reason})


def _write(connection: Connection, wants: Mapping[int, Want], known: Mapping[str, int]) -> None:
    """Count and note the uses of orders (order id → want); `known`: the users that have a count already."""
    if not wants:
        return
    _count(connection, (want.coupon_id for want in wants.values()), held=1)
    users = Counter(want.user for want in wants.values())
    new = [{"coupon_user": user, "taken": uses} for user, uses in users.items() if user not in known]
    if new:
        connection.execute(insert(coupon_users), new)
    _USERS.add(connection, {user: (uses,) for user, uses in users.items() if user in known})
    rows = [
        {"order_id": order_id, "coupon_id": want.coupon_id, "user_id": want.user_id, "state": UseState.HELD.value}
        for order_id, want in wants.items()
    ]
    connection.execute(insert(coupon_uses), rows)


def _locked_uses(connection: Connection, order_ids: Collection[int], states: Collection[UseState]) -> list[Row[Any]]:
    """Return those of the orders' uses that are in one of the states, their coupons locked; their headers are."""
    rows = [row for row in rows_in(connection, _USES, "order_ids", order_ids) if row.state in states]
    _COUPONS.lock(connection, {row.coupon_id for row in rows})
    return rows


def _move(connection: Connection, rows: Collection[Row[Any]], state: UseState) -> None:
    for part in chunks((row.order_id for row in rows), VALUES):
        connection.execute(_MOVE, {"order_ids": part, "to": state.value})


def _count(connection: Connection, coupon_ids: Iterable[int], *, held: int = 0, used: int = 0) -> None:
    """Add to what coupons count: `held` and `used`, as often as a coupon is named."""
    times = Counter(coupon_ids)
    _COUPONS.add(connection, {coupon_id: (held * uses, used * uses) for coupon_id, uses in times.items()})
