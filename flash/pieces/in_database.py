"""Pieces in a database: the embedded default on SQLite, and MySQL or MariaDB where there is no Redis.

Each call that changes anything is one transaction, which locks the sale's row first: so calls of one sale take turns,
and none deadlocks with another.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import Connection

from common.db import Database
from common.purging import purge
from flash.pieces.places import PlaceRows
from flash.pieces.port import (
    KEEP,
    MOST,
    MOST_PLACES,
    TAKE_WITHIN,
    Answer,
    Buyer,
    Look,
    Place,
    Purchase,
    PurchaseState,
    Terms,
    Totals,
    Verdict,
    in_step,
)
from flash.pieces.purchase_rows import PurchaseRows
from flash.pieces.sale_rows import BeingForgotten, SaleRows, terms_of
from flash.pieces.tables import PiecesTables
from flash.pieces.taking import Taking, again, all_of, bounded, phase_of
from halfmessage.errors import DuplicateRow, NotFound, Unavailable
from halfmessage.ids import issued_at
from halfmessage.tx.record import Outcome

T = TypeVar("T")

_TRIES: Final = 3  # of a transaction whose row another one wrote first: it is found then


class DatabasePieces:
    """Implements `Pieces` in a service's database."""

    def __init__(
        self,
        database: Database,
        tables: PiecesTables,
        *,
        keep: float = KEEP,
        take_within: float = TAKE_WITHIN,
        most_places: int = MOST_PLACES,
    ) -> None:
        """Take the database and its tables. `keep`, `take_within`: see `KEEP` and `TAKE_WITHIN`, in seconds.

        `most_places`: see `MOST_PLACES`.
        """
        self._most_places = most_places
        self._database = database
        self._tables = tables
        self._keep_ms = int(keep * 1000)
        self._within_ms = int(take_within * 1000)
        self._sales = SaleRows(tables, database.engine.dialect.name, keep_ms=self._keep_ms)
        self._rows, self._places = PurchaseRows(tables), PlaceRows(tables)

    def take(self, sale_id: int, tx_id: int, buyers: Sequence[Buyer]) -> list[Answer]:
        """See `Pieces`."""
        bounded(len(buyers), MOST)
        return self._transact(lambda connection: self._take(connection, sale_id, tx_id, buyers))

    def look(self, sale_id: int, user_ids: Sequence[str] = ()) -> Look | None:
        """See `Pieces`."""
        bounded(len(user_ids), MOST)
        with self._database.read() as connection:
            sale = self._sales.find(connection, sale_id)
            if sale is None:
                return None
            had = self._rows.had(connection, sale_id, user_ids)
            phase = phase_of(terms_of(sale), self._sales.now(connection))
        bought = {user_id: first for user_id, (_, first) in had.items()}
        return Look(phase, max(0, sale.quantity - sale.pieces), bool(sale.is_ready), bought)

    def decide(self, sale_id: int, tx_id: int) -> Outcome | None:
        """See `Pieces`."""
        return self._transact(lambda connection: self._decide(connection, sale_id, tx_id))

    def hold(self, sale_id: int, purchases: Sequence[Buyer]) -> list[bool]:
        """See `Pieces`."""
        return self._settle(sale_id, purchases, PurchaseState.HELD)

    def give_back(self, sale_id: int, purchases: Sequence[Buyer]) -> list[bool]:
        """See `Pieces`."""
        return self._settle(sale_id, purchases, PurchaseState.RETURNED)

    def put(self, terms: Terms) -> None:
        """See `Pieces`."""
        self._transact(lambda connection: self._sales.put(connection, terms))

    def set_ready(self, sale_id: int) -> None:
        """See `Pieces`."""

        def work(connection: Connection) -> None:
            if self._sales.find(connection, sale_id, locked=True) is None:
                raise NotFound
            self._sales.change(connection, sale_id, is_ready=True)

        self._transact(work)

    def end(self, sale_id: int) -> None:
        """See `Pieces`."""

        def work(connection: Connection) -> None:
            self._sales.lock(connection, sale_id)
            self._sales.change(connection, sale_id, is_ended=True)

        self._transact(work)

    def find(self, sale_id: int, purchase_ids: Sequence[int]) -> dict[int, Purchase]:
        """See `Pieces`."""
        bounded(len(purchase_ids), MOST)
        with self._database.read() as connection:
            return self._rows.find(connection, sale_id, purchase_ids)

    def open_purchases(self, sale_id: int, *, before: int, after: int = 0, limit: int = MOST) -> list[Purchase]:
        """See `Pieces`."""
        bounded(limit, MOST)
        columns = self._tables.purchases.c
        is_between = (columns.purchase_id > after) & (columns.purchase_id < before)
        which = (columns.state == PurchaseState.TAKEN.value, is_between)
        with self._database.read() as connection:
            return self._rows.page(connection, sale_id, limit, *which)

    def forget(self, sale_id: int) -> None:
        """See `Pieces`."""
        if self._transact(lambda connection: self._sales.begin_to_forget(connection, sale_id)):
            self._go_on_forgetting(sale_id)

    def forgotten_till(self, sale_id: int) -> int:
        """See `Pieces`."""
        with self._database.read() as connection:
            at = self._sales.forgotten_at(connection, sale_id)
        return 0 if at is None else at + self._within_ms

    def queue(self, sale_id: int, user_ids: Sequence[str], *, between: int) -> list[Place | None] | None:
        """See `Pieces`."""
        bounded(len(user_ids), MOST)

        def work(connection: Connection) -> list[Place | None] | None:
            sale = self._sales.find(connection, sale_id, locked=True)
            if sale is None:
                return None
            first, most = max(self._sales.now(connection), sale.starts_at), self._most_places
            return self._places.give(connection, sale_id, user_ids, between=between, first=first, most=most)

        return self._transact(work)

    def purchases(self, sale_id: int) -> Iterator[Purchase]:
        """See `Pieces`."""
        after = -1
        while True:
            with self._database.read() as connection:
                page = self._rows.page(connection, sale_id, MOST, self._tables.purchases.c.purchase_id > after)
            yield from page
            if not page:
                return
            after = page[-1].purchase_id

    def totals(self, sale_id: int) -> Totals | None:
        """See `Pieces`."""
        with self._database.read() as connection:
            sale = self._sales.find(connection, sale_id)
        if sale is None:
            return None
        return Totals(sale.quantity, sale.pieces, sale.taken, sale.held, sale.returned, sale.aborted)

    def purge(self) -> int:
        """See `Pieces`."""
        with self._database.read() as connection:
            now = self._sales.now(connection)
            over = self._sales.kept_until_before(connection, now)
        purged = sum(map(self._forget, over))
        # Twice as long, as `Records.purge`: clocks may differ, and decisions be late, by as much
        return purged + purge(self._database, self._tables.records.c.decided_at, now - 2 * self._keep_ms)

    def incarnation(self) -> str:
        """See `Pieces`: what a database has committed, it does not lose."""
        return "database"

    def ping(self) -> None:
        """See `Pieces`."""
        with self._database.read() as connection:
            in_step(self._sales.now(connection), self._within_ms)

    def close(self) -> None:
        """See `Pieces`: the database is the service's, which closes it."""

    def _take(self, connection: Connection, sale_id: int, tx_id: int, buyers: Sequence[Buyer]) -> list[Answer]:
        sale = self._sales.find(connection, sale_id, locked=True)
        record = self._sales.record(connection, tx_id)
        known = self._rows.find(connection, sale_id, [buyer.purchase_id for buyer in buyers])
        if record is Outcome.COMMITTED:
            is_taken = {one.purchase_id: one.state is not PurchaseState.RETURNED for one in known.values()}
            return again(buyers, is_taken)
        now = self._sales.now(connection)
        if record is not None or abs(now - issued_at(tx_id)) >= self._within_ms:
            return all_of(Verdict.ABORTED, buyers)
        if sale is None or not sale.is_ready:
            return all_of(Verdict.UNKNOWN_SALE, buyers)
        terms, had = terms_of(sale), self._rows.had(connection, sale_id, {buyer.user_id for buyer in buyers})
        taking = Taking(terms, sale.quantity - sale.pieces, phase_of(terms, now), set(known), had)
        answers = taking.answer_all(buyers)
        taken = [buyer for buyer, answer in zip(buyers, answers, strict=True) if answer.verdict is Verdict.TAKEN]
        if taken:
            self._sales.add_record(connection, tx_id, Outcome.COMMITTED)
            self._rows.add(connection, sale_id, taken, PurchaseState.TAKEN, tx_id)
        return answers

    def _decide(self, connection: Connection, sale_id: int, tx_id: int) -> Outcome | None:
        sale = self._sales.find(connection, sale_id, locked=True)
        record = self._sales.record(connection, tx_id)
        if record is not None:
            return record
        age = self._sales.now(connection) - issued_at(tx_id)
        if abs(age) < self._within_ms:
            return None
        if age > self._keep_ms:
            return Outcome.EXPIRED
        self._sales.add_record(connection, tx_id, Outcome.ABORTED)
        if sale is not None:
            self._sales.count_aborted(connection, sale_id)
        return Outcome.ABORTED

    def _settle(self, sale_id: int, purchases: Sequence[Buyer], state: PurchaseState) -> list[bool]:
        bounded(len(purchases), MOST)
        if not purchases:
            return []

        def work(connection: Connection) -> list[bool]:
            self._sales.lock(connection, sale_id)
            return self._rows.settle(connection, sale_id, purchases, state)

        return self._transact(work)

    def _go_on_forgetting(self, sale_id: int) -> None:
        """Forget the rest of a sale that is being forgotten, so many rows a transaction; whatever needs it may."""

        def some(connection: Connection) -> bool:
            if not self._sales.is_being_forgotten(connection, sale_id):
                return False
            if self._rows.forget(connection, sale_id, MOST):
                return True
            self._sales.forget(connection, sale_id)
            return False

        while self._database.transact(some):
            pass

    def _forget(self, sale_id: int) -> int:
        """Delete all of a sale, so many rows a transaction; return how many there were."""
        forgotten = 1
        for rows in (self._rows, self._places):
            while some := self._transact(partial(rows.forget, sale_id=sale_id, limit=MOST)):
                forgotten += some
        self._transact(partial(self._sales.forget, sale_id=sale_id))
        return forgotten

    def _transact(self, work: Callable[[Connection], T]) -> T:
        for _ in range(_TRIES):
            try:
                return self._database.transact(work)
            except DuplicateRow:
                continue
            except BeingForgotten as error:
                self._go_on_forgetting(error.sale_id)
        raise Unavailable
