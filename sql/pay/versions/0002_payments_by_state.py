"""Payments are listed by state, newest first."""

from alembic import op

revision = "pay0002"
down_revision = "pay0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("payments_by_state", "payments", ["state", "order_id"], unique=False)


def downgrade() -> None:
    op.drop_index("payments_by_state", table_name="payments")
