"""Sales, purchases and which orders hold them; the store of pieces, where it is this database."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL
from sql.participant import SNOWFLAKE, create_tables

revision = "flash0001"
down_revision = None
branch_labels = None
depends_on = None


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)


def upgrade() -> None:
    create_tables()
    _create_sales()
    _create_pieces()
    op.create_table(
        "worker_leases",
        sa.Column("worker_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
        **MYSQL,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "idempotency_key"),
        **MYSQL,
    )
    op.create_index("idempotency_keys_by_age", "idempotency_keys", ["created_at"], unique=False)


def _create_sales() -> None:
    op.create_table(
        "sales",
        sa.Column("sale_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("goods_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("brief", sa.String(length=1024), nullable=False),
        sa.Column("image", sa.String(length=2048), nullable=True),
        sa.Column("market_price", sa.BigInteger(), nullable=True),
        sa.Column("unit_price", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("per_user", sa.BigInteger(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        _count("held"),
        sa.Column("allotted", sa.BigInteger(), nullable=False),
        sa.Column("word", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        _count("heard"),
        sa.PrimaryKeyConstraint("sale_id"),
        sa.CheckConstraint("held >= 0", name="sales_held_not_negative"),
        sa.CheckConstraint("held <= allotted", name="sales_not_oversold"),
        **MYSQL,
    )
    op.create_index("sales_by_state", "sales", ["state", "sale_id"], unique=False)
    op.create_table(
        "purchases",
        sa.Column("purchase_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("sale_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("holders", sa.Integer(), nullable=False),
        sa.Column("fate", sa.String(length=8), nullable=False),
        sa.Column("told", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("purchase_id"),
        sa.CheckConstraint("holders >= 0", name="purchases_holders_not_negative"),
        sa.CheckConstraint("quantity > 0", name="purchases_quantity_positive"),
        **MYSQL,
    )
    op.create_index("purchases_of_sale", "purchases", ["sale_id", "purchase_id"], unique=False)
    op.create_index("purchases_by_fate", "purchases", ["fate", "told", "purchase_id"], unique=False)
    op.create_table(
        "holdings",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
        sa.ForeignKeyConstraint(["order_id"], ["reservations.order_id"]),
        **MYSQL,
    )
    op.create_index("holdings_of_purchase", "holdings", ["purchase_id"], unique=False)
    op.create_table(
        "sale_users",
        sa.Column("sale_user", sa.String(length=96), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sale_user"),
        sa.CheckConstraint("held >= 0", name="sale_users_held_not_negative"),
        **MYSQL,
    )


def _create_pieces() -> None:
    op.create_table(
        "pieces_sales",
        sa.Column("sale_id", sa.BigInteger(), autoincrement=False, nullable=False),
        *(_count(name) for name in ("version", "quantity", "starts_at", "ends_at")),
        sa.Column("per_user", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_ended", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("is_ready", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        *(_count(name) for name in ("pieces", "taken", "held", "returned", "aborted", "kept_until")),
        sa.PrimaryKeyConstraint("sale_id"),
        **MYSQL,
    )
    op.create_index("pieces_sales_to_purge", "pieces_sales", ["kept_until"], unique=False)
    op.create_table(
        "pieces_purchases",
        sa.Column("sale_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("purchase_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("tx_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sale_id", "purchase_id"),
        **MYSQL,
    )
    op.create_index("pieces_purchases_by_state", "pieces_purchases", ["sale_id", "state", "purchase_id"], unique=False)
    op.create_table(
        "pieces_buyers",
        sa.Column("sale_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("pieces", sa.BigInteger(), nullable=False),
        sa.Column("first_purchase_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sale_id", "user_id"),
        **MYSQL,
    )
    op.create_table(
        "pieces_records",
        sa.Column("tx_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=9), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tx_id"),
        **MYSQL,
    )
    op.create_index(op.f("ix_pieces_records_decided_at"), "pieces_records", ["decided_at"], unique=False)


def downgrade() -> None:
    for table in ("pieces_records", "pieces_buyers", "pieces_purchases", "pieces_sales", "sale_users", "holdings"):
        op.drop_table(table)
    for table in ("purchases", "sales", "idempotency_keys", "worker_leases", "heartbeat", "reservations"):
        op.drop_table(table)
