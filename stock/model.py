"""Tables of the stock service. The reservation is its deduction log: what makes every message safe to repeat."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Integer, MetaData, Table, text

from common.heartbeat import heartbeat_table
from common.idempotency import key_table
from halfmessage.errors import Conflict
from halfmessage.ids import SNOWFLAKE
from halfmessage.participant.model import header_table

metadata = MetaData()


class BelowReserved(Conflict):
    """Live reservations exceed that total."""

    slug, title = "below-reserved", "Total below what is reserved"


class InsufficientStock(Conflict):
    """Fewer pieces are available than a sale is to own."""

    slug, title = "insufficient-stock", "Insufficient stock"


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

reservations = header_table(metadata)

reservation_lines = Table(
    "reservation_lines",
    metadata,
    Column("order_id", BigInteger, ForeignKey("reservations.order_id"), primary_key=True, autoincrement=False),
    Column("goods_id", BigInteger, primary_key=True, autoincrement=False),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="reservation_lines_quantity_positive"),
)

allotments = Table(
    "allotments",
    metadata,
    Column("sale_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("goods_id", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    CheckConstraint("quantity >= 0", name="allotments_quantity_not_negative"),
)
"""Pieces that a flash sale owns: neither available nor held by an order, whichever user the sale has sold them to."""

heartbeat = heartbeat_table(metadata)

idempotency_keys = key_table(metadata)
