"""Places in the queues of sales, as rows: the same rules as in `lua/queue.lua`."""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from flash.pieces.port import Place
from flash.pieces.tables import PiecesTables

_US: Final = 1000  # microseconds of a millisecond


class PlaceRows:
    """Reads and writes them; the sale's row is locked by then."""

    def __init__(self, tables: PiecesTables) -> None:
        """Take the tables."""
        self._places = tables.places

    def give(
        self, connection: Connection, sale_id: int, user_ids: Sequence[str], *, between: int, first: int, most: int
    ) -> list[Place | None]:
        """Return the users' places; give some to those who have none, up to `most` of a sale.

        `between`: microseconds from one turn to the next. `first`: no turn is before that (ms since the epoch).
        """
        known = self._known(connection, sale_id, set(user_ids))
        places, last = self._last(connection, sale_id)
        new: dict[str, tuple[int, int]] = {}
        for user_id in user_ids:
            if user_id not in known and user_id not in new and places < most:
                last = max(last + between, first * _US)
                new[user_id] = (places, last)
                places += 1
        if new:
            rows = [
                {"sale_id": sale_id, "user_id": user_id, "place": place, "turn_us": turn}
                for user_id, (place, turn) in new.items()
            ]
            connection.execute(insert(self._places), rows)
        found = {user_id: Place(place, turn // _US) for user_id, (place, turn) in (known | new).items()}
        return [found.get(user_id) for user_id in user_ids]

    def forget(self, connection: Connection, sale_id: int, limit: int) -> int:
        """Delete up to so many places of a sale; return how many."""
        columns = self._places.c
        users = connection.scalars(select(columns.user_id).where(columns.sale_id == sale_id).limit(limit)).all()
        mine = (columns.sale_id == sale_id) & columns.user_id.in_(users)
        connection.execute(delete(self._places).where(mine))
        return len(users)

    def _known(self, connection: Connection, sale_id: int, user_ids: Collection[str]) -> dict[str, tuple[int, int]]:
        columns = self._places.c
        query = select(columns.user_id, columns.place, columns.turn_us).where(
            columns.sale_id == sale_id, columns.user_id.in_(user_ids)
        )
        return {user_id: (place, turn) for user_id, place, turn in connection.execute(query)}

    def _last(self, connection: Connection, sale_id: int) -> tuple[int, int]:
        """Return how many places there are, and the last turn."""
        columns = self._places.c
        query = select(columns.place, columns.turn_us).where(columns.sale_id == sale_id)
        found = connection.execute(query.order_by(columns.place.desc()).limit(1)).first()
        return (0, 0) if found is None else (found.place + 1, found.turn_us)
