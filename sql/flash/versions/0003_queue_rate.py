"""How many buyers of a sale have their turn in a second, where the sale says so."""

import sqlalchemy as sa
from alembic import op

revision = "flash0003"
down_revision = "flash0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sales", sa.Column("queue_rate", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("sales", "queue_rate")
