"""Redis, which a deployment may have: opened where the settings name one.

Its library takes a fifth of the work of a service's start (it loads its asyncio half as well, and OpenTelemetry where
that is installed), so `common.redis_client` is imported here only, and only for a URL.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from common.redis_client import RedisClient

TIMEOUT: Final = 0.25  # seconds, for a free connection, for connecting and for each answer


def open_redis(url: str) -> "RedisClient | None":
    """Return a client of the Redis at `url`, None where that is empty. Raise `OrdersError` for a URL that is none."""
    if not url:
        return None
    from common.redis_client import RedisClient  # noqa: PLC0415 - slow to load, see above

    return RedisClient(url)
