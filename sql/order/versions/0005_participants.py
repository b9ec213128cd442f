"""Several participants, and coupons: what each has still to confirm of an order is a row of its own.

Closed orders whose release was not confirmed become rows of `settlements`, and orders found without their stock rows of
`orders_unheld`, both of the participant `stock`, the only one until now. What the goods of an order cost is its total:
there were no discounts. One statement each, however many orders there are: migrate while nothing else runs.
"""

import sqlalchemy as sa
from alembic import op

from halfmessage.ids import SNOWFLAKE
from sql.options import MYSQL

revision = "order0005"
down_revision = "order0004"
branch_labels = None
depends_on = None

_PARTICIPANT = sa.String(length=32)


def upgrade() -> None:
    op.create_table(
        "settlements",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("participant", _PARTICIPANT, nullable=False),
        sa.Column("fate", sa.String(length=8), nullable=False),
        sa.Column("tx_id", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "participant"),
        **MYSQL,
    )
    op.create_index("settlements_to_confirm", "settlements", ["participant", "since", "order_id"], unique=False)
    op.create_table(
        "orders_unheld",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("participant", _PARTICIPANT, nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "participant"),
        **MYSQL,
    )
    op.execute(
        "INSERT INTO settlements (order_id, participant, fate, tx_id, since)"
        " SELECT order_id, 'stock', 'void', tx_id, closed_at FROM orders"
        " WHERE status = 'closed' AND release_confirmed = 0"
    )
    op.execute(
        "INSERT INTO orders_unheld (order_id, participant, found_at)"
        " SELECT order_id, 'stock', found_at FROM orders_without_stock"
    )
    op.add_column("orders", sa.Column("coupon_id", sa.BigInteger(), nullable=True))
    for name in ("goods_amount", "discount_amount"):
        op.add_column("orders", sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.execute("UPDATE orders SET goods_amount = total_amount")
    op.drop_table("orders_without_stock")
    op.drop_index("orders_to_confirm", table_name="orders")
    op.drop_column("orders", "release_confirmed")


def downgrade() -> None:
    op.add_column("orders", sa.Column("release_confirmed", sa.Boolean(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "orders_without_stock",
        sa.Column("order_id", SNOWFLAKE, autoincrement=False, nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("order_id"),
        **MYSQL,
    )
    op.execute(
        "UPDATE orders SET release_confirmed = 1 WHERE status = 'closed' AND order_id NOT IN"
        " (SELECT order_id FROM settlements WHERE participant = 'stock' AND fate = 'void')"
    )
    op.execute(
        "INSERT INTO orders_without_stock (order_id, found_at)"
        " SELECT order_id, found_at FROM orders_unheld WHERE participant = 'stock'"
    )
    op.create_index("orders_to_confirm", "orders", ["status", "release_confirmed", "closed_at"], unique=False)
    for name in ("discount_amount", "goods_amount", "coupon_id"):
        op.drop_column("orders", name)
    op.drop_table("orders_unheld")
    op.drop_index("settlements_to_confirm", table_name="settlements")
    op.drop_table("settlements")
