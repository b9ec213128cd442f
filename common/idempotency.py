"""The first answer again for a call that comes again under its Idempotency-Key.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/ is where the header comes from. The row of a
key is written in the transaction of what the call does, so both are there or neither; a call that was refused leaves
no row, and may succeed later. Orders are placed in batches and keep a table of their own.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar, cast

import orjson
from pydantic import BaseModel
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    MetaData,
    String,
    Table,
    insert,
    select,
)

from common.db import Database
from common.errors import IdempotencyMismatch, Invalid
from common.purging import purge
from halfmessage.clock import now_ms
from halfmessage.errors import Conflict, DuplicateRow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A user's key for one call, and the hash of the request that it came with."""

    user_id: str
    key: str
    request_hash: str
    older_hashes: tuple[str, ...] = ()
    """What earlier releases made of the same request, for as long as keys of theirs are kept."""

    def is_of(self, stored: str) -> bool:
        """Whether a hash that was stored with the key is that of this request, whichever release stored it."""
        return stored == self.request_hash or stored in self.older_hashes


def key_of(
    user_id: str, key: str | None, call: str, body: BaseModel, older: Callable[[], tuple[str, ...]] = tuple
) -> IdempotencyKey | None:
    """Return the key of a request, None without one; `call` is its method and path, `older` tells its older hashes.

    Hashed is what was sent, whatever order and spaces it was written in, and not what is made of it: neither a field
    that a later release has, nor another default, makes another request of it. A null is as if nothing had been sent.
    """
    if key is None:
        return None
    sent = body.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    canonical = orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)
    request_hash = hashlib.sha256(call.encode() + b"\n" + canonical).hexdigest()
    return IdempotencyKey(user_id, key, request_hash, older())


def key_table(metadata: MetaData) -> Table:
    """Declare the table of keys; `created_at` in ms since the epoch, for purging."""
    return Table(
        "idempotency_keys",
        metadata,
        Column("user_id", String(64), primary_key=True),
        Column("idempotency_key", String(255), primary_key=True),
        Column("request_hash", String(64), nullable=False),
        Column("answer", JSON, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Index("idempotency_keys_by_age", "created_at"),
    )


def purge_older(database: Database, table: Table, retention: float) -> int:
    """Delete the keys that were used first longer ago than `retention` seconds; as `purging.purge`."""
    return purge(database, table.c.created_at, now_ms() - int(retention * 1000))


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """What a call got, and whether it had got it before."""

    answer: T
    replayed: bool = False


class Keys(Generic[T]):
    """What calls of one kind were answered, by their keys."""

    def __init__(self, database: Database, table: Table, read: Callable[[Mapping[str, Any]], T]) -> None:
        """Keep answers, dataclasses, in `table`; `read` makes one of its fields, as JSON has them."""
        self._database = database
        self._table = table
        self._read = read

    def once(self, key: IdempotencyKey | None, work: Callable[[Connection], T]) -> Answered[T]:
        """Run `work` in a transaction, or return what it returned under this key before.

        Raise `IdempotencyMismatch`, what `work` raises, `Unavailable` (nothing was done) or `OutcomeUnknown`.
        """

        def run(connection: Connection) -> Answered[T]:
            first = self._first(connection, key) if key is not None else None
            if first is not None:
                return first
            answer = work(connection)
            if key is not None:
                connection.execute(insert(self._table).values(_row(key, answer)))
            return Answered(answer)

        def tried() -> Answered[T]:
            try:
                return self._database.transact(run)
            except DuplicateRow:  # the same key, or the same row of `work`'s, came in between: now it is found
                return self._database.transact(run)

        try:
            return tried()
        except (Conflict, Invalid):
            # Perhaps this very call did it, sent before and committed after our look: `work` waited for its locks.
            first = self.find(key)
            if first is None:
                raise
            return first

    def store(self, key: IdempotencyKey | None, table: Table, made: T, **columns: Any) -> Answered[T]:
        """Insert what was made as a row, or return what was made under this key before; raises as `once` does.

        The row has its fields, and further `columns`, which go before them.
        """
        row = asdict(cast("Any", made)) | columns

        def work(connection: Connection) -> T:
            connection.execute(insert(table).values(row))
            return made

        return self.once(key, work)

    def find(self, key: IdempotencyKey | None) -> Answered[T] | None:
        """Return what a call got under this key, None where there was none, or no key.

        Raise `IdempotencyMismatch` or `Unavailable`.
        """
        if key is None:
            return None
        with self._database.read() as connection:
            return self._first(connection, key)

    def _first(self, connection: Connection, key: IdempotencyKey) -> Answered[T] | None:
        columns = self._table.c
        is_key = (columns.user_id == key.user_id) & (columns.idempotency_key == key.key)
        row = connection.execute(select(columns.request_hash, columns.answer).where(is_key)).first()
        if row is None:
            return None
        if not key.is_of(row.request_hash):
            raise IdempotencyMismatch
        return Answered(self._read(row.answer), replayed=True)


def _row(key: IdempotencyKey, answer: Any) -> dict[str, Any]:
    return {
        "user_id": key.user_id,
        "idempotency_key": key.key,
        "request_hash": key.request_hash,
        "answer": asdict(answer),
        "created_at": now_ms(),
    }
