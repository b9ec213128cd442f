"""Places in the queues of sales, where the store of pieces is this database."""

import sqlalchemy as sa
from alembic import op

from sql.options import MYSQL

revision = "flash0002"
down_revision = "flash0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "pieces_places",
        sa.Column("sale_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("turn_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sale_id", "user_id"),
        **MYSQL,
    )
    op.create_index("pieces_places_in_order", "pieces_places", ["sale_id", "place"], unique=False)


def downgrade() -> None:
    op.drop_table("pieces_places")
