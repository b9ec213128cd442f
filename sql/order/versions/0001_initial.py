"""Orders, their lines, idempotency keys, transaction records and worker ids."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "order0001"
down_revision = None
branch_labels = None
depends_on = None

SNOWFLAKE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "idempotency_key"),
        **MYSQL,
    )
    op.create_table(
        "orders",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("tx_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("close_reason", sa.String(length=16), nullable=True),
        sa.Column("total_amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("receiver_name", sa.String(length=64), nullable=True),
        sa.Column("receiver_phone", sa.String(length=32), nullable=True),
        sa.Column("receiver_address", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("paid_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("release_confirmed", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
        **MYSQL,
    )
    op.create_index("orders_of_user", "orders", ["user_id", "order_id"], unique=False)
    op.create_index("orders_of_user_by_status", "orders", ["user_id", "status", "order_id"], unique=False)
    op.create_index("orders_overdue", "orders", ["status", "expires_at"], unique=False)
    op.create_index("orders_to_confirm", "orders", ["status", "release_confirmed", "closed_at"], unique=False)
    op.create_table(
        "transaction_records",
        sa.Column("tx_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=9), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tx_id"),
        **MYSQL,
    )
    op.create_index(op.f("ix_transaction_records_decided_at"), "transaction_records", ["decided_at"], unique=False)
    op.create_table(
        "worker_leases",
        sa.Column("worker_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
        **MYSQL,
    )
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("goods_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("brief", sa.String(length=1024), nullable=False),
        sa.Column("image", sa.String(length=2048), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("unit_price", sa.BigInteger(), nullable=False),
        sa.Column("market_price", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("quantity > 0", name="order_lines_quantity_positive"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"]),
        sa.PrimaryKeyConstraint("order_id", "position"),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("order_lines")
    op.drop_table("worker_leases")
    op.drop_index(op.f("ix_transaction_records_decided_at"), table_name="transaction_records")
    op.drop_table("transaction_records")
    op.drop_index("orders_to_confirm", table_name="orders")
    op.drop_index("orders_overdue", table_name="orders")
    op.drop_index("orders_of_user_by_status", table_name="orders")
    op.drop_index("orders_of_user", table_name="orders")
    op.drop_table("orders")
    op.drop_table("idempotency_keys")
