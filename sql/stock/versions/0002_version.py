"""A version of each level: what optimistic and fenced deductions are checked against."""

import sqlalchemy as sa
from alembic import op

revision = "stock0002"
down_revision = "stock0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stock", sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    op.drop_column("stock", "version")
