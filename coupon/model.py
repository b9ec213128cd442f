"""Tables of the coupon service: coupons, and which orders hold or have used one.

Times in ms since the epoch, UTC; money in integer minor units.
"""

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
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
from halfmessage.participant.model import RESERVATIONS, header_table

metadata = MetaData()


class UseState(StrEnum):
    """Legal moves: held → used (the order is paid), and either → free (the reservation is released)."""

    HELD = "held"
    USED = "used"
    FREE = "free"


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

coupon_uses = Table(
    "coupon_uses",
    metadata,
    Column("order_id", SNOWFLAKE, ForeignKey(f"{RESERVATIONS}.order_id"), primary_key=True, autoincrement=False),
    Column("coupon_id", SNOWFLAKE, ForeignKey("coupons.coupon_id"), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("state", String(4), nullable=False),
    Index("coupon_uses_by_coupon", "coupon_id"),
)

coupon_users = Table(  # one text for both ids: lists of pairs have no index on MariaDB
    "coupon_users",
    metadata,
    Column("coupon_user", String(96), primary_key=True),
    Column("taken", BigInteger, nullable=False),
    CheckConstraint("taken >= 0", name="coupon_users_taken_not_negative"),
)

worker_leases = lease_table(metadata)
heartbeat = heartbeat_table(metadata)
idempotency_keys = key_table(metadata)


def coupon_user(coupon_id: int, user_id: str) -> str:
    """Return the key of how many uses of a coupon a user holds or has had."""
    return f"{coupon_id} {user_id}"
