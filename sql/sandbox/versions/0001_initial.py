"""The sandbox provider's books: sessions, charges, refunds, what is told of them, and the faults it has."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "sandbox0001"
down_revision = None
branch_labels = None
depends_on = None

SNOWFLAKE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "faults",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("chance", sa.BigInteger(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("longest", sa.BigInteger(), nullable=False),
        sa.Column("drawn", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("struck", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
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
        "sessions",
        sa.Column("session_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("attempt_id", sa.BigInteger(), nullable=False),
        sa.Column("payment_id", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("callback_url", sa.String(length=255), nullable=False),
        sa.Column("scenario", sa.String(length=32), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
        sa.UniqueConstraint("attempt_id", name="sessions_attempt"),
        sa.UniqueConstraint("reference", name="sessions_reference"),
        sa.CheckConstraint("amount > 0", name="sessions_amount_positive"),
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
        "charges",
        sa.Column("charge_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("session_id", SNOWFLAKE, nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("refund_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount > 0", name="charges_amount_positive"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"]),
        sa.PrimaryKeyConstraint("charge_id"),
        **MYSQL,
    )
    op.create_index("charges_by_session", "charges", ["session_id"], unique=False)
    op.create_table(
        "events",
        sa.Column("event_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("session_id", SNOWFLAKE, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("charge_id", sa.BigInteger(), nullable=True),
        sa.Column("refund_id", sa.BigInteger(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"]),
        sa.PrimaryKeyConstraint("event_id"),
        **MYSQL,
    )
    op.create_index("events_by_session", "events", ["session_id"], unique=False)
    op.create_table(
        "plans",
        sa.Column("plan_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("session_id", SNOWFLAKE, nullable=False),
        sa.Column("refund_id", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.session_id"]),
        sa.PrimaryKeyConstraint("plan_id"),
        **MYSQL,
    )
    op.create_index("plans_due", "plans", ["due_at"], unique=False)
    op.create_table(
        "callbacks",
        sa.Column("callback_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("event_id", SNOWFLAKE, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("answer", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(["event_id"], ["events.event_id"]),
        sa.PrimaryKeyConstraint("callback_id"),
        **MYSQL,
    )
    op.create_index("callbacks_by_event", "callbacks", ["event_id"], unique=False)
    op.create_index("callbacks_due", "callbacks", ["state", "due_at"], unique=False)
    op.create_table(
        "refunds",
        sa.Column("refund_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("charge_id", SNOWFLAKE, nullable=False),
        sa.Column("refund_key", sa.String(length=255), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("done_at", sa.BigInteger(), nullable=True),
        sa.UniqueConstraint("refund_key", name="refunds_key"),
        sa.ForeignKeyConstraint(["charge_id"], ["charges.charge_id"]),
        sa.PrimaryKeyConstraint("refund_id"),
        **MYSQL,
    )
    op.create_index("refunds_by_charge", "refunds", ["charge_id"], unique=False)
