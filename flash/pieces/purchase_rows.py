"""The rows of purchases and buyers, as `hold`, `give_back` and `take` change them; the sale's row is locked by then."""

from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, case, delete, insert, select, update

from flash.pieces.port import Buyer, Purchase, PurchaseState
from flash.pieces.tables import PiecesTables
from flash.pieces.taking import Had

_HAVE = (PurchaseState.TAKEN, PurchaseState.HELD)


class PurchaseRows:
    """Reads and writes them."""

    def __init__(self, tables: PiecesTables) -> None:
        """Take the tables."""
        self._sales, self._purchases, self._buyers = tables.sales, tables.purchases, tables.buyers

    def find(self, connection: Connection, sale_id: int, ids: Collection[int]) -> dict[int, Purchase]:
        """Return those of the purchases that are known."""
        return {one.purchase_id: one for one in self.page(connection, sale_id, len(ids), self._ids.in_(ids))}

    def page(self, connection: Connection, sale_id: int, limit: int, *which: ColumnElement[bool]) -> list[Purchase]:
        """Return up to so many purchases of a sale for which all conditions hold, lowest id first."""
        columns = self._purchases.c
        query = (
            select(columns.purchase_id, columns.user_id, columns.quantity, columns.state, columns.tx_id)
            .where(columns.sale_id == sale_id, *which)
            .order_by(columns.purchase_id)
            .limit(limit)
        )
        return [
            Purchase(purchase_id, user_id, quantity, PurchaseState(state), tx_id)
            for purchase_id, user_id, quantity, state, tx_id in connection.execute(query)
        ]

    def had(self, connection: Connection, sale_id: int, user_ids: Collection[str]) -> dict[str, Had]:
        """Return what those of the users have that have anything."""
        columns = self._buyers.c
        query = select(columns.user_id, columns.pieces, columns.first_purchase_id).where(
            columns.sale_id == sale_id, columns.user_id.in_(user_ids)
        )
        return {user_id: (pieces, first) for user_id, pieces, first in connection.execute(query)}

    def add(self, connection: Connection, sale_id: int, new: Sequence[Buyer], state: PurchaseState, tx_id: int) -> None:
        """Write new purchases, and count what they have, where their state has any."""
        rows = [
            {"sale_id": sale_id, "state": state.value, "tx_id": tx_id}
            | {"purchase_id": one.purchase_id, "user_id": one.user_id, "quantity": one.quantity}
            for one in new
        ]
        connection.execute(insert(self._purchases), rows)
        self._count(connection, sale_id, Counter({state: len(new)}))
        if state in _HAVE:
            self._give(connection, sale_id, new)

    def settle(
        self, connection: Connection, sale_id: int, purchases: Sequence[Buyer], state: PurchaseState
    ) -> list[bool]:
        """Move purchases to `held` or `returned`; see `Pieces.hold` and `Pieces.give_back` for what is returned."""
        known = self.find(connection, sale_id, [one.purchase_id for one in purchases])
        unique = {one.purchase_id: one for one in purchases}
        new = [one for one in unique.values() if one.purchase_id not in known]
        from_ = (PurchaseState.TAKEN,) if state is PurchaseState.HELD else _HAVE
        moved = [known[one] for one in unique if one in known and known[one].state in from_]
        if new:
            self.add(connection, sale_id, new, state, 0)
        if moved:
            self._move(connection, sale_id, moved, state)
        told = {one.purchase_id for one in (new if state is PurchaseState.HELD else moved)}
        answers = []
        for one in purchases:  # a purchase that is named twice is told of once
            answers.append(one.purchase_id in told)
            told.discard(one.purchase_id)
        return answers

    def forget(self, connection: Connection, sale_id: int, limit: int) -> int:
        """Delete up to so many purchases of a sale, and as many buyers; return how many in all."""
        forgotten = 0
        for table, key in ((self._purchases, self._ids), (self._buyers, self._buyers.c.user_id)):
            keys = connection.scalars(select(key).where(table.c.sale_id == sale_id).limit(limit)).all()
            connection.execute(delete(table).where(table.c.sale_id == sale_id, key.in_(keys)))
            forgotten += len(keys)
        return forgotten

    def _move(self, connection: Connection, sale_id: int, moved: Sequence[Purchase], state: PurchaseState) -> None:
        ids = [one.purchase_id for one in moved]
        mine = (self._purchases.c.sale_id == sale_id) & self._ids.in_(ids)
        connection.execute(update(self._purchases).where(mine).values(state=state.value))
        change = Counter({state: len(moved)})
        change.subtract(one.state for one in moved)
        self._count(connection, sale_id, change)
        if state is PurchaseState.RETURNED:
            self._take_from(connection, sale_id, moved)

    def _count(self, connection: Connection, sale_id: int, change: Counter[PurchaseState]) -> None:
        columns = self._sales.c
        values = {state.value: columns[state.value] + number for state, number in change.items()}
        connection.execute(update(self._sales).where(columns.sale_id == sale_id).values(values))

    def _give(self, connection: Connection, sale_id: int, purchases: Sequence[Buyer]) -> None:
        """Count the pieces of purchases as the sale's and their users'."""
        had = self.had(connection, sale_id, {one.user_id for one in purchases})
        firsts: dict[str, int] = {}
        for one in purchases:
            firsts.setdefault(one.user_id, one.purchase_id)
        new = [
            {"sale_id": sale_id, "user_id": user_id, "pieces": 0, "first_purchase_id": first}
            for user_id, first in firsts.items()
            if user_id not in had
        ]
        if new:
            connection.execute(insert(self._buyers), new)
        self._add_pieces(connection, sale_id, purchases, 1)

    def _take_from(self, connection: Connection, sale_id: int, purchases: Sequence[Purchase]) -> None:
        """Count them no longer; a user who has none left has bought nothing."""
        self._add_pieces(connection, sale_id, purchases, -1)
        buyers = self._buyers.c
        users = {one.user_id for one in purchases}
        none_left = (buyers.sale_id == sale_id) & buyers.user_id.in_(users) & (buyers.pieces <= 0)
        connection.execute(delete(self._buyers).where(none_left))

    def _add_pieces(
        self, connection: Connection, sale_id: int, purchases: Sequence[Buyer] | Sequence[Purchase], sign: int
    ) -> None:
        of_users: Counter[str] = Counter()
        for one in purchases:
            of_users[one.user_id] += sign * one.quantity
        buyers, sales = self._buyers.c, self._sales.c
        more = case(of_users, value=buyers.user_id)
        mine = (buyers.sale_id == sale_id) & buyers.user_id.in_(of_users)
        connection.execute(update(self._buyers).where(mine).values(pieces=buyers.pieces + more))
        all_of_them = sales.pieces + sum(of_users.values())
        connection.execute(update(self._sales).where(sales.sale_id == sale_id).values(pieces=all_of_them))

    @property
    def _ids(self) -> ColumnElement[int]:
        return self._purchases.c.purchase_id
