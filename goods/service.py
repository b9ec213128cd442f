"""The use cases of the catalogue and of live rooms."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from common.db import Database
from common.errors import OrdersError
from common.idempotency import Answered, IdempotencyKey, Keys
from common.rows import Rows
from goods.model import goods, idempotency_keys, room_goods, rooms
from halfmessage.chunks import rows_in
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow, NotFound
from halfmessage.ids import IdSource


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGoods:
    """Goods to add; prices in integer minor units."""

    name: str
    brief: str
    category_id: int | None
    unit_price: int
    market_price: int
    currency: str
    images: tuple[str, ...]
    on_sale: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods(NewGoods):
    """Goods as they are now."""

    goods_id: int


@dataclass(frozen=True, slots=True)
class Room:
    """A live room's goods, in the host's order, and the one shown now."""

    room_id: int
    current_goods_id: int | None
    items: tuple[Goods, ...]


_GOODS = select(*(goods.c[field.name] for field in fields(Goods)))
_OF_IDS = select(goods.c.goods_id).where(goods.c.goods_id.in_(bindparam("ids", expanding=True)))


class UnknownGoods(OrdersError):
    """Some of the goods do not exist; errors lists which."""

    status, slug, title = 422, "unknown-goods", "Unknown goods"


class Catalogue:
    """The goods."""

    def __init__(self, database: Database, ids: IdSource) -> None:
        """Keep them in `database`; take new ids from `ids`."""
        self._ids = ids
        self._added = Keys(database, idempotency_keys, _goods)
        self._rows = Rows(database, goods.c.goods_id, Goods, _goods)

    def add(self, new: NewGoods, key: IdempotencyKey | None = None) -> Answered[Goods]:
        """Store new goods, once for each key.

        Raise `IdempotencyMismatch`, `Unavailable` (not stored) or `OutcomeUnknown`.
        """
        added = Goods(goods_id=self._ids.next(), **asdict(new))
        now = now_ms()
        return self._added.store(key, goods, added, images=list(added.images), created_at=now, updated_at=now)

    def change(self, goods_id: int, changes: Mapping[str, Any]) -> Goods:
        """Change fields of goods. Raise `NotFound`, `Unavailable` (not changed) or `OutcomeUnknown`."""
        if not changes:
            return self.get(goods_id)
        return self._rows.change(goods_id, {**changes, "updated_at": now_ms()})

    def get(self, goods_id: int) -> Goods:
        """Return one. Raise `NotFound` or `Unavailable`."""
        return self._rows.get(goods_id)

    def list(self, limit: int, before: int | None) -> list[Goods]:
        """Return up to `limit` goods, newest first, those added before the goods `before` only."""
        return self._rows.newest(limit, before)

    def lookup(self, goods_ids: Iterable[int]) -> tuple[Goods, ...]:
        """Return those of `goods_ids` that exist, in no order."""
        return self._rows.lookup(goods_ids)


class Rooms:
    """The goods lists of live rooms."""

    def __init__(self, database: Database) -> None:
        """Keep them in `database`."""
        self._database = database

    def get(self, room_id: int) -> Room:
        """Return a room's list, in the host's order. Raise `NotFound` if none was ever put."""
        with self._database.read() as connection:
            return _room(connection, room_id)

    def put(self, room_id: int, goods_ids: Sequence[int], current_goods_id: int | None) -> Room:
        """Replace a room's list. Raise `UnknownGoods`, `Unavailable` (not replaced) or `OutcomeUnknown`."""

        def work(connection: Connection) -> Room:
            _check_known(connection, goods_ids)
            _put_room(connection, room_id, current_goods_id)
            connection.execute(delete(room_goods).where(room_goods.c.room_id == room_id))
            lines = [{"room_id": room_id, "position": i, "goods_id": one} for i, one in enumerate(goods_ids)]
            if lines:
                connection.execute(insert(room_goods), lines)
            return _room(connection, room_id)

        try:
            return self._database.transact(work)
        except DuplicateRow:  # somebody else put this room for the first time, just now
            return self._database.transact(work)


def _put_room(connection: Connection, room_id: int, current_goods_id: int | None) -> None:
    values = {"current_goods_id": current_goods_id, "updated_at": now_ms()}
    changed = connection.execute(update(rooms).where(rooms.c.room_id == room_id).values(values))
    if changed.rowcount == 0:
        connection.execute(insert(rooms).values(room_id=room_id, **values))


def _check_known(connection: Connection, goods_ids: Sequence[int]) -> None:
    known = {row.goods_id for row in rows_in(connection, _OF_IDS, "ids", goods_ids)}
    errors = [
        {"pointer": f"/goods_ids/{i}", "message": "There are no such goods"}
        for i, goods_id in enumerate(goods_ids)
        if goods_id not in known
    ]
    if errors:
        raise UnknownGoods(errors=errors)


def _room(connection: Connection, room_id: int) -> Room:
    room = connection.execute(select(rooms.c.current_goods_id).where(rooms.c.room_id == room_id)).first()
    if room is None:
        raise NotFound
    statement = _GOODS.join(room_goods, room_goods.c.goods_id == goods.c.goods_id)
    statement = statement.where(room_goods.c.room_id == room_id).order_by(room_goods.c.position)
    rows = connection.execute(statement).mappings()
    return Room(room_id=room_id, current_goods_id=room.current_goods_id, items=tuple(map(_goods, rows)))


def _goods(row: Mapping[Any, Any]) -> Goods:
    return Goods(**{**row, "images": tuple(row["images"])})
