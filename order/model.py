"""Tables of the order service, an order as it is told, the states of an order and their legal moves."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Literal, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    text,
)

from common.errors import Invalid, OrdersError
from common.heartbeat import heartbeat_table
from halfmessage.errors import Conflict
from halfmessage.ids import SNOWFLAKE, lease_table
from halfmessage.saga.model import saga_tables
from halfmessage.tx.record import record_table

metadata = MetaData()


class Status(StrEnum):
    """Legal moves: created → paid, created → closed, paid → returned. Each is one compare-and-set; the first wins.

    An order that costs nothing is paid from the beginning.
    """

    CREATED = "created"
    PAID = "paid"
    CLOSED = "closed"
    RETURNED = "returned"

    @property
    def stands(self) -> bool:
        """Whether participants hold what such an order needs; of any other they let it go."""
        return self in {Status.CREATED, Status.PAID}


class RequestState(StrEnum):
    """Legal moves: queued → each of the others, which is one compare-and-set; the first wins."""

    QUEUED = "queued"
    CREATED = "created"
    REFUSED = "refused"
    FAILED = "failed"


class CloseReason(StrEnum):
    """Why an order was closed."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class Refused(Conflict):
    """A participant does not have what the order needs of it."""

    slug, title = "refused", "Refused"


class InsufficientStock(Refused):
    """There is not enough stock for this order; items names what is short."""

    slug, title = "insufficient-stock", "Insufficient stock"


class SoldOut(Refused):
    """Nothing is left of what the sale sells."""

    slug, title = "sold-out", "Sold out"


class AlreadyBought(Refused):
    """This user has bought as much as one may."""

    slug, title = "already-bought", "Already bought"


class OrderClosed(Conflict):
    """The order is closed and can't be paid."""

    slug, title = "order-closed", "Order closed"


class OrderPaid(Conflict):
    """The order is paid and can't be cancelled."""

    slug, title = "order-paid", "Order paid"


class OrderNotPaid(Conflict):
    """The order is not paid: there is nothing to return."""

    slug, title = "order-not-paid", "Order not paid"


class ReturnTooLate(Conflict):
    """The order was paid too long ago to be returned."""

    slug, title = "return-too-late", "Return too late"


class UnknownGoods(Invalid):
    """Some goods don't exist or are not on sale; errors says which."""

    slug, title = "unknown-goods", "Unknown goods"


class UnknownCoupon(Invalid):
    """There is no such coupon for this user."""

    slug, title = "unknown-coupon", "Unknown coupon"


class UnknownProvider(Invalid):
    """Orders can't be paid through this provider."""

    slug, title = "unknown-provider", "Unknown provider"


class PaymentRefused(OrdersError):
    """The provider did not take the money; reason has its words. The order can still be paid."""

    status, slug, title = 402, "payment-refused", "Payment refused"


class RequestExpired(Conflict):
    """The order could not be placed in the time that a request may wait; nothing was created."""

    slug, title = "expired", "Order request expired"


