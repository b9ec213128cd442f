"""What the reservations of coupons hold: a use of one coupon each.

A coupon's row is the lock of all that is counted about it: whoever changes a count holds it, taken in the order of ids.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from common.db import Database
from coupon.model import UseState, coupon_user, coupon_users, coupon_uses, coupons, reservations
from halfmessage.chunks import VALUES, chunks, rows_in
from halfmessage.clock import now_ms
from halfmessage.participant.effect import Direct, Members, Refusal
from halfmessage.participant.reservations import Reservations

K = TypeVar("K")

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
_OF_COUPONS = coupons.c.coupon_id.in_(bindparam("coupon_ids", expanding=True))
_LOCKED = select(coupons).where(_OF_COUPONS).order_by(coupons.c.coupon_id).with_for_update()
_SHIFT = (
    update(coupons)
    .where(_OF_COUPONS)
    .values(held=coupons.c.held + bindparam("more_held"), used=coupons.c.used + bindparam("more_used"))
)
_OF_USERS = coupon_users.c.coupon_user.in_(bindparam("keys", expanding=True))
_TAKEN = select(coupon_users.c.coupon_user, coupon_users.c.taken).where(_OF_USERS)
_SHIFT_USERS = update(coupon_users).where(_OF_USERS).values(taken=coupon_users.c.taken + bindparam("more"))
_OF_ORDERS = coupon_uses.c.order_id.in_(bindparam("order_ids", expanding=True))
_USES = select(coupon_uses).where(_OF_ORDERS)
_MOVE = update(coupon_uses).where(_OF_ORDERS).values(state=bindparam("to"))
_FORGET = delete(coupon_uses).where(_OF_ORDERS)

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

    def begin(self, connection: Connection, wants: Mapping[int, Want]) -> None:
        """Lock their coupons, in one order for everybody."""
        _lock(connection, {want.coupon_id for want in wants.values()})

    def take(self, connection: Connection, order_id: int, want: Want) -> Refusal | None:
        """Take one."""
        return self.take_all(connection, {order_id: want}).get(order_id)

    def take_all(self, connection: Connection, wants: Mapping[int, Want]) -> dict[int, Refusal]:
        """Look at all under their locks; decide; take with few statements."""
        rules = _lock(connection, {want.coupon_id for want in wants.values()})
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
        for state in (UseState.HELD, UseState.USED):
            uses = Counter(row.coupon_id for row in rows if row.state == state)
            _count(connection, uses, held=-(state is UseState.HELD), used=-(state is UseState.USED))
        _count_users(connection, Counter(coupon_user(row.coupon_id, row.user_id) for row in rows), -1)
        _move(connection, rows, UseState.FREE)

    def paid(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Move what they hold to used; again: nothing."""
        rows = _locked_uses(connection, order_ids, {UseState.HELD})
        _count(connection, Counter(row.coupon_id for row in rows), held=-1, used=1)
        _move(connection, rows, UseState.USED)

    def forget(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Delete their rows."""
        connection.execute(_FORGET, {"order_ids": order_ids})

    def describe(self, connection: Connection, order_id: int) -> Members:
        """Return the coupon, and whether it is used up: the order is paid."""
        row = connection.execute(_USES, {"order_ids": [order_id]}).first()
        return {} if row is None else {"coupon_id": row.coupon_id, "used": row.state == UseState.USED}


def coupon_reservations(database: Database) -> Reservations[Want]:
    """Return the coupon service's reservations."""
    return Reservations("coupon", database, reservations, Uses())


def _lock(connection: Connection, coupon_ids: Collection[int]) -> dict[int, Row[Any]]:
    return {row.coupon_id: row for row in rows_in(connection, _LOCKED, "coupon_ids", sorted(coupon_ids))}


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
    _count(connection, Counter(want.coupon_id for want in wants.values()), held=1, used=0)
    users = Counter(want.user for want in wants.values())
    new = [{"coupon_user": user, "taken": uses} for user, uses in users.items() if user not in known]
    if new:
        connection.execute(insert(coupon_users), new)
    _count_users(connection, {user: uses for user, uses in users.items() if user in known}, 1)
    rows = [
        {"order_id": order_id, "coupon_id": want.coupon_id, "user_id": want.user_id, "state": UseState.HELD.value}
        for order_id, want in wants.items()
    ]
    connection.execute(insert(coupon_uses), rows)


def _locked_uses(connection: Connection, order_ids: Collection[int], states: Collection[UseState]) -> list[Row[Any]]:
    """Return those of the orders' uses that are in one of the states, their coupons locked; their headers are."""
    rows = [row for row in rows_in(connection, _USES, "order_ids", order_ids) if row.state in states]
    _lock(connection, {row.coupon_id for row in rows})
    return rows


def _move(connection: Connection, rows: Collection[Row[Any]], state: UseState) -> None:
    for part in chunks((row.order_id for row in rows), VALUES):
        connection.execute(_MOVE, {"order_ids": part, "to": state.value})


def _count(connection: Connection, uses: Mapping[int, int], *, held: int, used: int) -> None:
    """Add to what coupons (id → uses) count: `held` and `used` for each use. One statement for those alike."""
    for times, coupon_ids in _alike(uses).items():
        more = {"more_held": held * times, "more_used": used * times}
        for part in chunks(coupon_ids, VALUES):
            connection.execute(_SHIFT, {"coupon_ids": part, **more})


def _count_users(connection: Connection, uses: Mapping[str, int], sign: int) -> None:
    for times, users in _alike(uses).items():
        for part in chunks(users, VALUES):
            connection.execute(_SHIFT_USERS, {"keys": part, "more": sign * times})


def _alike(uses: Mapping[K, int]) -> dict[int, list[K]]:
    alike: defaultdict[int, list[K]] = defaultdict(list)
    for key, times in uses.items():
        alike[times].append(key)
    return alike
