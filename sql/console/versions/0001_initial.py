"""What people did through the console, and what every service has."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "console0001"
down_revision = None
branch_labels = None
depends_on = None

SNOWFLAKE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "actions",
        sa.Column("action_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("what", sa.String(length=128), nullable=False),
        sa.Column("why", sa.String(length=255), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.String(length=1024), nullable=False),
        sa.Column("effect_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("action_id"),
        **MYSQL,
    )
    op.create_index("actions_of_a_thing", "actions", ["what", "action_id"], unique=False)
    op.create_index("actions_by_age", "actions", ["at"], unique=False)
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
