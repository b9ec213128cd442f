"""Orders that stand without their stock, as the audit finds them after a database was restored."""

import sqlalchemy as sa
from alembic import op

from halfmessage.ids import SNOWFLAKE
from sql.options import MYSQL

revision = "order0003"
down_revision = "order0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "orders_without_stock",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
        **MYSQL,
    )


def downgrade() -> None:
    op.drop_table("orders_without_stock")
