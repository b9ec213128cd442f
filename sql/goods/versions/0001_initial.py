"""Goods, live rooms, worker id leases."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "goods0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "goods",
        sa.Column("goods_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("brief", sa.String(1024), nullable=False),
        sa.Column("category_id", sa.BigInteger),
        sa.Column("unit_price", sa.BigInteger, nullable=False),
        sa.Column("market_price", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("images", sa.JSON, nullable=False),
        sa.Column("on_sale", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.CheckConstraint("unit_price >= 0 AND market_price >= 0", name="goods_price_not_negative"),
        **MYSQL,
    )
    op.create_table(
        "rooms",
        sa.Column("room_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("current_goods_id", sa.BigInteger, sa.ForeignKey("goods.goods_id")),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        **MYSQL,
    )
    op.create_table(
        "room_goods",
        sa.Column("room_id", sa.BigInteger, sa.ForeignKey("rooms.room_id"), primary_key=True, autoincrement=False),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("goods_id", sa.BigInteger, sa.ForeignKey("goods.goods_id"), nullable=False),
        sa.UniqueConstraint("room_id", "goods_id", name="room_goods_once"),
        **MYSQL,
    )
    op.create_table(
        "worker_leases",
        sa.Column("worker_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        **MYSQL,
    )
