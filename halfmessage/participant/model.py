"""The reservation's header: one row for each order that a participant holds something for, or has let go."""

from enum import StrEnum
from typing import Final, Literal

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, String, Table, false

from halfmessage.ids import SNOWFLAKE

RESERVATIONS: Final = "reservations"
"""The table's name unless called otherwise, for foreign keys of what an order holds."""

Fate = Literal["stands", "void", "paid"]
"""The order service's word on an order: it stands, it is void, or it is paid."""


class ReservationState(StrEnum):
    """Legal moves: none → deducted → released, and none → released (a tombstone). Nothing leaves `released`."""

    DEDUCTED = "deducted"
    RELEASED = "released"


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
