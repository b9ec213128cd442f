"""Redis as something that may be gone: short timeouts, and after a failure no call is tried for a while."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from common.errors import OrdersError, RedisUnavailable
from common.optional_redis import TIMEOUT

T = TypeVar("T")

CONNECTIONS: Final = 64  # at once; an answer takes some 0.1 ms: who finds none free within TIMEOUT meets a slow Redis
BACK_OFF: Final = 1.0  # seconds without a try after a failure
_ABOUT_ONE_KEY: Final = ("WRONGTYPE", "value is not an integer")
"""What Redis says of a key that something else wrote: it answers, and the other keys are as they should be."""

log = structlog.get_logger()


def _refuse_unreadable(url: str) -> None:
    """Raise `OrdersError` for a URL that the library can't read, or with options that it does not have.

    It would say so with the URL's parts, of which any may be the password, and of options only as it connects.
    """
    try:
        redis.ConnectionPool.from_url(url).make_connection()
    except (ValueError, TypeError, redis.RedisError):
        raise OrdersError(
            "The URL of Redis must be redis://[user:password@]host:port[/database][?options]; %2F is /."
        ) from None


class RedisClient:
    """One Redis, shared by the threads of a process."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT, back_off: float = BACK_OFF) -> None:
        """Connect lazily to `url`, redis://[:password@]host:port[/database], up to `CONNECTIONS` times.

        Raise `OrdersError` for a URL that is none.
        The library's usual pool refuses who finds no connection free, which would be taken for a Redis that is down.
        """
        _refuse_unreadable(url)
        self._back_off = back_off
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout,
            socket_connect_timeout=timeout,
            socket_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # the pool replaces connections that died while they were kept
        )
        self._redis: redis.Redis = redis.Redis.from_pool(pool)
        self._url = url
        self._guard = threading.Lock()
        self._silent_until = 0.0
        self._down = False

    @property
    def url(self) -> str:
        """Where it is."""
        return self._url

    @property
    def pool(self) -> Any:
        """The connections, for libraries that bring their own commands; call those through `call`."""
        return self._redis.connection_pool

    def call(self, work: Callable[[redis.Redis], T]) -> T:
        """Return what `work` got from Redis. Raise `RedisUnavailable`, at once if it failed a moment ago."""
        if time.monotonic() < self._silent_until:
            raise RedisUnavailable
        try:
            result = work(self._redis)
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError, redis.InvalidResponse) as error:
            if not any(words in str(error) for words in _ABOUT_ONE_KEY):
                self._failed(error)
            raise RedisUnavailable from error
        except ValueError as error:  # a number was to be there, and somebody else wrote something else
            raise RedisUnavailable from error
        if self._down:
            self._answers_again()
        return result

    def ping(self) -> None:
        """Raise `RedisUnavailable` unless Redis answers."""
        self.call(lambda client: client.ping())

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _failed(self, error: Exception) -> None:
        with self._guard:
            first, self._down = not self._down, True
            self._silent_until = time.monotonic() + self._back_off
        if first:
            log.warning("Redis does not answer; going on without it", reason=repr(error))

    def _answers_again(self) -> None:
        with self._guard:
            again, self._down = self._down, False
        if again:
            log.info("Redis answers again")
