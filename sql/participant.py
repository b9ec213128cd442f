"""What participants begin with, for a first migration. It never changes: what comes later is a migration."""

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


def create_use_tables(name: str) -> None:
    """Create what `halfmessage.participant.limited` writes beside the table of things, `<name>s` with `<name>_id`."""
    op.create_table(
        f"{name}_uses",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column(f"{name}_id", SNOWFLAKE, nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=4), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
        sa.ForeignKeyConstraint(["order_id"], ["reservations.order_id"]),
        sa.ForeignKeyConstraint([f"{name}_id"], [f"{name}s.{name}_id"]),
        **MYSQL,
    )
    op.create_index(f"{name}_uses_by_{name}", f"{name}_uses", [f"{name}_id"], unique=False)
    op.create_table(
        f"{name}_users",
        sa.Column(f"{name}_user", sa.String(length=96), nullable=False),
        sa.Column("taken", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(f"{name}_user"),
        sa.CheckConstraint("taken >= 0", name=f"{name}_users_taken_not_negative"),
        **MYSQL,
    )
