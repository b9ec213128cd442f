"""Orders that are submitted now and placed soon."""

import sqlalchemy as sa
from alembic import op

from halfmessage.ids import SNOWFLAKE
from sql.options import MYSQL

revision = "order0008"
down_revision = "order0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "order_requests",
        sa.Column("request_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("tx_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=True),
        sa.Column("order_id", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.JSON(), nullable=True),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("request_id"),
        **MYSQL,
    )
    op.create_index("ix_order_requests_order_id", "order_requests", ["order_id"], unique=False)
    op.create_index("requests_of_key", "order_requests", ["user_id", "idempotency_key"], unique=True)
    op.create_index("requests_by_state", "order_requests", ["state", "request_id"], unique=False)
    op.create_index("requests_of_user", "order_requests", ["user_id", "state"], unique=False)


def downgrade() -> None:
    op.drop_table("order_requests")
