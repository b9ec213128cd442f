"""Orders by the transaction that placed them, and by the idempotency key alone: for those who only have that."""

from alembic import op

revision = "order0007"
down_revision = "order0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("orders_of_transaction", "orders", ["tx_id", "order_id"], unique=False)
    op.create_index("keys_of_anybody", "idempotency_keys", ["idempotency_key"], unique=False)


def downgrade() -> None:
    op.drop_index("keys_of_anybody", table_name="idempotency_keys")
    op.drop_index("orders_of_transaction", table_name="orders")
