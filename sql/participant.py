"""What every participant begins with, for its first migration. It never changes: what comes later is a migration."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

SNOWFLAKE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def create_tables() -> None:
    """Create the table of reservations' headers, and that of the heartbeat."""
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
        "heartbeat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **MYSQL,
    )
