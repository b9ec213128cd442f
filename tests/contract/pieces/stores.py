"""The stores that the contract is tried on."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import MetaData

from common.db import Database
from common.redis_client import RedisClient
from flash.pieces.in_database import DatabasePieces
from flash.pieces.in_redis import RedisPieces
from flash.pieces.port import KEEP, MOST_PLACES, TAKE_WITHIN, Pieces
from flash.pieces.tables import PiecesTables
from tests.contract.rocketmq import required
from tests.databases import Server
from tests.redis_server import RedisServer, redis_program, valkey_program
from tests.support import eventually

Open = Callable[..., Pieces]
"""Opens the store once more, as another process would; options: `keep`, `take_within`, `most_places`."""

DATABASES: Final = ("sqlite", "mysql")
REDISES: Final = ("redis", "redis_cluster", "valkey")
THREADS: Final = 8
_CLUSTER: Final = ("--cluster-enabled", "yes", "--appendonly", "no")


class OwnServers:
    """Servers that are started for the tests of a module, each when the first one wants it: a cluster takes seconds."""

    def __init__(self, directory: Path) -> None:
        """Take where they keep what they have."""
        self._directory = directory
        self._started: dict[str, RedisServer] = {}

    def url(self, kind: str) -> str:
        """Return where the one of a kind is."""
        if kind not in self._started:
            self._started[kind] = self._start(kind)
        return self._started[kind].url

    def close(self) -> None:
        """End all of them."""
        for server in self._started.values():
            server.close()

    def _start(self, kind: str) -> RedisServer:
        if kind == "valkey":
            return RedisServer(valkey_program(), self._directory / kind)
        server = RedisServer(redis_program(), self._directory / kind, _CLUSTER)
        server.admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]
        eventually(lambda: _is_whole(server), within=30.0)
        return server


def _is_whole(cluster: RedisServer) -> bool:
    return b"cluster_state:ok" in cluster.admin.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]


@contextmanager
def opened(kind: str, directory: Path, servers: OwnServers) -> Iterator[Open]:
    """Yield what opens a store of a kind; everything is closed after it, but for servers."""
    with ExitStack() as stack:
        if kind in DATABASES:
            yield _databases(kind, directory, stack)
        else:
            yield _redises(required("ORDERS_TEST_REDIS") if kind == "redis" else servers.url(kind), stack)


def _databases(kind: str, directory: Path, stack: ExitStack) -> Open:
    if kind == "sqlite":
        url = f"sqlite:///{directory}/pieces.db"
    else:
        server = Server(required("ORDERS_TEST_MYSQL"))
        stack.callback(server.close)
        url = server.kept(directory, "pieces")
    metadata = MetaData()
    tables = PiecesTables(metadata)

    def open_(*, keep: float = KEEP, take_within: float = TAKE_WITHIN, most_places: int = MOST_PLACES) -> Pieces:
        database = Database(url, pool_size=2 * THREADS)
        stack.callback(database.close)
        metadata.create_all(database.engine)
        return DatabasePieces(database, tables, keep=keep, take_within=take_within, most_places=most_places)

    return open_


def _redises(url: str, stack: ExitStack) -> Open:
    prefix = f"orders:test:{uuid.uuid4().hex[:12]}"

    def open_(*, keep: float = KEEP, take_within: float = TAKE_WITHIN, most_places: int = MOST_PLACES) -> Pieces:
        client = RedisClient(url, timeout=30.0)  # what a test waits for is no slow machine
        stack.callback(client.close)
        return RedisPieces(client, prefix=prefix, keep=keep, take_within=take_within, most_places=most_places)

    return open_
