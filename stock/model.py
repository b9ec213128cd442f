"""Tables of the stock service. The reservation is its deduction log: what makes every message safe to repeat."""

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
    text,
)

from common.errors import Conflict
from common.heartbeat import heartbeat_table
from common.idempotency import key_table
from common.ids import SNOWFLAKE

metadata = MetaData()


class ReservationState(StrEnum):
    """Legal moves: none → deducted → released, and none → released (a tombstone). Nothing leaves `released`."""

    DEDUCTED = "deducted"
    RELEASED = "released"


class Verdict(StrEnum):
    """What became of one order of a deduction."""

    DEDUCTED = "deducted"
    INSUFFICIENT = "insufficient"
    RELEASED = "released"


class BelowReserved(Conflict):
    """Live reservations exceed that total."""

    slug, title = "below-reserved", "Total below what is reserved"


stock = Table(
    "stock",
    metadata,
    Column("goods_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("total", BigInteger, nullable=False),
    Column("available", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False, server_default=text("0")),  # see stock.service.strategies
    CheckConstraint("available <= total", name="stock_available_within_total"),
    CheckConstraint("available >= 0", name="stock_available_not_negative"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("tx_id", BigInteger, nullable=False),
    Column("state", String(8), nullable=False),
    Column("verified", Boolean, nullable=False, server_default=false()),
    Column("created_at", BigInteger, nullable=False),
    Column("released_at", BigInteger),
    Index("reservations_to_verify", "verified", "state", "order_id"),
)

reservation_lines = Table(
    "reservation_lines",
    metadata,
    Column("order_id", BigInteger, ForeignKey("reservations.order_id"), primary_key=True, autoincrement=False),
    Column("goods_id", BigInteger, primary_key=True, autoincrement=False),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="reservation_lines_quantity_positive"),
)

heartbeat = heartbeat_table(metadata)

idempotency_keys = key_table(metadata)
