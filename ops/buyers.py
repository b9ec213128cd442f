"""Very many buyers of a flash sale: each a user with a token of its own, that tries until it knows what it got."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ops.client import Answer, Client, Unreachable

_REST: Final = 0.2  # seconds until a buyer without an answer tries again
_MOST_STRANGE: Final = 3  # answers that no buyer should get, told in full
_TAKEN_IN: Final = 202
_AGAIN: Final = frozenset({429, 503})
_AT_ONCE: Final = 32
"""Buyers at once at most: as many connections as a `Client` keeps."""
SOLD_OUT: Final = "sold-out"


@dataclass(frozen=True, slots=True)
class Buyer:
    """One user."""

    name: str
    token: str = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What a request in its name is sent with."""
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(slots=True)
class Tally:
    """What the buyers of a crowd were told."""

    taken_in: dict[str, Buyer] = field(default_factory=dict)
    """The purchases of those who got a 202, or were told after a try without an answer that it had succeeded."""
    refused: list[Buyer] = field(default_factory=list)
    """Those who were told that it is sold out."""
    tries_again: Counter[str] = field(default_factory=Counter)
    """How often somebody had to try again, by why."""
    strange: list[str] = field(default_factory=list)
    """Answers that no buyer should get."""
    slowest: float = 0.0
    """Seconds from a buyer's first try until it knew."""

    @property
    def answered(self) -> int:
        """How many buyers know what they got."""
        return len(self.taken_in) + len(self.refused)


class Crowd:
    """Buys one piece of a sale for each buyer. On threads of its own."""

    def __init__(
        self, client: Client, sale_id: str, *, at_once: int, taken_in: Callable[[int], None] = lambda _: None
    ) -> None:
        """Take a client (whose own user buys nothing) and how many buyers try at the same time, at most `_AT_ONCE`.

        `taken_in` is called, by the thread of the buyer, each time when one more purchase is; with how many are.
        """
        self._client, self._path = client, f"/flash-sales/{sale_id}/orders"
        self._at_once, self._taken_in = max(1, min(at_once, _AT_ONCE)), taken_in
        self._lock, self._over = threading.Lock(), threading.Event()
        self.tally = Tally()

    @contextmanager
    def buying(self, buyers: Sequence[Buyer]) -> Iterator[Callable[[float], bool]]:
        """Have all of them buy; yield what waits for so many seconds and returns whether all know what they got.

        Who does not know yet when this is left gives up. Both raise what `taken_in` raised.
        """
        queue = iter(buyers)
        self._over.clear()
        with ThreadPoolExecutor(self._at_once) as pool:
            lanes = [pool.submit(self._work, queue) for _ in range(self._at_once)]
            try:
                yield lambda seconds: _all_done(lanes, seconds)
            finally:
                self._over.set()
        _all_done(lanes, 0)

    def _work(self, queue: Iterator[Buyer]) -> None:
        while not self._over.is_set() and (buyer := self._next(queue)) is not None:
            self._buy(buyer)

    def _next(self, queue: Iterator[Buyer]) -> Buyer | None:
        with self._lock:
            return next(queue, None)

    def _buy(self, buyer: Buyer) -> None:
        began = time.monotonic()
        while not self._over.is_set():
            try:
                answer = self._client.ask("flash", "POST", self._path, headers=buyer.headers)
            except Unreachable:
                again: str | None = "no answer"
            else:
                again = self._heard(buyer, answer, began)
            if again is None:
                return
            with self._lock:
                self.tally.tries_again[again] += 1
            self._over.wait(_REST)

    def _heard(self, buyer: Buyer, answer: Answer, began: float) -> str | None:
        """Note what a buyer was told; return why it has to try again, None if it need not."""
        slug = str((answer.body or {}).get("type", "")).rpartition("/")[2]
        if answer.status in _AGAIN:
            return f"{answer.status} {slug}"
        purchase = _purchase_of(answer, slug)
        with self._lock:
            tally = self.tally
            tally.slowest = max(tally.slowest, time.monotonic() - began)
            if purchase is not None:
                tally.taken_in[purchase] = buyer
                number = len(tally.taken_in)
            elif slug == SOLD_OUT:
                tally.refused.append(buyer)
            elif len(tally.strange) < _MOST_STRANGE:
                tally.strange.append(f"{buyer.name}: {answer.status} {slug}")
        if purchase is not None:
            self._taken_in(number)
        return None


def _purchase_of(answer: Answer, slug: str) -> str | None:
    """Return where the purchase is that an answer tells of: the one just made, or the buyer's from a try before."""
    where: str | None = None
    if answer.status == _TAKEN_IN:
        where = answer.headers["location"]
    elif slug == "already-bought":
        where = answer.body["location"]
    return where


def _all_done(lanes: Sequence[Future[None]], seconds: float) -> bool:
    """Wait for so long at most; return whether all are done. Raise what one of them raised."""
    done, others = wait(lanes, seconds, FIRST_EXCEPTION)
    for lane in done:
        lane.result()
    return not others
