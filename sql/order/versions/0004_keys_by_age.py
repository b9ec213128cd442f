"""Idempotency keys by the age of their orders: they are purged by it."""

from alembic import op

revision = "order0004"
down_revision = "order0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_idempotency_keys_order_id"), "idempotency_keys", ["order_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_idempotency_keys_order_id"), table_name="idempotency_keys")
