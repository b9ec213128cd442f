"""Tables of the flash service: sales, what was bought in them, and which orders hold it. They can't oversell.

Times in ms since the epoch, UTC; money in integer minor units.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    false,
    text,
)

from common.errors import Forbidden, TooManyRequests
from common.heartbeat import heartbeat_table
from common.idempotency import key_table
from flash.pieces.port import Terms
from flash.pieces.tables import PiecesTables
from halfmessage.errors import Conflict
from halfmessage.ids import SNOWFLAKE, lease_table
from halfmessage.participant.model import RESERVATIONS, header_table

metadata = MetaData()


class SaleState(StrEnum):
    """Legal moves: opening → open → closed → done, and opening → void: it never came to be."""

    OPENING = "opening"
    OPEN = "open"
    CLOSED = "closed"
    """No user buys any more; what was bought may still become an order."""
    DONE = "done"
    """All that was bought is decided: at stock it owns what its orders hold, and no more."""
    VOID = "void"


class PurchaseFate(StrEnum):
    """What the rows say of a purchase. Legal moves: held ⇄ free → returned, and returned from the beginning."""

    HELD = "held"
    """By at least one order, or by a try to place one."""
    FREE = "free"
    """By none just now: it is not known yet whether by none for ever."""
    RETURNED = "returned"
    """For good."""


class InsufficientStock(Conflict):
    """There is not enough stock for this sale."""

    slug, title = "insufficient-stock", "Insufficient stock"


class SoldOut(Conflict):
    """Nothing is left of what the sale sells, or less than was wanted."""

    slug, title = "sold-out", "Sold out"


class AlreadyBought(Conflict):
    """This user has bought as much as one may; location is the address of the first purchase."""

    slug, title = "already-bought", "Already bought"


class NotStarted(Conflict):
    """The sale has not started yet."""

    slug, title = "not-started", "Sale not started"


class Ended(Conflict):
    """The sale is over."""

    slug, title = "ended", "Sale ended"


class NoQueue(Conflict):
    """This sale has no queue: buy without a ticket."""

    slug, title = "no-queue", "No queue"


class QueueFull(Conflict):
    """There are more before you than may queue for one sale."""

    slug, title = "queue-full", "Queue full"


class TicketRefused(Forbidden):
    """This takes a queue ticket of yours for this sale, which has not expired."""

    slug, title = "ticket-refused", "Queue ticket refused"


class NotYourTurn(TooManyRequests):
    """Your place in the queue has its turn when Retry-After says so."""

    slug, title = "not-your-turn", "Not your turn yet"

    def __init__(self, seconds: int = 1) -> None:
        """Take the seconds to wait."""
        super().__init__()
        self.retry_after = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSale:
    """A sale to open: so many pieces of one goods at a price, `per_user` at most to one user.

    `queue_rate`: buyers who have their turn in a second, by queue ticket; 0: none is needed; None: as is set for all.
    """

    goods_id: int
    quantity: int
    unit_price: int
    per_user: int
    starts_at: int
    ends_at: int
    queue_rate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale(NewSale):
    """A sale, and the goods that it sells as they were when it was opened."""

    sale_id: int
    name: str
    brief: str
    image: str | None
    market_price: int | None
    currency: str
    state: str
    created_at: int
    closed_at: int | None = None

    @property
    def terms(self) -> Terms:
        """What a store of pieces has to know of it."""
        is_open = self.state in {SaleState.OPENING, SaleState.OPEN}
        return Terms(
            sale_id=self.sale_id,
            version=_TERMS_OPEN if is_open else _TERMS_CLOSED,
            quantity=self.quantity,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            per_user=self.per_user,
            is_ended=not is_open,
        )


_TERMS_OPEN, _TERMS_CLOSED = 1, 2

sales = Table(
    "sales",
    metadata,
    Column("sale_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("state", String(8), nullable=False),
    Column("goods_id", BigInteger, nullable=False),
    Column("name", String(255), nullable=False),
    Column("brief", String(1024), nullable=False),
    Column("image", String(2048)),
    Column("market_price", BigInteger),
    Column("unit_price", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("per_user", BigInteger, nullable=False),
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("closed_at", BigInteger),
    Column("held", BigInteger, nullable=False, server_default=text("0")),
    Column("allotted", BigInteger, nullable=False),
    Column("word", BigInteger, nullable=False, server_default=text("1")),
    Column("heard", BigInteger, nullable=False, server_default=text("0")),
    Column("queue_rate", Integer),
    CheckConstraint("held >= 0", name="sales_held_not_negative"),
    CheckConstraint("held <= allotted", name="sales_not_oversold"),
    Index("sales_by_state", "state", "sale_id"),
)
"""`held`: pieces that orders hold. `allotted`: those that the sale is to own at stock, said there in the word number
`word`; `heard`: the last one that stock has heard."""

reservations = header_table(metadata)

purchases = Table(
    "purchases",
    metadata,
    Column("purchase_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("sale_id", BigInteger, nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("holders", Integer, nullable=False),
    Column("fate", String(8), nullable=False),
    Column("told", Boolean, nullable=False, server_default=false()),
    CheckConstraint("holders >= 0", name="purchases_holders_not_negative"),
    CheckConstraint("quantity > 0", name="purchases_quantity_positive"),
    Index("purchases_of_sale", "sale_id", "purchase_id"),
    Index("purchases_by_fate", "fate", "told", "purchase_id"),
)
"""`holders`: orders that hold it, tries to place one too. `told`: the store of pieces knows that it is returned."""

holdings = Table(
    "holdings",
    metadata,
    Column("order_id", SNOWFLAKE, ForeignKey(f"{RESERVATIONS}.order_id"), primary_key=True, autoincrement=False),
    Column("purchase_id", BigInteger, nullable=False),
    Index("holdings_of_purchase", "purchase_id"),
)

sale_users = Table(  # one text for both ids: lists of pairs have no index on MariaDB
    "sale_users",
    metadata,
    Column("sale_user", String(96), primary_key=True),
    Column("held", BigInteger, nullable=False),
    CheckConstraint("held >= 0", name="sale_users_held_not_negative"),
)

pieces: Final = PiecesTables(metadata)
worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
idempotency_keys = key_table(metadata)


def sale_user(sale_id: int, user_id: str) -> str:
    """Return the key of how many pieces of a sale a user's orders hold."""
    return f"{sale_id} {user_id}"
