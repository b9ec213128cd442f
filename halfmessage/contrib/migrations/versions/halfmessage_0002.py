"""The log of sagas, and a participant's barrier."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import TEXT, VARCHAR

revision = "halfmessage_0002"
down_revision = "halfmessage_0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CHARSET, _COLLATION = "utf8mb4", "utf8mb4_bin"  # whatever the database's default is
_JSON = sa.Text().with_variant(TEXT(charset=_CHARSET, collation=_COLLATION), "mysql", "mariadb")


def _words(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(VARCHAR(length, charset=_CHARSET, collation=_COLLATION), "mysql", "mariadb")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "halfmessage_sagas",
        sa.Column("run_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("saga", _words(64), nullable=False),
        sa.Column("key", _words(128), nullable=False),
        sa.Column("definition", _words(64), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("owner", _words(64)),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("deadline_at", sa.BigInteger(), nullable=False),
        sa.Column("stalls", sa.Integer(), nullable=False),
        sa.Column("input", _JSON, nullable=False),
        sa.Column("reason", _words(500)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.UniqueConstraint("saga", "key"),
    )
    op.create_index("halfmessage_sagas_by_state", "halfmessage_sagas", ["state", "run_id"])
    for column in ("due_at", "ended_at"):
        op.create_index(f"ix_halfmessage_sagas_{column}", "halfmessage_sagas", [column])
    op.create_table(
        "halfmessage_sagas_steps",
        sa.Column("run_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("step", _words(64), primary_key=True),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(9), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("result", _JSON),
        sa.Column("error", _words(500)),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "halfmessage_barrier",
        sa.Column("step_key", _words(192), primary_key=True),
        sa.Column("state", sa.String(7), nullable=False),
        sa.Column("result", _JSON),
        sa.Column("reason", _words(500)),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_halfmessage_barrier_decided_at", "halfmessage_barrier", ["decided_at"])


def downgrade() -> None:
    """Drop them, with the runs that have not ended: see to those first (`flask tx sagas`)."""
    for name in ("barrier", "sagas_steps", "sagas"):
        op.drop_table(f"halfmessage_{name}")
