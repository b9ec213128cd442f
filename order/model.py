"""Tables of the order service, the states of an order and their legal moves."""

from enum import StrEnum

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
)

from common.errors import Conflict, Invalid
from common.heartbeat import heartbeat_table
from common.ids import SNOWFLAKE, lease_table
from common.tx.record import record_table

metadata = MetaData()


class Status(StrEnum):
    """Legal moves: created → paid, created → closed. Each is one compare-and-set; whoever comes first wins."""

    CREATED = "created"
    PAID = "paid"
    CLOSED = "closed"


class CloseReason(StrEnum):
    """Why an order was closed."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class InsufficientStock(Conflict):
    """There is not enough stock for this order; items names what is short."""

    slug, title = "insufficient-stock", "Insufficient stock"


class OrderClosed(Conflict):
    """The order is closed and can't be paid."""

    slug, title = "order-closed", "Order closed"


class OrderPaid(Conflict):
    """The order is paid and can't be cancelled."""

    slug, title = "order-paid", "Order paid"


class UnknownGoods(Invalid):
    """Some goods don't exist or are not on sale; errors says which."""

    slug, title = "unknown-goods", "Unknown goods"


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
    Column("release_confirmed", Boolean, nullable=False, server_default=false()),
    Index("orders_of_user", "user_id", "order_id"),
    Index("orders_of_user_by_status", "user_id", "status", "order_id"),
    Index("orders_overdue", "status", "expires_at"),
    Index("orders_to_confirm", "status", "release_confirmed", "closed_at"),
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
)

orders_without_stock = Table(
    "orders_without_stock",
    metadata,
    Column("order_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("found_at", BigInteger, nullable=False),
)
"""What the audit found, empty as long as nothing was restored: beside `orders`, whose rows are many."""

transaction_records = record_table(metadata)
worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