Reason = Literal["used", "expired", "not-started", "withdrawn", "below-minimum", "other-currency"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class CouponNotUsable(Refused):
    """This order can't use the coupon; reason says why."""

    slug, title = "coupon-not-usable", "Coupon not usable"


class CouponChanged(CouponNotUsable):
    """The coupon is no longer what the order was priced by."""


@dataclass(frozen=True, slots=True)
class Line:
    """What was ordered, as the goods were when it was; prices in minor units."""

    goods_id: int
    name: str
    brief: str
    image: str | None
    quantity: int
    unit_price: int
    market_price: int | None


@dataclass(frozen=True, slots=True)
class Sale:
    """What a flash sale sells, as it told when it was bought there; prices in minor units.

    `tx_id`: the transaction that took the pieces.
    """

    sale_id: int
    tx_id: int
    name: str
    brief: str
    image: str | None
    unit_price: int
    market_price: int | None
    currency: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who gets it. Personal: shown to the owner and to admins, never logged."""

    name: str
    phone: str
    address: str

    def __repr__(self) -> str:
        """Keep it out of logs and tracebacks."""
        return "Receiver(…)"


@dataclass(frozen=True, slots=True)
class Order:
    """An order; times in ms since the epoch, amounts in minor units.

    `sale_id`, `purchase_id`: where and by what it was bought in a flash sale. `coupon_version`, of the rules that it
    was priced by, and `purchased_in`, the transaction that took its pieces, are known only while it is placed.
    `paid_through`: who took the money; None also where nothing had to be paid, and for what was paid before there was
    a pay service.
    """

    order_id: int
    tx_id: int
    user_id: str
    status: Status
    close_reason: CloseReason | None
    lines: tuple[Line, ...]
    receiver: Receiver | None
    goods_amount: int
    currency: str
    created_at: int
    expires_at: int
    paid_at: int | None = None
    closed_at: int | None = None
    coupon_id: int | None = None
    discount_amount: int = 0
    paid_through: str | None = None
    sale_id: int | None = None
    purchase_id: int | None = None
    returned_at: int | None = None
    coupon_version: int | None = field(default=None, compare=False)
    purchased_in: int | None = field(default=None, compare=False)

    @property
    def total_amount(self) -> int:
        """What is to be paid."""
        return self.goods_amount - self.discount_amount

    def as_created(self) -> "Order":
        """Return the order as its first answer told it."""
        if self.total_amount == 0:
            paid = replace(self, status=Status.PAID, close_reason=None, paid_at=self.created_at)
            return replace(paid, closed_at=None, returned_at=None)
        unpaid = replace(self, status=Status.CREATED, paid_at=None, paid_through=None)
        return replace(unpaid, close_reason=None, closed_at=None, returned_at=None)


orders = Table(
    "orders",
    metadata,
    Column("order_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("tx_id", BigInteger, nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("status", String(8), nullable=False),
    Column("close_reason", String(16)),
    Column("total_amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("receiver_name", String(64)),
    Column("receiver_phone", String(32)),
    Column("receiver_address", String(255)),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("paid_at", BigInteger),
    Column("closed_at", BigInteger),
    Column("coupon_id", BigInteger),
    Column("goods_amount", BigInteger, nullable=False, server_default=text("0")),
    Column("discount_amount", BigInteger, nullable=False, server_default=text("0")),
    Column("paid_through", String(64)),
    Column("sale_id", BigInteger),
    Column("purchase_id", BigInteger),
    Column("returned_at", BigInteger),
    Index("orders_of_user", "user_id", "order_id"),
    Index("orders_of_user_by_status", "user_id", "status", "order_id"),
    Index("orders_overdue", "status", "expires_at"),
    Index("orders_of_transaction", "tx_id", "order_id"),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", BigInteger, ForeignKey("orders.order_id"), primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("goods_id", BigInteger, nullable=False),
    Column("name", String(255), nullable=False),
    Column("brief", String(1024), nullable=False),
    Column("image", String(2048)),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", BigInteger, nullable=False),
    Column("market_price", BigInteger),
    CheckConstraint("quantity > 0", name="order_lines_quantity_positive"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", String(64), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("order_id", BigInteger, nullable=False, index=True),
    Index("keys_of_anybody", "idempotency_key"),
)

REQUEST_ID = String(64)
"""An X-Request-Id, as `common.web` takes it."""

placing_calls = Table(
    "placing_calls",
    metadata,
    Column("order_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("request_id", REQUEST_ID, nullable=False),
    Index("placing_calls_by_request", "request_id", "order_id"),
)
"""The X-Request-Id of the call that placed an order, for those who have only a log line or an answer.

Beside `orders`, whose rows are kept for ever: these are forgotten. Without a time, as the order's id tells it.
"""

order_requests = Table(
    "order_requests",
    metadata,
    Column("request_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("tx_id", BigInteger, nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("idempotency_key", String(255), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("state", String(8), nullable=False),
    Column("wanted", JSON(none_as_null=True)),
    Column("order_id", BigInteger, index=True),
    Column("problem", JSON(none_as_null=True)),
    Column("submitted_at", BigInteger, nullable=False),
    Column("decided_at", BigInteger),
    Index("requests_of_key", "user_id", "idempotency_key", unique=True),
    Index("requests_by_state", "state", "request_id"),
    Index("requests_of_user", "user_id", "state"),
)
"""Orders submitted now and placed soon (docs/decisions/0034). `wanted`: what was asked for, until that is decided; it
names a receiver, so it is not kept for longer."""

PARTICIPANT = String(32)
"""The name of a participant."""

settlements = Table(
    "settlements",
    metadata,
    Column("order_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("participant", PARTICIPANT, primary_key=True),
    Column("fate", String(8), nullable=False),
    Column("tx_id", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Index("settlements_to_confirm", "participant", "since", "order_id"),
)
"""What a participant has still to confirm: that a closed order is void there, or that it knows of a payment.

Written with the order's move, deleted when the participant says so: few rows, however many orders there are.
"""

orders_unheld = Table(
    "orders_unheld",
    metadata,
    Column("order_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("participant", PARTICIPANT, primary_key=True),
    Column("found_at", BigInteger, nullable=False),
)
"""Orders that stand without what a participant should hold for them, as the audit found them: empty as long as nothing
was restored. Beside `orders`, whose rows are many."""

sagas = saga_tables(metadata)
"""The log of sagas: of each return a run, whose key is the order's id. Kept as orders are: for ever."""

transaction_records = record_table(metadata)
worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
