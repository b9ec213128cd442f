"""Looks up what another service knows by id, and remembers it for a while: prices, rules of coupons.

What is still asked for when most of that while is over is looked up ahead, beside: or every half second one request
would wait for all the others' sake, twice as long as an order takes (docs/performance.md).
"""

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

import orjson
from pydantic import TypeAdapter

from common.answers import by_id, readable
from common.aside import Aside
from common.cache import SharedCache
from common.errors import PeerUnavailable
from common.flight import SingleFlight
from common.peer import Peer

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

_REFRESHED_TOGETHER: Final = 200  # ids in one look-up
_AHEAD: Final = 0.7  # of its time: what is asked for when it is older is looked up ahead
_DUE: Final = 0.4  # of its time: what is older goes with the look-up of another; less old, it is good for a while yet


class LookUps(ABC, Generic[T]):
    """Items by id, reused for at most `max_age` seconds; one look-up at a time brings all that are wanted and stale."""

    service: ClassVar[str]
    """The service that is asked, at `POST /<items>/lookup`."""
    items: ClassVar[str]
    id_name: ClassVar[str]
    """The name of the id in an item; with an s, of the ids in the question."""
    shape: ClassVar[type[Any]]
    """The dataclass of an item."""
    shared_form: ClassVar[TypeAdapter[Any]]
    """How an item, or that there is none, is written for other instances."""

    def __init__(
        self,
        peer: Peer,
        *,
        max_age: float,
        timeout: float,
        shared: SharedCache | None = None,
        aside: Aside | None = None,
    ) -> None:
        """Take the service, for how long an answer may be reused (s), and what other instances know.

        No look-up is waited for longer than `timeout` seconds, whichever request makes it. `aside` starts those that
        are made ahead, one at a time; without it there are none.
        """
        self._peer = peer
        self._shared = shared
        self._aside = aside
        self._is_ahead = False  # one is under way
        self._max_age = max_age
        self._known: dict[int, tuple[float, T | None]] = {}
        self._guard = threading.Lock()
        self._waiting: dict[int, None] = {}  # ids that the next look-up is to bring too
        self._look_ups: SingleFlight[dict[int, T | None]] = SingleFlight(patience=timeout)

    @staticmethod
    @abstractmethod
    def read(item: Mapping[str, Any]) -> T:
        """Return what an item of an answer says. Raise `KeyError`, `TypeError`, `ValueError` or the like."""

    def find(self, ids: Collection[int], *, anew: bool = False) -> dict[int, T]:
        """Return those of the items that exist; `anew`: as they are now, not as remembered. Raise `PeerUnavailable`."""
        now = time.monotonic()
        oldest = now - (0 if anew else self._max_age)
        found = self._fresh(ids, oldest)
        if found is None:
            found = self._bring(ids, oldest, None if anew else self._shared)
        elif self._aside is not None and self._fresh(ids, now - _AHEAD * self._max_age) is None:
            self._look_ahead(self._aside, ids)
        return {one: item for one, item in found.items() if item is not None}

    def _bring(self, ids: Collection[int], oldest: float, shared: SharedCache | None) -> dict[int, T | None]:
        """Have these looked up, unless they are known as they were after `oldest` (time.monotonic()) by then."""
        with self._guard:
            self._waiting |= dict.fromkeys(ids)
        return self._look_ups.get(
            lambda: self._fresh(ids, oldest), lambda left: self._fetch(ids, oldest, time.monotonic() + left, shared)
        )

    def _look_ahead(self, aside: Aside, ids: Collection[int]) -> None:
        """Have these looked up beside. Where that fails, a request that needs them does it, and is told why."""
        with self._guard:
            if self._is_ahead:
                return
            self._is_ahead = True
        oldest = time.monotonic() - _AHEAD * self._max_age
        aside.start(self._bring, ids, oldest, self._shared).add_done_callback(self._looked_ahead)

    def _looked_ahead(self, _: "Future[dict[int, T | None]]") -> None:
        self._is_ahead = False

    def _fresh(self, ids: Collection[int], oldest: float) -> dict[int, T | None] | None:
        known, found = self._known, {}
        for one in ids:
            fetched_at, item = known.get(one, (float("-inf"), None))
            if fetched_at < oldest:
                return None
            found[one] = item
        return found

    def _fetch(
        self, ids: Collection[int], oldest: float, deadline: float, shared: SharedCache | None
    ) -> dict[int, T | None]:
        wanted = self._wanted(ids)
        fetched = self._look_up(wanted, deadline) if shared is None else self._share(shared, wanted, oldest, deadline)
        others = [known for known in self._known.items() if known[0] not in fetched]
        known = [*fetched.items(), *others][: max(_REFRESHED_TOGETHER, len(fetched))]
        self._known = {one: (at, item) for one, (at, item) in known if item is not None or one in wanted}
        return {one: fetched[one][1] for one in ids}

    def _wanted(self, ids: Collection[int]) -> dict[int, None]:
        """Return these and what others wait for, as many as one look-up takes; the rest goes with the next."""
        with self._guard:
            for one in ids:
                self._waiting.pop(one, None)
            room = max(0, _REFRESHED_TOGETHER - len(ids))
            others = list(islice(self._waiting, room))
            for one in others:
                del self._waiting[one]
        return dict.fromkeys([*ids, *others])

    def _share(
        self, shared: SharedCache, ids: Collection[int], oldest: float, deadline: float
    ) -> dict[int, tuple[float, T | None]]:
        def look_up(keys: Collection[str]) -> dict[str, bytes]:
            fetched = self._look_up([int(key) for key in keys], deadline)
            return {str(one): _to_bytes(item) for one, (_, item) in fetched.items()}

        found = shared.get([str(one) for one in ids], look_up, oldest=oldest)
        return {int(key): (asked_at, self._from_bytes(value)) for key, (value, asked_at) in found.items()}

    def _look_up(self, ids: Collection[int], deadline: float) -> dict[int, tuple[float, T | None]]:
        """Ask the service for these, and for what else was asked for lately and is due."""
        asked_at = time.monotonic()  # before the call: an answer is as old as the question
        due = [one for one, (at, _) in self._known.items() if at < asked_at - _DUE * self._max_age]
        wanted = list(dict.fromkeys([*ids, *due]))[: max(_REFRESHED_TOGETHER, len(ids))]
        asked = {f"{self.id_name}s": [str(one) for one in wanted]}
        status, answer = self._peer.call("POST", f"/{self.items}/lookup", asked, within=deadline - asked_at)
        if status != 200:  # noqa: PLR2004
            raise PeerUnavailable(f"The {self.service} service refused a look-up; nothing was changed, try again.")
        fetched: dict[int, T | None] = dict.fromkeys(wanted)
        with readable(self.service):
            found = by_id(answer["items"], self.id_name)
            if not found.keys() <= fetched.keys():
                raise ValueError("items that were not asked for")
            fetched |= {one: self.read(item) for one, item in found.items()}
        return {one: (asked_at, item) for one, item in fetched.items()}

    @classmethod
    def _from_bytes(cls, value: bytes) -> T | None:
        found: T | None = cls.shared_form.validate_json(value, strict=True)
        return found

    @classmethod
    def usable(cls, key: str, value: bytes) -> bool:
        """Whether a shared value is what this release makes of the item whose id is `key`."""
        try:
            item = cls._from_bytes(value)
        except ValueError:
            return False
        return item is None or str(getattr(item, cls.id_name)) == key

    @classmethod
    def cache(cls) -> str:
        """Return the name of the shared items: another one as soon as what is shared has other fields."""
        form = repr([(field.name, field.type) for field in fields(cls.shape)])
        return f"{cls.items}-{hashlib.sha256(form.encode()).hexdigest()[:8]}"


def _to_bytes(item: Any) -> bytes:
    return orjson.dumps(item)
