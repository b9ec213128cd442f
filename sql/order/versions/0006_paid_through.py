"""Who took the money for an order: not known for those that were paid before there was a pay service."""

import sqlalchemy as sa
from alembic import op

revision = "order0006"
down_revision = "order0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("paid_through", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "paid_through")
