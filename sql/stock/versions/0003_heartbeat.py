"""A row that is written to see whether the database can be."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "stock0003"
down_revision = "stock0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "heartbeat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("heartbeat")
