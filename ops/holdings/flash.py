"""Flash: the purchase that each order of a sale holds, and how many pieces the orders of each sale and user hold."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, String, and_, cast, func, literal, or_, select

from flash.model import PurchaseFate, holdings, purchases, reservations, sale_users, sales
from halfmessage.participant.model import ReservationState
from ops.findings import BY_HAND, KEPT, Finding, wrong
from ops.holdings.holdings import Holdings
from ops.ledgers import OrderRow
from order.model import Status, orders

_LIVE: Final = reservations.c.state == ReservationState.DEDUCTED.value
_IS_HELD: Final = purchases.c.fate == PurchaseFate.HELD.value


@dataclass(frozen=True, slots=True)
class Held:
    """The purchase that one order holds; `also`: other orders that hold it, and stand."""

    sale_id: int
    purchase_id: int
    quantity: int
    also: tuple[int, ...]


class FlashHoldings(Holdings):
    """Purchases in flash sales."""

    thing = "purchase"

    def numbers(self) -> tuple[dict[str, int], list[Finding]]:
        """Look at each sale, each of its users and each purchase: what is counted is what is held; one snapshot.

        The database adds up, and tells what is wrong: at most `KEPT` of each.
        """
        with self.database.read(snapshot=True) as connection:
            counted = int(connection.scalar(select(func.count()).select_from(sales)) or 0)
            found = [_miscounted(*row) for row in connection.execute(_OF_SALES.limit(KEPT))]
            found += [_user_miscounted(*row) for row in _wrong_users(connection)]
            found += [_over_limit(*row) for row in connection.execute(_OVER_LIMIT.limit(KEPT))]
            found += [_held_wrongly(*row) for row in connection.execute(_OF_PURCHASES.limit(KEPT))]
        return {"sales": counted}, found

    def details(self, order_ids: Collection[int]) -> Mapping[int, Held]:
        """Return the purchases."""
        with self.database.read() as connection:
            rows = connection.execute(_HELD_FOR.where(holdings.c.order_id.in_(order_ids))).all()
            shared = [row.purchase_id for row in rows if row.holders > 1]
            others = self._holders(connection, shared) if shared else {}
        standing = self._orders.which({one for some in others.values() for one in some}, _STANDS) if others else set()
        return {
            row.order_id: Held(
                row.sale_id,
                row.purchase_id,
                row.quantity,
                tuple(one for one in others.get(row.purchase_id, ()) if one != row.order_id and one in standing),
            )
            for row in rows
        }

    def differences(self, order_id: str, order: OrderRow, detail: Held | None) -> Iterator[Finding]:
        """Compare the purchase and its pieces with the order, and have it be this order's alone."""
        if detail is None or (detail.sale_id, detail.purchase_id) != (order.sale_id, order.purchase_id):
            yield wrong("order", order_id, f"the order is {order.status}, but another purchase is held", BY_HAND)
        elif detail.quantity != sum(order.lines.values()):
            yield wrong("order", order_id, f"the order is {order.status}, but other quantities are held", BY_HAND)
        elif detail.also:
            what = f"purchase {detail.purchase_id} stands as several orders, also {', '.join(map(str, detail.also))}"
            yield wrong("order", order_id, what, BY_HAND)

    @staticmethod
    def _holders(connection: Connection, purchase_ids: Collection[int]) -> dict[int, list[int]]:
        """Return the orders that hold each purchase."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        query = select(holdings).join(reservations, reservations.c.order_id == holdings.c.order_id)
        for row in connection.execute(query.where(_LIVE, holdings.c.purchase_id.in_(purchase_ids))):
            found[row.purchase_id].append(row.order_id)
        return {one: sorted(some) for one, some in found.items()}


_STANDS: Final = orders.c.status.in_([Status.CREATED.value, Status.PAID.value])
_HELD_FOR: Final = select(
    *(holdings.c.order_id, purchases.c.purchase_id, purchases.c.sale_id, purchases.c.quantity, purchases.c.holders)
).join_from(holdings, purchases, purchases.c.purchase_id == holdings.c.purchase_id)


def _sums(*columns: Any) -> Any:
    return select(*columns, func.sum(purchases.c.quantity).label("pieces")).where(_IS_HELD).group_by(*columns)


def _counts_of_sales() -> Select[Any]:
    """Return the query for sales whose count is wrong, or that hold more than they have."""
    are = _sums(purchases.c.sale_id).subquery()
    pieces = func.coalesce(are.c.pieces, 0)
    return (
        select(sales.c.sale_id, sales.c.held, pieces, sales.c.allotted, sales.c.quantity)
        .join_from(sales, are, are.c.sale_id == sales.c.sale_id, isouter=True)
        .where(or_(sales.c.held != pieces, pieces > sales.c.allotted, sales.c.allotted > sales.c.quantity))
        .order_by(sales.c.sale_id)
    )


def _counts_of_purchases() -> Select[Any]:
    """Return the query for purchases whose holders are counted wrong, or are held by none, or not held by some."""
    are = (
        select(holdings.c.purchase_id, func.count().label("holders"))
        .join(reservations, reservations.c.order_id == holdings.c.order_id)
        .where(_LIVE)
        .group_by(holdings.c.purchase_id)
        .subquery()
    )
    holders = func.coalesce(are.c.holders, 0)
    return (
        select(purchases.c.purchase_id, purchases.c.fate, purchases.c.holders, holders)
        .join_from(purchases, are, are.c.purchase_id == purchases.c.purchase_id, isouter=True)
        .where(or_(purchases.c.holders != holders, and_(_IS_HELD, holders == 0), and_(~_IS_HELD, holders > 0)))
        .order_by(purchases.c.purchase_id)
    )


_OF_SALES: Final = _counts_of_sales()
_OF_PURCHASES: Final = _counts_of_purchases()
_BY_USER: Final = _sums(purchases.c.sale_id, purchases.c.user_id).subquery()
_KEY: Final = cast(_BY_USER.c.sale_id, String(20)) + literal(" ") + _BY_USER.c.user_id
_OVER_LIMIT: Final = (
    select(_BY_USER.c.sale_id, _BY_USER.c.user_id, _BY_USER.c.pieces, sales.c.per_user)
    .join_from(_BY_USER, sales, sales.c.sale_id == _BY_USER.c.sale_id)
    .where(_BY_USER.c.pieces > sales.c.per_user)
    .order_by(_BY_USER.c.sale_id, _BY_USER.c.user_id)
)


def _wrong_users(connection: Connection) -> list[tuple[str, int, int]]:
    """Return what is counted of users and what they hold, where that differs; also those with only one of both."""
    are = select(_KEY.label("sale_user"), _BY_USER.c.pieces).subquery()
    is_same = are.c.sale_user == sale_users.c.sale_user
    counted = func.coalesce(sale_users.c.held, 0)
    too_few = select(are.c.sale_user, counted, are.c.pieces).join_from(are, sale_users, is_same, isouter=True)
    too_many = select(sale_users.c.sale_user, sale_users.c.held, literal(0)).join_from(
        sale_users, are, is_same, isouter=True
    )
    found = connection.execute(too_few.where(counted != are.c.pieces).order_by(are.c.sale_user).limit(KEPT)).all()
    alone = too_many.where(are.c.sale_user.is_(None), sale_users.c.held > 0).order_by(sale_users.c.sale_user)
    return [(row[0], int(row[1]), int(row[2])) for row in (*found, *connection.execute(alone.limit(KEPT)))]


def _miscounted(sale_id: int, counted: int, are: int, allotted: int, quantity: int) -> Finding:
    numbers = f"{quantity} pieces, {allotted} owned, {counted} counted as held; {are} are"
    if are > allotted or allotted > quantity:
        return wrong("sale", str(sale_id), f"the sale is oversold: {numbers}", BY_HAND)
    sql = f"UPDATE sales SET held = {are} WHERE sale_id = {sale_id}"  # noqa: S608 # nosec B608 - shown, never executed
    return wrong("sale", str(sale_id), f"the sale does not add up: {numbers}", f"stop flash; {sql}")


def _user_miscounted(key: str, counted: int, are: int) -> Finding:
    sale_id, user_id = key.split(" ", 1)
    what = f"a user's pieces do not add up: {counted} counted for {user_id}; {are} are"
    return wrong("sale", sale_id, what, f"stop flash; set held = {are} of {key!r} in sale_users")


def _over_limit(sale_id: int, user_id: str, are: int, per_user: int) -> Finding:
    return wrong("sale", str(sale_id), f"{user_id} holds {are} pieces, and may hold {per_user}", BY_HAND)


def _held_wrongly(purchase_id: int, fate: str, counted: int, are: int) -> Finding:
    what = f"the purchase is {fate}, and {counted} orders are counted that hold it; {are} do"
    if are:
        fate = PurchaseFate.HELD.value
    elif fate == PurchaseFate.HELD:
        fate = PurchaseFate.FREE.value
    mended = f"holders = {are}, fate = '{fate}'"
    sql = f"UPDATE purchases SET {mended} WHERE purchase_id = {purchase_id}"  # noqa: S608 # nosec B608 - shown, never executed
    return wrong("purchase", str(purchase_id), what, f"stop flash; {sql}; compare again")
