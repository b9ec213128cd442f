"""Goods with their stock, which two services know: goods by page, and the stock of each beside it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

from console.clients.services import Services
from console.service.looking import Silent
from console.service.trying import tried

PAGE: Final = 25  # goods of a page: the stock of each is a call
_AT_ONCE: Final = 8  # of these calls, all pages together
_WITHIN: Final = 2.5  # seconds for all of them


@dataclass(frozen=True, slots=True)
class Level:
    """Pieces of one goods: total = available + reserved."""

    total: int
    available: int

    @property
    def reserved(self) -> int:
        """Those that live reservations hold."""
        return self.total - self.available


@dataclass(frozen=True, slots=True)
class Line:
    """Goods, and their stock as far as it is known."""

    goods: Mapping[str, Any]
    level: Level | Silent


@dataclass(frozen=True, slots=True)
class Page:
    """Goods; `next_cursor` goes on after them, None at the end."""

    lines: Sequence[Line]
    next_cursor: str | None


class Stocks:
    """Reads both services."""

    def __init__(self, services: Services) -> None:
        """Take the services."""
        self._services = services
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="stocks")

    def page(self, token: str, cursor: str | None) -> Page:
        """Return goods with their stock. Raise as `Services.get` does where goods are not to be had."""
        found = self._services.get("goods", "/goods", token, limit=PAGE, cursor=cursor)
        goods = found["items"]
        asked = [self._pool.submit(tried, lambda one=one: self._level(one["goods_id"], token)) for one in goods]
        wait(asked, timeout=_WITHIN)
        return Page([Line(one, _heard(future)) for one, future in zip(goods, asked, strict=True)], found["next_cursor"])

    def one(self, token: str, goods_id: int) -> Line:
        """Return goods with their stock. Raise `NotFound`, or as `page` does."""
        goods = self._services.get("goods", f"/goods/{goods_id}", token)
        return Line(goods, tried(lambda: self._level(str(goods_id), token)))

    def close(self) -> None:
        """Ask no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _level(self, goods_id: str, token: str) -> Level:
        level = self._services.get("stock", f"/stock/{goods_id}", token)
        return Level(level["total"], level["available"])


def _heard(asked: "Future[Level | Silent]") -> Level | Silent:
    if not asked.done():
        asked.cancel()
        return Silent(f"no answer within {_WITHIN:g} s")
    return asked.result()
