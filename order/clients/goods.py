"""The goods service: prices."""

import hashlib
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any, ClassVar, Final

import orjson
from pydantic import ConfigDict, TypeAdapter

from common.answers import by_id, readable
from common.cache import SharedCache
from common.errors import PeerUnavailable
from common.flight import SingleFlight
from common.peer import Peer

_REFRESHED_TOGETHER = 200  # goods in one look-up


@dataclass(frozen=True, slots=True)
class Goods:
    """Goods as they are now; prices in minor units of the currency."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    goods_id: int
    name: str
    brief: str
    image: str | None
    unit_price: int
    market_price: int | None
    currency: str
    on_sale: bool


class GoodsClient:
    """Prices, reused for at most `max_age` seconds; one look-up at a time fetches all that are wanted and stale."""

    def __init__(self, peer: Peer, *, max_age: float, timeout: float, shared: SharedCache | None = None) -> None:
        """Take the goods service, for how long an answer may be reused (s), and what other instances know.

        Nobody waits for prices for longer than `timeout` seconds, whichever request looks them up.
        """
        self._peer = peer
        self._shared = shared
        self._max_age = max_age
        self._known: dict[int, tuple[float, Goods | None]] = {}
        self._guard = threading.Lock()
        self._waiting: dict[int, None] = {}  # goods that the next look-up is to bring too
        self._look_ups: SingleFlight[dict[int, Goods | None]] = SingleFlight(patience=timeout)

    def find(self, goods_ids: Collection[int]) -> dict[int, Goods]:
        """Return those of the goods that exist. Raise `PeerUnavailable`."""
        oldest = time.monotonic() - self._max_age
        found = self._fresh(goods_ids, oldest)
        if found is None:
            with self._guard:
                self._waiting |= dict.fromkeys(goods_ids)
            found = self._look_ups.get(
                lambda: self._fresh(goods_ids, oldest), lambda left: self._fetch(goods_ids, time.monotonic() + left)
            )
        return {goods_id: goods for goods_id, goods in found.items() if goods is not None}

    def _fresh(self, goods_ids: Collection[int], oldest: float) -> dict[int, Goods | None] | None:
        known, found = self._known, {}
        for goods_id in goods_ids:
            fetched_at, goods = known.get(goods_id, (float("-inf"), None))
            if fetched_at < oldest:
                return None
            found[goods_id] = goods
        return found

    def _fetch(self, goods_ids: Collection[int], deadline: float) -> dict[int, Goods | None]:
        wanted = self._wanted(goods_ids)
        shared = self._shared
        fetched = self._look_up(wanted, deadline) if shared is None else self._share(shared, wanted, deadline)
        others = [item for item in self._known.items() if item[0] not in fetched]
        known = [*fetched.items(), *others][: max(_REFRESHED_TOGETHER, len(fetched))]
        self._known = {i: (at, goods) for i, (at, goods) in known if goods is not None or i in wanted}
        return {goods_id: fetched[goods_id][1] for goods_id in goods_ids}

    def _wanted(self, goods_ids: Collection[int]) -> dict[int, None]:
        """Return these and what others wait for, as many as one look-up takes; the rest goes with the next."""
        with self._guard:
            for goods_id in goods_ids:
                self._waiting.pop(goods_id, None)
            room = max(0, _REFRESHED_TOGETHER - len(goods_ids))
            others = list(islice(self._waiting, room))
            for goods_id in others:
                del self._waiting[goods_id]
        return dict.fromkeys([*goods_ids, *others])

    def _share(
        self, shared: SharedCache, goods_ids: Collection[int], deadline: float
    ) -> dict[int, tuple[float, Goods | None]]:
        def look_up(keys: Collection[str]) -> dict[str, bytes]:
            fetched = self._look_up([int(key) for key in keys], deadline)
            return {str(goods_id): _to_bytes(goods) for goods_id, (_, goods) in fetched.items()}

        found = shared.get([str(goods_id) for goods_id in goods_ids], look_up)
        now = time.monotonic()
        return {int(key): (now - age, _from_bytes(value)) for key, (value, age) in found.items()}

    def _look_up(self, goods_ids: Collection[int], deadline: float) -> dict[int, tuple[float, Goods | None]]:
        """Ask the goods service for these, and for what else was asked for lately."""
        wanted = list(dict.fromkeys([*goods_ids, *self._known]))[: max(_REFRESHED_TOGETHER, len(goods_ids))]
        asked_at = time.monotonic()  # before the call: a price is as old as the question
        asked = {"goods_ids": [str(i) for i in wanted]}
        status, answer = self._peer.call("POST", "/goods/lookup", asked, within=deadline - asked_at)
        if status != 200:  # noqa: PLR2004
            raise PeerUnavailable("The goods service refused a look-up; nothing was changed, try again.")
        fetched: dict[int, Goods | None] = dict.fromkeys(wanted)
        with readable("goods"):
            items = by_id(answer["items"], "goods_id")
            if not items.keys() <= fetched.keys():
                raise ValueError("goods that nobody asked for")
            fetched |= {goods_id: _goods(item) for goods_id, item in items.items()}
        return {goods_id: (asked_at, goods) for goods_id, goods in fetched.items()}


def _to_bytes(goods: Goods | None) -> bytes:
    return orjson.dumps(None if goods is None else asdict(goods))


_SHARED: Final = TypeAdapter(Goods | None)


def _from_bytes(value: bytes) -> Goods | None:
    return _SHARED.validate_json(value, strict=True)


def usable(key: str, value: bytes) -> bool:
    """Whether a shared value is what this release makes of the goods whose id is `key`."""
    try:
        goods = _from_bytes(value)
    except ValueError:
        return False
    return goods is None or str(goods.goods_id) == key


_FORM: Final = repr([(field.name, field.type) for field in fields(Goods)])
CACHE: Final = f"goods-{hashlib.sha256(_FORM.encode()).hexdigest()[:8]}"
"""The name of the shared prices: another one as soon as what is shared has other fields."""


def _goods(item: Mapping[str, Any]) -> Goods:
    images = item["images"]
    return Goods(
        int(item["goods_id"]),
        item["name"],
        item["brief"] or "",
        images[0] if images else None,
        item["unit_price"],
        item["market_price"],
        item["currency"],
        item["on_sale"],
    )
