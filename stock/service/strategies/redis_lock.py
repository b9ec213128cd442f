"""Deductions under locks in Redis, which the database does not trust: it checks a fencing token.

A lock in Redis runs out while its holder is paused, and two think that they have it. So each holder draws a token,
higher than all before, and writes only over the version that it read, which must be lower; its token becomes the
version. See https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html and docs/decisions/0013.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Final, TypeVar

import redis
from redis.exceptions import LockError
from redis.lock import Lock
from sqlalchemy import Connection, select, update

from common.redis_client import RedisClient
from stock.model import stock
from stock.service.strategies.port import Lines, StockContended, Taker, take_one_by_one

T = TypeVar("T")

_PREFIX: Final = "orders:stock"
COUNTER: Final = f"{_PREFIX}:token"
_ATTEMPTS: Final = 10
_WAIT: Final = 1.5  # seconds for all locks of one batch: less than the order service waits for an answer
_POLL: Final = 0.002  # seconds between two tries for a lock
# Never below `floor`: Redis may have lost its counter, and other strategies raise versions too.
_DRAW: Final = """
local token = math.max(redis.call('INCR', KEYS[1]), tonumber(ARGV[1]) + 1)
redis.call('SET', KEYS[1], string.format('%d', token))
return token
"""


class _Fenced(Exception):
    """The database has a version that our token is not above, or it was written since we read it."""

    def __init__(self, version: int) -> None:
        self.version = version


class RedisLock:
    """One lock a goods, taken in the order of their ids, held until the transaction is committed."""

    def __init__(self, client: RedisClient, *, held_for: float = 5.0) -> None:
        """Take Redis, and after how many seconds a lock of somebody who died is free again."""
        self._client = client
        self._held_for = held_for

    def run(self, goods_ids: Collection[int], transact: Callable[[Taker], T]) -> T:
        """Run `transact` under the locks, again with a higher token if it was fenced.

        Raise `RedisUnavailable` or `StockContended`: nothing was changed.
        """
        floor = 0
        with self._locked(goods_ids):
            for _ in range(_ATTEMPTS):
                try:
                    return transact(_Fencing(self._draw(floor)))
                except _Fenced as fenced:
                    floor = fenced.version
        raise StockContended

    def _draw(self, floor: int) -> int:
        return int(self._client.call(lambda client: client.eval(_DRAW, 1, COUNTER, floor)))

    @contextmanager
    def _locked(self, goods_ids: Collection[int]) -> Iterator[None]:
        deadline = time.monotonic() + _WAIT
        with ExitStack() as stack:
            for goods_id in sorted(goods_ids):
                left = max(0.0, deadline - time.monotonic())
                lock = self._client.call(partial(self._acquire, goods_id, left))
                if lock is None:
                    raise StockContended
                stack.callback(_release, lock)
            yield

    def _acquire(self, goods_id: int, within: float, client: redis.Redis) -> Lock | None:
        lock = client.lock(
            f"{_PREFIX}:lock:{goods_id}",
            timeout=self._held_for,
            sleep=_POLL,
            blocking_timeout=within,
            thread_local=False,
        )
        return lock if lock.acquire() else None


def _release(lock: Lock) -> None:
    with suppress(LockError, redis.RedisError):  # it ran out, or will
        lock.release()


class _Fencing:
    """Takes pieces with a token."""

    def __init__(self, token: int) -> None:
        self._token = token
        self._taken_of: set[int] = set()

    def take_all(self, connection: Connection, orders: Mapping[int, Lines]) -> dict[int, Sequence[int]]:
        """Take one order after the other. Raise `_Fenced`."""
        return take_one_by_one(self, connection, orders)

    def begin(self, _connection: Connection, _goods_ids: Collection[int], _orders: int) -> None:
        """Forget what an earlier try of the transaction took."""
        self._taken_of.clear()

    def take(self, connection: Connection, lines: Lines) -> list[int]:
        """Take the lines. Raise `_Fenced`."""
        return [
            goods_id
            for goods_id, quantity in sorted(lines.items())
            if not self._take_one(connection, goods_id, quantity)
        ]

    def _take_one(self, connection: Connection, goods_id: int, quantity: int) -> bool:
        query = select(stock.c.available, stock.c.version).where(stock.c.goods_id == goods_id)
        seen = connection.execute(query).one_or_none()
        if seen is None or seen.available < quantity:
            return False
        if seen.version >= self._token and goods_id not in self._taken_of:
            raise _Fenced(seen.version)
        self._taken_of.add(goods_id)
        same = (stock.c.goods_id == goods_id) & (stock.c.version == seen.version)
        lowered = {"available": stock.c.available - quantity, "version": self._token}
        if connection.execute(update(stock).where(same).values(lowered)).rowcount == 0:
            raise _Fenced(seen.version)
        return True
