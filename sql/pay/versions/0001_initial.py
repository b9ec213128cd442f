"""What orders owe, tries to pay it, what providers said, the money that they took, and what every service has."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "pay0001"
down_revision = None
branch_labels = None
depends_on = None

SNOWFLAKE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _create_payments()
    _create_news()
    _create_charges()
    _create_what_every_service_has()


def _create_payments() -> None:
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
        "payments",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=True),
        sa.Column("known", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("tellings", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tell_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("succeeded_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("amount > 0", name="payments_amount_positive"),
        sa.ForeignKeyConstraint(["order_id"], ["reservations.order_id"]),
        sa.PrimaryKeyConstraint("order_id"),
        **MYSQL,
    )
    op.create_index("payments_to_tell", "payments", ["tell_at"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("attempt_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("order_id", SNOWFLAKE, nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("scenario", sa.String(length=64), nullable=True),
        sa.Column("reference", sa.String(length=255), nullable=True),
        sa.Column("pay_url", sa.String(length=4096), nullable=True),
        sa.Column("state", sa.String(length=4), nullable=False),
        sa.Column("refusal", sa.String(length=255), nullable=True),
        sa.Column("to_close", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("polls", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_poll_at", sa.BigInteger(), nullable=True),
        sa.Column("asked_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["payments.order_id"]),
        sa.PrimaryKeyConstraint("attempt_id"),
        **MYSQL,
    )
    op.create_index("attempts_of_order", "attempts", ["order_id"], unique=False)
    op.create_index("attempts_by_reference", "attempts", ["provider", "reference"], unique=False)
    op.create_index("attempts_to_poll", "attempts", ["state", "next_poll_at"], unique=False)


def _create_news() -> None:
    op.create_table(
        "payment_events",
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("reference", sa.String(length=255), nullable=True),
        sa.Column("charge_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("via", sa.String(length=8), nullable=False),
        sa.Column("raw", sa.LargeBinary(length=2**24 - 1), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("handle_at", sa.BigInteger(), nullable=True),
        sa.Column("handled_at", sa.BigInteger(), nullable=True),
        sa.Column("effect", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("tx_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("provider", "event_id"),
        **MYSQL,
    )
    op.create_index("payment_events_of_order", "payment_events", ["order_id", "received_at"], unique=False)
    op.create_index("payment_events_of_charge", "payment_events", ["provider", "charge_id"], unique=False)
    op.create_index("payment_events_to_handle", "payment_events", ["handle_at"], unique=False)


def _create_charges() -> None:
    op.create_table(
        "charges",
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("charge_id", sa.String(length=128), nullable=False),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("kept_for", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=True),
        sa.Column("note", sa.String(length=255), nullable=True),
        sa.Column("refund_id", sa.String(length=128), nullable=True),
        sa.Column("refusal", sa.String(length=255), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", sa.BigInteger(), nullable=True),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("refund_since", sa.BigInteger(), nullable=True),
        sa.Column("refunded_at", sa.BigInteger(), nullable=True),
        sa.UniqueConstraint("kept_for", name="charges_kept_once"),
        sa.CheckConstraint("(state = 'kept') = (kept_for IS NOT NULL)", name="charges_kept_for_an_order"),
        sa.PrimaryKeyConstraint("provider", "charge_id"),
        **MYSQL,
    )
    op.create_index("charges_of_order", "charges", ["order_id", "taken_at"], unique=False)
    op.create_index("charges_to_refund", "charges", ["next_try_at"], unique=False)
    op.create_index("charges_by_state", "charges", ["state", "refund_since"], unique=False)


def _create_what_every_service_has() -> None:
    op.create_table(
        "transaction_records",
        sa.Column("tx_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=9), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tx_id"),
        **MYSQL,
    )
    op.create_index("ix_transaction_records_decided_at", "transaction_records", ["decided_at"], unique=False)
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
