"""What the reservations of flash hold: purchases, each counted once however many orders hold it.

A try to place a purchase's order may be given up and made again before the first one is released; one of them stands
at most, which is the order service's promise. So an order holds a purchase, and the pieces are the purchase's.

A sale's row is the lock of all that is counted about it; locks are taken in the order of ids.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import Connection, Row, bindparam, insert, select

from common.db import Database
from flash.model import PurchaseFate, SaleState, holdings, purchases, reservations, sale_user, sale_users, sales
from flash.pieces.port import MOST, Buyer, Pieces
from halfmessage.chunks import chunks, rows_in
from halfmessage.errors import HalfMessageError
from halfmessage.ids import issued_at
from halfmessage.participant.counts import Counts, Tallies
from halfmessage.participant.effect import Effect, Members, Refusal, Taker
from halfmessage.participant.reservations import Reservations
from halfmessage.participant.states import States
from halfmessage.tx.record import Outcome

T = TypeVar("T")

SOLD_OUT: Final = "sold-out"
ALREADY_BOUGHT: Final = "already-bought"

# Made once, for they run for every order: SQLAlchemy keeps what it compiled of them.
_SALES = Counts(sales.c.sale_id, "held")
_USERS = Tallies(sale_users.c.sale_user, "held")
_HOLDERS = Counts(purchases.c.purchase_id, "holders")
_PURCHASES: States[int] = States(purchases.c.purchase_id, purchases.c.fate)
_OF_ORDERS = holdings.c.order_id.in_(bindparam("order_ids", expanding=True))
_HELD = select(holdings.c.order_id, holdings.c.purchase_id).where(_OF_ORDERS)
_DESCRIBED = (
    select(purchases.c.purchase_id, purchases.c.sale_id, purchases.c.quantity)
    .join_from(holdings, purchases, purchases.c.purchase_id == holdings.c.purchase_id)
    .where(_OF_ORDERS)
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Want:
    """The purchase that an order is for; `purchased_in`: the transaction that took its pieces, where that is known."""

    sale_id: int
    purchase_id: int
    user_id: str
    quantity: int
    purchased_in: int | None = None

    @property
    def user(self) -> str:
        """Whose pieces of which sale are counted."""
        return sale_user(self.sale_id, self.user_id)

    @property
    def buyer(self) -> Buyer:
        """It as the store of pieces has it."""
        return Buyer(self.purchase_id, self.user_id, self.quantity)


class Holding(Effect[Want]):
    """Holds purchases for orders. It can't oversell, whatever the store of pieces says."""

    held = holdings

    def __init__(self, pieces: Pieces) -> None:
        """Take the store of pieces, which knows who got some."""
        self._pieces = pieces

    def run(self, wants: Mapping[int, Want], transact: Callable[[Taker[Want]], T]) -> T:
        """Ask the store who got pieces, hold what they bought, and tell the store so. Raise `Unavailable`."""
        taking = Taking(self._without(wants))
        result = transact(taking)
        self._tell(taking.taken)
        return result

    def _without(self, wants: Mapping[int, Want]) -> set[int]:
        """Return the purchases that got no pieces: the store knows their transaction, and not them.

        Where it has forgotten the transaction, or what that took, or can't know it yet, it is the rows that decide.
        """
        of_sales: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for want in wants.values():
            if want.purchased_in is not None:
                of_sales[want.sale_id][want.purchase_id] = want.purchased_in
        without: set[int] = set()
        for sale_id, bought in of_sales.items():
            known: set[int] = set()
            for part in chunks(sorted(bought), MOST):
                known |= self._pieces.find(sale_id, part).keys()
            missing = {purchase_id: tx_id for purchase_id, tx_id in bought.items() if purchase_id not in known}
            ended = {tx_id: self._pieces.decide(sale_id, tx_id) for tx_id in set(missing.values())}
            committed = {one: tx_id for one, tx_id in missing.items() if ended[tx_id] is Outcome.COMMITTED}
            if committed:
                forgotten_till = self._pieces.forgotten_till(sale_id)
                without |= {one for one, tx_id in committed.items() if issued_at(tx_id) > forgotten_till}
        return without

    def _tell(self, taken: Collection[Want]) -> None:
        """Tell the store which purchases are rows now. Where that fails, a sweep tells it."""
        of_sales: defaultdict[int, list[Buyer]] = defaultdict(list)
        for want in taken:
            of_sales[want.sale_id].append(want.buyer)
        try:
            for sale_id, buyers in of_sales.items():
                for part in chunks(buyers, MOST):
                    self._pieces.hold(sale_id, part)
        except HalfMessageError as error:
            log.warning("the store of pieces was not told of holdings; the sweep will", reason=error.detail)

    def unfit(self, want: Want) -> Refusal:  # noqa: ARG002 - whatever it wants
        """Return that nothing is left: the counts are wrong already."""
        return Refusal(SOLD_OUT)

    def give_back(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Let their purchases go: one that no order holds any more is free, until it is known what became of it."""
        left = Counter(purchase_id for _, purchase_id in rows_in(connection, _HELD, "order_ids", order_ids))
        found = {row.purchase_id: row for row in _PURCHASES.find(connection, sorted(left))}
        _SALES.lock(connection, {row.sale_id for row in found.values()})
        rows = _HOLDERS.lock(connection, sorted(left))
        _HOLDERS.add(connection, {one: (-number,) for one, number in left.items()})
        freed = [row for one, row in rows.items() if row.holders == left[one]]
        _count(connection, freed, -1)
        _move(connection, freed, PurchaseFate.FREE)

    def describe(self, connection: Connection, order_id: int) -> Members:
        """Return the purchase."""
        row = connection.execute(_DESCRIBED, {"order_ids": [order_id]}).first()
        return {} if row is None else dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's own name for it


class Taking(Taker[Want]):
    """Holds purchases in one transaction."""

    def __init__(self, without: Collection[int]) -> None:
        """Take the purchases that got no pieces."""
        self._without = without
        self.taken: list[Want] = []
        """What the last try of the transaction held."""

    def begin(self, connection: Connection, wants: Mapping[int, Want]) -> None:
        """Lock their sales, in one order for everybody."""
        self.taken = []
        _SALES.lock(connection, {want.sale_id for want in wants.values()})

    def take(self, connection: Connection, order_id: int, want: Want) -> Refusal | None:
        """Hold one."""
        return self._take(connection, {order_id: want}).get(order_id)

    def take_all(self, connection: Connection, wants: Mapping[int, Want]) -> dict[int, Refusal]:
        """Look at all under their locks; decide; hold with few statements."""
        self.taken = []
        return self._take(connection, wants)

    def _take(self, connection: Connection, wants: Mapping[int, Want]) -> dict[int, Refusal]:
        books = _Books(connection, wants.values())
        refused: dict[int, Refusal] = {}
        for order_id, want in wants.items():
            refusal = Refusal(SOLD_OUT) if want.purchase_id in self._without else books.enter(want)
            if refusal is not None:
                refused[order_id] = refusal
        taken = {order_id: want for order_id, want in wants.items() if order_id not in refused}
        if taken:
            books.write(connection)
            rows = [{"order_id": order_id, "purchase_id": want.purchase_id} for order_id, want in taken.items()]
            connection.execute(insert(holdings), rows)
            self.taken += taken.values()
        return refused


@dataclass(slots=True)
class _Book:
    """A purchase as it will be."""

    want: Want
    is_new: bool
    is_counted: bool
    """Its pieces are counted already: another order holds it."""
    more: int = 0
    """Orders that hold it from now on."""


@dataclass(init=False, slots=True)
class _Books:
    """What is counted about the sales, users and purchases of some wants, read under the locks of their sales."""

    sales: dict[int, Row[Any]]
    known: dict[int, Row[Any]]
    users: dict[str, int]
    more_of_sale: Counter[int] = field(default_factory=Counter)
    more_of_user: Counter[str] = field(default_factory=Counter)
    entered: dict[int, _Book] = field(default_factory=dict)

    def __init__(self, connection: Connection, wants: Collection[Want]) -> None:
        self.sales = _SALES.lock(connection, {want.sale_id for want in wants})
        ids = sorted({want.purchase_id for want in wants})
        self.known = {row.purchase_id: row for row in _PURCHASES.find(connection, ids)}
        self.users = _USERS.known(connection, {want.user for want in wants})
        self.more_of_sale, self.more_of_user, self.entered = Counter(), Counter(), {}

    def enter(self, want: Want) -> Refusal | None:
        """Note that an order holds a purchase, or return why it can't."""
        row = self.known.get(want.purchase_id)
        if row is not None and (row.sale_id, row.user_id, row.quantity) != (want.sale_id, want.user_id, want.quantity):
            return Refusal(SOLD_OUT)  # another purchase: that was not bought under this id
        book = self.entered.get(want.purchase_id) or self._book(want)
        if not book.is_counted:
            refusal = self._refusal(want)
            if refusal is not None:
                return refusal
            self.more_of_sale[want.sale_id] += want.quantity
            self.more_of_user[want.user] += want.quantity
            book.is_counted = True
        book.more += 1
        self.entered[want.purchase_id] = book
        return None

    def _book(self, want: Want) -> _Book:
        row = self.known.get(want.purchase_id)
        return _Book(want, row is None, row is not None and row.fate == PurchaseFate.HELD)

    def _refusal(self, want: Want) -> Refusal | None:
        sale, row = self.sales.get(want.sale_id), self.known.get(want.purchase_id)
        if sale is None or sale.state in {SaleState.OPENING, SaleState.VOID}:
            return Refusal(SOLD_OUT)
        if row is not None and row.fate == PurchaseFate.RETURNED:
            return Refusal(SOLD_OUT)
        if sale.held + self.more_of_sale[want.sale_id] + want.quantity > sale.allotted:
            return Refusal(SOLD_OUT)
        if self.users.get(want.user, 0) + self.more_of_user[want.user] + want.quantity > sale.per_user:
            return Refusal(ALREADY_BOUGHT)
        return None

    def write(self, connection: Connection) -> None:
        """Write it down."""
        new = [_new_row(book) for book in self.entered.values() if book.is_new]
        if new:
            connection.execute(insert(purchases), new)
        again = {one: book for one, book in self.entered.items() if not book.is_new}
        _HOLDERS.add(connection, {one: (book.more,) for one, book in again.items()})
        _move(connection, [self.known[one] for one in again], PurchaseFate.HELD)
        _SALES.add(connection, {one: (more,) for one, more in self.more_of_sale.items() if more})
        _USERS.count(connection, {key: more for key, more in self.more_of_user.items() if more}, self.users)


def flash_reservations(database: Database, pieces: Pieces) -> Reservations[Want]:
    """Return the flash service's reservations."""
    return Reservations("flash", database, reservations, Holding(pieces))


def _new_row(book: _Book) -> dict[str, Any]:
    want = book.want
    return {
        "purchase_id": want.purchase_id,
        "sale_id": want.sale_id,
        "user_id": want.user_id,
        "quantity": want.quantity,
        "holders": book.more,
        "fate": PurchaseFate.HELD.value,
    }


def _count(connection: Connection, rows: Collection[Row[Any]], sign: int) -> None:
    """Add the pieces of purchases to what their sales and users hold, or take them off."""
    of_sales, of_users = Counter[int](), Counter[str]()
    for row in rows:
        of_sales[row.sale_id] += sign * row.quantity
        of_users[sale_user(row.sale_id, row.user_id)] += sign * row.quantity
    _SALES.add(connection, {sale_id: (more,) for sale_id, more in of_sales.items()})
    _USERS.add(connection, {key: (more,) for key, more in of_users.items()})


def _move(connection: Connection, rows: Collection[Row[Any]], fate: PurchaseFate) -> None:
    _PURCHASES.move(connection, (row.purchase_id for row in rows if row.fate != fate), fate.value)
