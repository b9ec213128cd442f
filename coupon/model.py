"""Tables of the coupon service: coupons, and which orders hold or have used one.

Times in ms since the epoch, UTC; money in integer minor units.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
)

from common.heartbeat import heartbeat_table
from common.idempotency import key_table
from halfmessage.errors import Conflict
from halfmessage.ids import SNOWFLAKE, lease_table
from halfmessage.participant.model import header_table, use_tables

metadata = MetaData()


class CodeTaken(Conflict):
    """Another coupon has this code."""

    slug, title = "code-taken", "Code taken"


coupons = Table(
    "coupons",
    metadata,
    Column("coupon_id", SNOWFLAKE, primary_key=True, autoincrement=False),
    Column("code", String(64), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("value", BigInteger, nullable=False),
    Column("currency", String(3)),
    Column("minimum_amount", BigInteger, nullable=False),
    Column("user_id", String(64)),
    Column("uses", BigInteger, nullable=False),
    Column("uses_per_user", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False, server_default=text("0")),
    Column("used", BigInteger, nullable=False, server_default=text("0")),
    Column("starts_at", BigInteger),
    Column("ends_at", BigInteger),
    Column("withdrawn", Boolean, nullable=False, server_default=false()),
    Column("version", BigInteger, nullable=False, server_default=text("1")),  # of the rules: what orders rely on
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("code", name="coupons_code"),
    CheckConstraint("held >= 0 AND used >= 0", name="coupons_counts_not_negative"),
    CheckConstraint("held + used <= uses", name="coupons_uses_not_exceeded"),
    Index("coupons_by_user", "user_id", "coupon_id"),
)

reservations = header_table(metadata)
coupon_uses, coupon_users = use_tables(metadata, coupons.c.coupon_id)
worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
idempotency_keys = key_table(metadata)
