"""The form that an action was sent with: what is sent with it is done once."""

import sqlalchemy as sa
from alembic import op

revision = "console0002"
down_revision = "console0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("actions", sa.Column("batch", sa.BigInteger(), nullable=True))
    op.create_index("actions_once_for_each_form", "actions", ["batch", "what"], unique=True)


def downgrade() -> None:
    op.drop_index("actions_once_for_each_form", table_name="actions")
    op.drop_column("actions", "batch")
