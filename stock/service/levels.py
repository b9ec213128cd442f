"""How much there is of each goods."""

from dataclasses import dataclass

from sqlalchemy import Connection, Update, insert, select, update

from common.db import Database
from common.errors import Invalid
from common.idempotency import Answered, IdempotencyKey, Keys
from halfmessage.errors import DuplicateRow
from stock.model import BelowReserved, idempotency_keys, stock

MOST = 1_000_000_000_000  # pieces of one goods


@dataclass(frozen=True, slots=True)
class Level:
    """Pieces of one goods: all of them, and those that no live reservation holds."""

    goods_id: int
    total: int
    available: int


class Levels:
    """The stock levels of one database."""

    def __init__(self, database: Database) -> None:
        """Take the stock service's database."""
        self._database = database
        self._answered = Keys(database, idempotency_keys, lambda answer: Level(**answer))

    def get(self, goods_id: int) -> Level:
        """Return the level of one goods; of goods that never had stock: nothing of it."""
        with self._database.read() as connection:
            return _read(connection, goods_id)

    def set_total(self, goods_id: int, total: int) -> Level:
        """Set how many pieces there are, reserved ones included. Raise `BelowReserved`."""
        reserved = stock.c.total - stock.c.available

        def work(connection: Connection) -> Level:
            change = (
                update(stock)
                .where((stock.c.goods_id == goods_id) & (reserved <= total))
                .ordered_values(  # MySQL computes from left to right
                    (stock.c.available, total - reserved),
                    (stock.c.total, total),
                    (stock.c.version, stock.c.version + 1),
                )
            )
            _change_or_insert(connection, change, goods_id, total, otherwise=BelowReserved())
            return _read(connection, goods_id)

        try:
            return self._database.transact(work)
        except DuplicateRow:  # another call inserted the goods first: now there is a row to update
            return self._database.transact(work)

    def restock(self, goods_id: int, quantity: int, key: IdempotencyKey | None = None) -> Answered[Level]:
        """Add pieces, once for each key.

        Raise `Invalid` where there would be more than `MOST`, `IdempotencyMismatch`, `Unavailable` or `OutcomeUnknown`.
        """

        def work(connection: Connection) -> Level:
            change = (
                update(stock)
                .where((stock.c.goods_id == goods_id) & (stock.c.total + quantity <= MOST))
                .values(available=stock.c.available + quantity, total=stock.c.total + quantity)
            )
            too_many = [{"pointer": "/quantity", "message": f"there would be more than {MOST} pieces"}]
            _change_or_insert(connection, change, goods_id, quantity, otherwise=Invalid(errors=too_many))
            return _read(connection, goods_id)

        return self._answered.once(key, work)

    def withdraw(self, goods_id: int, quantity: int, key: IdempotencyKey | None = None) -> Answered[Level]:
        """Take out pieces that no live reservation holds, once for each key.

        Raise `BelowReserved` where there are fewer, `IdempotencyMismatch`, `Unavailable` or `OutcomeUnknown`.
        """
        change = (
            update(stock)
            .where((stock.c.goods_id == goods_id) & (stock.c.available >= quantity))
            .values(
                available=stock.c.available - quantity,
                total=stock.c.total - quantity,
                version=stock.c.version + 1,
            )
        )

        def work(connection: Connection) -> Level:
            if connection.execute(change).rowcount == 0:
                raise BelowReserved
            return _read(connection, goods_id)

        return self._answered.once(key, work)


def _change_or_insert(
    connection: Connection, change: Update, goods_id: int, pieces: int, *, otherwise: Exception
) -> None:
    """Change the row that there is, or insert it; raise `otherwise` for one that the change does not fit."""
    if connection.execute(change).rowcount == 1:
        return
    if connection.execute(select(stock.c.goods_id).where(stock.c.goods_id == goods_id)).first() is None:
        connection.execute(insert(stock).values(goods_id=goods_id, total=pieces, available=pieces))
    elif connection.execute(change).rowcount == 0:  # not one that was committed between our two looks, either
        raise otherwise


def _read(connection: Connection, goods_id: int) -> Level:
    row = connection.execute(select(stock.c.total, stock.c.available).where(stock.c.goods_id == goods_id)).one_or_none()
    return Level(goods_id, *row) if row else Level(goods_id, 0, 0)
