"""Orders that were bought in a flash sale."""

import sqlalchemy as sa
from alembic import op

revision = "order0010"
down_revision = "order0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("sale_id", sa.BigInteger(), nullable=True))
    op.add_column("orders", sa.Column("purchase_id", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "purchase_id")
    op.drop_column("orders", "sale_id")
