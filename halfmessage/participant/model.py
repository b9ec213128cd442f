"""The reservation's header: one row for each order that a participant holds something for, or has let go."""

from enum import StrEnum
from typing import Final, Literal

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
    false,
)

from halfmessage.ids import SNOWFLAKE

RESERVATIONS: Final = "reservations"
"""The table's name unless called otherwise, for foreign keys of what an order holds."""

Fate = Literal["stands", "void", "paid"]
"""The order service's word on an order: it stands, it is void, or it is paid."""


class ReservationState(StrEnum):
    """Legal moves: none → deducted → released, and none → released (a tombstone). Nothing leaves `released`."""

    DEDUCTED = "deducted"
    RELEASED = "released"


class UseState(StrEnum):
    """Legal moves: held → used (the order is paid), and either → free (the reservation is released)."""

    HELD = "held"
    USED = "used"
    FREE = "free"


def header_table(metadata: MetaData, name: str = RESERVATIONS) -> Table:
    """Declare the table of headers, called `name`; times in ms since the epoch."""
    return Table(
        name,
        metadata,
        Column("order_id", SNOWFLAKE, primary_key=True, autoincrement=False),
        Column("tx_id", BigInteger, nullable=False),
        Column("state", String(8), nullable=False),
        Column("verified", Boolean, nullable=False, server_default=false()),
        Column("created_at", BigInteger, nullable=False),
        Column("released_at", BigInteger),
        Index(f"{name}_to_verify", "verified", "state", "order_id"),
    )


def use_tables(metadata: MetaData, thing: Column[int]) -> tuple[Table, Table]:
    """Declare what `Limited` writes beside things whose key is `thing`, such as `coupon_id`: uses, and users.

    `coupon_uses`: what each order holds, or held. `coupon_users`: how many uses of a thing a user holds or has had,
    under one text for both ids, since lists of pairs have no index on MariaDB.
    """
    name = thing.name.removesuffix("_id")
    uses = Table(
        f"{name}_uses",
        metadata,
        Column("order_id", SNOWFLAKE, ForeignKey(f"{RESERVATIONS}.order_id"), primary_key=True, autoincrement=False),
        Column(thing.name, SNOWFLAKE, ForeignKey(thing), nullable=False),
        Column("user_id", String(64), nullable=False),
        Column("state", String(4), nullable=False),
        Index(f"{name}_uses_by_{name}", thing.name),
    )
    users = Table(
        f"{name}_users",
        metadata,
        Column(f"{name}_user", String(96), primary_key=True),
        Column("taken", BigInteger, nullable=False),
        CheckConstraint("taken >= 0", name=f"{name}_users_taken_not_negative"),
    )
    return uses, users


def use_of(thing_id: int, user_id: str) -> str:
    """Return the key of how many uses of a thing a user holds or has had."""
    return f"{thing_id} {user_id}"
