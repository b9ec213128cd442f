"""The record, the leases of worker ids, the inbox, the outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "halfmessage_0001"
down_revision = None
branch_labels = ("halfmessage",)
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BODY = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "halfmessage_records",
        sa.Column("tx_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.String(9), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_halfmessage_records_decided_at", "halfmessage_records", ["decided_at"])
    op.create_table(
        "halfmessage_leases",
        sa.Column("worker_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "halfmessage_inbox",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("consumer_group", sa.String(64), nullable=False),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("once_key", sa.String(255), nullable=False),
        sa.Column("handled_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_halfmessage_inbox_handled_at", "halfmessage_inbox", ["handled_at"])
    op.create_table(
        "halfmessage_outbox",
        sa.Column("id", _ID, primary_key=True, autoincrement=False),
        sa.Column("topic", sa.String(64), nullable=False),
        sa.Column("message_key", sa.String(128), nullable=False),
        sa.Column("body", _BODY, nullable=False),
        sa.Column("born_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_halfmessage_outbox_message_key", "halfmessage_outbox", ["message_key"])
    op.create_index("ix_halfmessage_outbox_topic", "halfmessage_outbox", ["topic", "id"])
    op.create_table(
        "halfmessage_subscriptions",
        sa.Column("topic", sa.String(64), primary_key=True),
        sa.Column("consumer_group", sa.String(64), primary_key=True),
    )
    op.create_table(
        "halfmessage_deliveries",
        sa.Column("message_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("consumer_group", sa.String(64), primary_key=True),
        sa.Column("state", sa.String(7), nullable=False),
        sa.Column("visible_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(32)),
    )
    op.create_index(
        "ix_halfmessage_deliveries_due", "halfmessage_deliveries", ["consumer_group", "state", "visible_at"]
    )


def downgrade() -> None:
    """Drop them: open transactions can't be told apart from aborted ones any more, so stop every process first."""
    for name in ("deliveries", "subscriptions", "outbox", "inbox", "leases", "records"):
        op.drop_table(f"halfmessage_{name}")
