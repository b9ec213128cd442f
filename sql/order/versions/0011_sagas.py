"""Orders that were returned, and the log of the sagas that do it."""

import sqlalchemy as sa
from alembic import op

from halfmessage.ids import SNOWFLAKE
from sql.options import MYSQL

revision = "order0011"
down_revision = "order0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("returned_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "sagas",
        sa.Column("run_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("saga", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("definition", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("deadline_at", sa.BigInteger(), nullable=False),
        sa.Column("stalls", sa.Integer(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("run_id"),
        sa.UniqueConstraint("saga", "key"),
        **MYSQL,
    )
    op.create_index("ix_sagas_due_at", "sagas", ["due_at"], unique=False)
    op.create_index("ix_sagas_ended_at", "sagas", ["ended_at"], unique=False)
    op.create_index("sagas_by_state", "sagas", ["state", "run_id"], unique=False)
    op.create_table(
        "sagas_steps",
        sa.Column("run_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("error", sa.String(length=500), nullable=True),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step"),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("sagas_steps")
    op.drop_table("sagas")
    op.drop_column("orders", "returned_at")
