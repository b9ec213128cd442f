"""The tables of the store that is a database. Times in ms since the epoch, UTC."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, false, text

from halfmessage.tx.record import record_table

SALES: Final = "pieces_sales"
PURCHASES: Final = "pieces_purchases"
BUYERS: Final = "pieces_buyers"
PLACES: Final = "pieces_places"
RECORDS: Final = "pieces_records"


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


class PiecesTables:
    """The tables, declared in a service's metadata."""

    def __init__(self, metadata: MetaData) -> None:
        """Declare them. `version` 0: only purchases of the sale are known so far, or its end."""
        self.sales = Table(
            SALES,
            metadata,
            Column("sale_id", BigInteger, primary_key=True, autoincrement=False),
            *(_count(name) for name in ("version", "quantity", "starts_at", "ends_at")),
            Column("per_user", Integer, nullable=False, server_default=text("0")),
            Column("is_ended", Boolean, nullable=False, server_default=false()),
            Column("is_ready", Boolean, nullable=False, server_default=false()),
            *(_count(name) for name in ("pieces", "taken", "held", "returned", "aborted", "kept_until")),
            Index("pieces_sales_to_purge", "kept_until"),
        )
        self.purchases = Table(
            PURCHASES,
            metadata,
            Column("sale_id", BigInteger, primary_key=True, autoincrement=False),
            Column("purchase_id", BigInteger, primary_key=True, autoincrement=False),
            Column("user_id", String(64), nullable=False),
            Column("quantity", BigInteger, nullable=False),
            Column("state", String(8), nullable=False),
            Column("tx_id", BigInteger, nullable=False),
            Index("pieces_purchases_by_state", "sale_id", "state", "purchase_id"),
        )
        self.buyers = Table(
            BUYERS,
            metadata,
            Column("sale_id", BigInteger, primary_key=True, autoincrement=False),
            Column("user_id", String(64), primary_key=True),
            Column("pieces", BigInteger, nullable=False),
            Column("first_purchase_id", BigInteger, nullable=False),
        )
        self.places = Table(
            PLACES,
            metadata,
            Column("sale_id", BigInteger, primary_key=True, autoincrement=False),
            Column("user_id", String(64), primary_key=True),
            Column("place", BigInteger, nullable=False),
            Column("turn_us", BigInteger, nullable=False),
            Index("pieces_places_in_order", "sale_id", "place"),
        )
        self.records = record_table(metadata, RECORDS)
