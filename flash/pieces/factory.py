"""Which store a deployment has: a setting decides."""

from typing import Final

from common.db import Database
from flash.pieces.in_database import DatabasePieces
from flash.pieces.port import TAKE_WITHIN, Pieces
from flash.pieces.tables import PiecesTables
from halfmessage.errors import Misconfigured

TIMEOUT: Final = 1.0
"""Seconds for a free connection, for connecting and for each answer. Longer than where Redis is only a help: without it
nothing is sold, and one that syncs each write answers when the disk does."""
_SCHEMES: Final = ("redis://", "rediss://")


def store_of(url: str, database: Database, tables: PiecesTables, *, take_within: float = TAKE_WITHIN) -> Pieces:
    """Return the store at `url`: of Redis or Valkey, redis://[user:password@]host:port[/database] or rediss://.

    Where that is empty: the service's database, with the tables that it declared. `take_within`: see `TAKE_WITHIN`.
    Raise `Misconfigured` for a URL of another kind, `OrdersError` for one that can't be read; neither tells what is in
    it, of which any part may be the password. Nothing is connected yet.
    """
    if not url:
        return DatabasePieces(database, tables, take_within=take_within)
    if not url.startswith(_SCHEMES):
        raise Misconfigured("The store of pieces must be redis://… or rediss://…, or empty for the service's database.")
    from common.redis_client import RedisClient  # noqa: PLC0415 - slow to load, see `common.optional_redis`
    from flash.pieces.in_redis import RedisPieces  # noqa: PLC0415 - the same

    return RedisPieces(RedisClient(url, timeout=TIMEOUT), take_within=take_within)
