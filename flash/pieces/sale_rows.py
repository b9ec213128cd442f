"""The rows of sales and of transactions' records, and the database's clock."""

from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, text, update

from flash.pieces.port import Terms
from flash.pieces.tables import PiecesTables
from halfmessage.tx.record import Outcome

_CLOCKS: Final = {
    "sqlite": "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000",
}
_BEING_FORGOTTEN: Final = -1
"""The version of a sale's terms while its purchases are deleted: it is not known, and nothing is counted for it."""

_FORGOTTEN: Final = Outcome.EXPIRED
"""Of the record under a sale's own id, which no transaction has: what was taken until then may not be known any more.
It outlives the sale's row, as long as the records that it is about."""


class BeingForgotten(Exception):
    """The rest of a sale is to be forgotten before anything is written of it."""

    def __init__(self, sale_id: int) -> None:
        """Take the sale."""
        super().__init__(sale_id)
        self.sale_id = sale_id


class SaleRows:
    """Reads and writes them."""

    def __init__(self, tables: PiecesTables, dialect: str, *, keep_ms: int) -> None:
        """Take the tables, SQLAlchemy's name of the database's dialect, and how long a sale is kept."""
        self._sales, self._records = tables.sales, tables.records
        self._clock = text(_CLOCKS["mysql" if dialect == "mariadb" else dialect])
        self._keep_ms = keep_ms

    def now(self, connection: Connection) -> int:
        """Return the database's time (ms since the epoch): ask after a lock was waited for, not before."""
        return int(connection.scalars(self._clock).one())

    def find(self, connection: Connection, sale_id: int, *, locked: bool = False) -> Any:
        """Return the row of a sale whose terms are known, else None."""
        sale = self._row(connection, sale_id, locked=locked)
        return sale if sale is not None and sale.version > 0 else None

    def lock(self, connection: Connection, sale_id: int) -> Any:
        """Return the row of a sale, locked; one that says nothing yet where there was none. Raise `BeingForgotten`."""
        if (sale := self._row(connection, sale_id, locked=True)) is None:
            kept_until = self.now(connection) + self._keep_ms
            connection.execute(insert(self._sales), {"sale_id": sale_id, "kept_until": kept_until})
            sale = self._row(connection, sale_id, locked=True)
        if sale.version == _BEING_FORGOTTEN:
            raise BeingForgotten(sale_id)
        return sale

    def begin_to_forget(self, connection: Connection, sale_id: int) -> bool:
        """Forget the terms of a sale, at once; return whether there is more of it."""
        if self._row(connection, sale_id, locked=True) is None:
            return False
        self.change(connection, sale_id, version=_BEING_FORGOTTEN, is_ready=False)
        connection.execute(delete(self._records).where(self._records.c.tx_id == sale_id))
        self.add_record(connection, sale_id, _FORGOTTEN)
        return True

    def forgotten_at(self, connection: Connection, sale_id: int) -> int | None:
        """Return when a sale was forgotten last, None where it was not since records are kept."""
        columns = self._records.c
        return connection.scalars(select(columns.decided_at).where(columns.tx_id == sale_id)).one_or_none()

    def is_being_forgotten(self, connection: Connection, sale_id: int) -> bool:
        """Tell whether there is more to forget of a sale, and lock its row."""
        sale = self._row(connection, sale_id, locked=True)
        return sale is not None and sale.version == _BEING_FORGOTTEN

    def change(self, connection: Connection, sale_id: int, **values: Any) -> None:
        """Change columns of a sale."""
        connection.execute(update(self._sales).where(self._sales.c.sale_id == sale_id).values(values))

    def put(self, connection: Connection, terms: Terms) -> None:
        """Write the terms of a sale, unless they are as new already; its end in any case."""
        sale = self.lock(connection, terms.sale_id)
        if terms.is_ended:
            self.change(connection, terms.sale_id, is_ended=True)
        if terms.version > sale.version:
            names = ("version", "quantity", "starts_at", "ends_at", "per_user")
            kept_until = max(terms.ends_at, self.now(connection)) + self._keep_ms
            values = {name: getattr(terms, name) for name in names}
            self.change(connection, terms.sale_id, kept_until=kept_until, **values)

    def count_aborted(self, connection: Connection, sale_id: int) -> None:
        """Count one more transaction that the checker decided."""
        self.change(connection, sale_id, aborted=self._sales.c.aborted + 1)

    def kept_until_before(self, connection: Connection, now: int) -> list[int]:
        """Return the sales that may be forgotten."""
        columns = self._sales.c
        return list(connection.scalars(select(columns.sale_id).where(columns.kept_until < now)))

    def forget(self, connection: Connection, sale_id: int) -> None:
        """Delete the row of a sale."""
        connection.execute(delete(self._sales).where(self._sales.c.sale_id == sale_id))

    def record(self, connection: Connection, tx_id: int) -> Outcome | None:
        """Return how a transaction was decided, None where it was not."""
        columns = self._records.c
        outcome = connection.scalars(select(columns.outcome).where(columns.tx_id == tx_id)).one_or_none()
        return None if outcome is None else Outcome(outcome)

    def add_record(self, connection: Connection, tx_id: int, outcome: Outcome) -> None:
        """Decide a transaction."""
        row = {"tx_id": tx_id, "outcome": outcome.value, "decided_at": self.now(connection)}
        connection.execute(insert(self._records), row)

    def _row(self, connection: Connection, sale_id: int, *, locked: bool) -> Any:
        query = select(self._sales).where(self._sales.c.sale_id == sale_id)
        return connection.execute(query.with_for_update() if locked else query).one_or_none()


def terms_of(sale: Any) -> Terms:
    """Return the terms that a row has."""
    names = ("sale_id", "version", "quantity", "starts_at", "ends_at", "per_user")
    return Terms(**{name: getattr(sale, name) for name in names}, is_ended=bool(sale.is_ended))
