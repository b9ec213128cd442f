"""The goods database: the catalogue, and the goods lists of live rooms.

Times in ms since the epoch, UTC; money in integer minor units.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from common.heartbeat import heartbeat_table
from common.idempotency import key_table
from halfmessage.ids import lease_table

metadata = MetaData()

goods = Table(
    "goods",
    metadata,
    Column("goods_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", String(128), nullable=False),
    Column("brief", String(1024), nullable=False),
    Column("category_id", BigInteger),
    Column("unit_price", BigInteger, nullable=False),
    Column("market_price", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("images", JSON, nullable=False),
    Column("on_sale", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    CheckConstraint("unit_price >= 0 AND market_price >= 0", name="goods_price_not_negative"),
)

rooms = Table(
    "rooms",
    metadata,
    Column("room_id", BigInteger, primary_key=True, autoincrement=False),
    Column("current_goods_id", BigInteger, ForeignKey("goods.goods_id")),
    Column("updated_at", BigInteger, nullable=False),
)

room_goods = Table(
    "room_goods",
    metadata,
    Column("room_id", BigInteger, ForeignKey("rooms.room_id"), primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("goods_id", BigInteger, ForeignKey("goods.goods_id"), nullable=False),
    UniqueConstraint("room_id", "goods_id", name="room_goods_once"),
)

worker_leases = lease_table(metadata)
idempotency_keys = key_table(metadata)
heartbeat = heartbeat_table(metadata)
