"""Pieces that flash sales own."""

import sqlalchemy as sa
from alembic import op

from halfmessage.ids import SNOWFLAKE
from sql.options import MYSQL

revision = "stock0005"
down_revision = "stock0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "allotments",
        sa.Column("sale_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("goods_id", sa.BigInteger(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sale_id"),
        sa.CheckConstraint("quantity >= 0", name="allotments_quantity_not_negative"),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("allotments")
