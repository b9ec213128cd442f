"""Coupons, which orders hold or have used one, and what every service has."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "coupon0001"
down_revision = None
branch_labels = None
depends_on = None

SNOWFLAKE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "coupons",
        sa.Column("coupon_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("minimum_amount", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=True),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("uses_per_user", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("used", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=True),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("code", name="coupons_code"),
        sa.CheckConstraint("held >= 0 AND used >= 0", name="coupons_counts_not_negative"),
        sa.CheckConstraint("held + used <= uses", name="coupons_uses_not_exceeded"),
        sa.PrimaryKeyConstraint("coupon_id"),
        **MYSQL,
    )
    op.create_index("coupons_by_user", "coupons", ["user_id", "coupon_id"], unique=False)
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
        "coupon_uses",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("coupon_id", SNOWFLAKE, nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=4), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["reservations.order_id"]),
        sa.ForeignKeyConstraint(["coupon_id"], ["coupons.coupon_id"]),
        sa.PrimaryKeyConstraint("order_id"),
        **MYSQL,
    )
    op.create_index("coupon_uses_by_coupon", "coupon_uses", ["coupon_id"], unique=False)
    op.create_table(
        "coupon_users",
        sa.Column("coupon_user", sa.String(length=96), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("taken >= 0", name="coupon_users_taken_not_negative"),
        sa.PrimaryKeyConstraint("coupon_user"),
        **MYSQL,
    )
    op.create_table(
        "worker_leases",
        sa.Column("worker_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
        **MYSQL,
    )
    op.create_table(
        "heartbeat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
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
