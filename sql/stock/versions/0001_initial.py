"""Stock and reservations."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "stock0001"
down_revision = None
branch_labels = None
depends_on = None

SNOWFLAKE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "reservations",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("tx_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("verified", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("order_id"),
        **MYSQL,
    )
    op.create_index("reservations_to_verify", "reservations", ["verified", "state", "order_id"], unique=False)
    op.create_table(
        "stock",
        sa.Column("goods_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("available <= total", name="stock_available_within_total"),
        sa.CheckConstraint("available >= 0", name="stock_available_not_negative"),
        sa.PrimaryKeyConstraint("goods_id"),
        **MYSQL,
    )
    op.create_table(
        "reservation_lines",
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("goods_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.CheckConstraint("quantity > 0", name="reservation_lines_quantity_positive"),
        sa.ForeignKeyConstraint(["order_id"], ["reservations.order_id"]),
        sa.PrimaryKeyConstraint("order_id", "goods_id"),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("reservation_lines")
    op.drop_table("stock")
    op.drop_index("reservations_to_verify", table_name="reservations")
    op.drop_table("reservations")
