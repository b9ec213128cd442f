"""The X-Request-Id of the calls that placed orders, for those who only have that."""

import sqlalchemy as sa
from alembic import op

from halfmessage.ids import SNOWFLAKE
from sql.options import MYSQL

revision = "order0009"
down_revision = "order0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "placing_calls",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
        **MYSQL,
    )
    op.create_index("placing_calls_by_request", "placing_calls", ["request_id", "order_id"], unique=False)


def downgrade() -> None:
    op.drop_table("placing_calls")
