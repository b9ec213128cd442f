"""Pieces in Redis: each call is one script, so nothing comes in between, and all keys of a sale are in one hash slot.

Redis may lose what it was told last: what that means is said in docs/decisions/0037.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import redis

from common.errors import RedisUnavailable
from common.redis_client import RedisClient
from flash.pieces.port import (
    KEEP,
    MOST,
    MOST_PLACES,
    TAKE_WITHIN,
    Answer,
    Buyer,
    Look,
    Phase,
    Place,
    Purchase,
    PurchaseState,
    Terms,
    Totals,
    Verdict,
    in_step,
)
from flash.pieces.scripts import script
from flash.pieces.taking import bounded
from halfmessage.errors import NotFound, OutcomeUnknown
from halfmessage.ids import issued_at
from halfmessage.tx.record import Outcome

_STATES: Final = {"t": PurchaseState.TAKEN, "h": PurchaseState.HELD, "r": PurchaseState.RETURNED}
_LETTERS: Final = {state: letter for letter, state in _STATES.items()}
_COUNTS: Final = ("version", "quantity", "pieces", "taken", "held", "returned", "aborted")
_DIGITS: Final = 19  # of the largest id: as text, ids are in their order only if they are equally long


class RedisPieces:
    """Implements `Pieces` in one Redis, or in a cluster's node that has the slots of all sales."""

    def __init__(
        self,
        client: RedisClient,
        *,
        prefix: str = "orders:flash",
        keep: float = KEEP,
        take_within: float = TAKE_WITHIN,
        most_places: int = MOST_PLACES,
    ) -> None:
        """Take Redis, and what the names of our keys begin with. `keep`, `take_within`: see the port, in seconds.

        `most_places`: see `MOST_PLACES`.
        """
        self._most_places = most_places
        self._client = client
        self._prefix = prefix
        self._keep_ms = int(keep * 1000)
        self._within_ms = int(take_within * 1000)

    def take(self, sale_id: int, tx_id: int, buyers: Sequence[Buyer]) -> list[Answer]:
        """See `Pieces`."""
        bounded(len(buyers), MOST)
        if not buyers:
            return []
        times = (issued_at(tx_id), self._within_ms, self._keep_ms)
        try:
            found = self._run("take", sale_id, (tx_id, *times, *_named(buyers)), f"tx:{tx_id}")
        except RedisUnavailable as error:
            if _was_not_done(error):
                raise
            raise OutcomeUnknown from error
        return [Answer(Verdict(_text(verdict)), _id(first)) for verdict, first in zip(*[iter(found)] * 2, strict=True)]

    def look(self, sale_id: int, user_ids: Sequence[str] = ()) -> Look | None:
        """See `Pieces`."""
        bounded(len(user_ids), MOST)
        if not (found := self._run("look", sale_id, user_ids)):
            return None
        phase, left, is_ready, *firsts = found
        bought = {user_id: int(first) for user_id, first in zip(user_ids, firsts, strict=True) if first}
        return Look(Phase(_text(phase)), left, bool(is_ready), bought)

    def decide(self, sale_id: int, tx_id: int) -> Outcome | None:
        """See `Pieces`."""
        times = (issued_at(tx_id), self._within_ms, self._keep_ms)
        outcome = _text(self._run("decide", sale_id, times, f"tx:{tx_id}"))
        return None if outcome == "open" else Outcome(outcome)

    def hold(self, sale_id: int, purchases: Sequence[Buyer]) -> list[bool]:
        """See `Pieces`."""
        return self._settle(sale_id, purchases, PurchaseState.HELD)

    def give_back(self, sale_id: int, purchases: Sequence[Buyer]) -> list[bool]:
        """See `Pieces`."""
        return self._settle(sale_id, purchases, PurchaseState.RETURNED)

    def put(self, terms: Terms) -> None:
        """See `Pieces`."""
        names = ("quantity", "starts_at", "ends_at", "per_user")
        values = [item for name in names for item in (name, getattr(terms, name))]
        self._run("put", terms.sale_id, (self._keep_ms, int(terms.is_ended), terms.version, *values))

    def set_ready(self, sale_id: int) -> None:
        """See `Pieces`."""
        if not self._run("ready", sale_id):
            raise NotFound

    def end(self, sale_id: int) -> None:
        """See `Pieces`."""
        self._run("put", sale_id, (self._keep_ms, 1, 0))

    def find(self, sale_id: int, purchase_ids: Sequence[int]) -> dict[int, Purchase]:
        """See `Pieces`."""
        bounded(len(purchase_ids), MOST)
        fields = [_field(one) for one in purchase_ids]
        values = (
            self._client.call(lambda client: client.hmget(self._key(sale_id, "purchases"), fields)) if fields else []
        )
        try:
            found = [_purchase(field, value) for field, value in zip(fields, values, strict=True) if value is not None]
        except ValueError as error:  # it is none of ours: what is there is not known
            raise RedisUnavailable from error
        return {one.purchase_id: one for one in found}

    def open_purchases(self, sale_id: int, *, before: int, after: int = 0, limit: int = MOST) -> list[Purchase]:
        """See `Pieces`."""
        bounded(limit, MOST)
        key, end = self._key(sale_id, "open"), f"({_field(before)}"
        while True:
            begin = f"({_field(after)}"
            page = self._client.call(lambda client, at=begin: client.zrangebylex(key, at, end, 0, limit))  # type: ignore[misc]
            ids = [int(one) for one in page]
            found = self.find(sale_id, ids)
            still = [found[one] for one in ids if one in found and found[one].state is PurchaseState.TAKEN]
            if still or not ids:
                return still
            after = ids[-1]  # all of them were settled meanwhile

    def forget(self, sale_id: int) -> None:
        """See `Pieces`."""
        self._run("forget", sale_id, (self._keep_ms,), "forgotten")

    def forgotten_till(self, sale_id: int) -> int:
        """See `Pieces`."""
        at: Any = self._client.call(lambda client: client.get(self._key(sale_id, "forgotten")))
        return 0 if at is None else int(at) + self._within_ms

    def queue(self, sale_id: int, user_ids: Sequence[str], *, between: int) -> list[Place | None] | None:
        """See `Pieces`."""
        bounded(len(user_ids), MOST)
        asked: list[str | int] = [self._keep_ms, between, self._most_places, *user_ids]
        found = self._run("queue", sale_id, asked, "places")
        return [_place(value) for value in found] if found or not user_ids else None

    def purchases(self, sale_id: int) -> Iterator[Purchase]:
        """See `Pieces`."""
        key, cursor = self._key(sale_id, "purchases"), 0
        while True:
            cursor, page = self._client.call(lambda client, at=cursor: client.hscan(key, at, count=MOST))  # type: ignore[misc]
            yield from (_purchase(field, value) for field, value in page.items())
            if not cursor:
                return

    def totals(self, sale_id: int) -> Totals | None:
        """See `Pieces`."""

        def read(client: redis.Redis) -> list[int]:
            values: Any = client.hmget(self._key(sale_id, "sale"), list(_COUNTS))
            return [int(value or 0) for value in values]

        version, *counts = self._client.call(read)
        return Totals(*counts) if version else None

    def purge(self) -> int:
        """See `Pieces`."""
        return 0

    def incarnation(self) -> str:
        """See `Pieces`: each start of a Redis, and each one that takes another's place, has an id of its own."""
        found: Any = self._client.call(lambda client: client.info("server"))
        return str(found["run_id"])

    def ping(self) -> None:
        """See `Pieces`."""
        seconds, microseconds = self._client.call(lambda client: client.time())
        in_step(seconds * 1000 + microseconds // 1000, self._within_ms)

    def close(self) -> None:
        """See `Pieces`."""
        self._client.close()

    def _settle(self, sale_id: int, purchases: Sequence[Buyer], state: PurchaseState) -> list[bool]:
        bounded(len(purchases), MOST)
        if not purchases:
            return []
        told = self._run("settle", sale_id, (_LETTERS[state], self._keep_ms, *_named(purchases)))
        return [bool(one) for one in told]

    def _run(self, name: str, sale_id: int, arguments: Sequence[str | int] = (), *fifth: str) -> Any:
        """Run a script; `fifth`: what it has as its fifth key."""
        keys = [*self._sale_keys(sale_id), *(self._key(sale_id, what) for what in fifth)]
        return self._client.call(lambda client: script(name)(client, keys, arguments))

    def _sale_keys(self, sale_id: int) -> list[str]:
        return [self._key(sale_id, what) for what in ("sale", "purchases", "buyers", "open")]

    def _key(self, sale_id: int, what: str) -> str:
        """Return a key of a sale: what is in braces decides its hash slot."""
        return f"{self._prefix}:{{{sale_id}}}:{what}"


def _was_not_done(error: RedisUnavailable) -> bool:
    """Whether a script surely was not run: it was not even sent, or Redis refused it.

    A refusal comes before the first write: where memory or the disk is full, on a replica, for a missing right.
    """
    return error.__cause__ is None or isinstance(error.__cause__, redis.ResponseError)


def _named(purchases: Sequence[Buyer]) -> list[str | int]:
    return [item for one in purchases for item in (_field(one.purchase_id), one.user_id, one.quantity)]


def _field(purchase_id: int) -> str:
    return str(purchase_id).zfill(_DIGITS)


def _purchase(field: str | bytes, value: str | bytes) -> Purchase:
    """Return a purchase. Raise `ValueError` for what is none, as somebody else wrote it."""
    state, quantity, tx_id, user_id = _text(value).split("|", 3)
    if state not in _STATES:
        raise ValueError(state)
    return Purchase(int(field), user_id, int(quantity), _STATES[state], int(tx_id))


def _place(value: str | bytes) -> Place | None:
    if not value:
        return None
    number, turn_us = _text(value).split("|")
    return Place(int(number), int(turn_us) // 1000)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def _id(value: bytes) -> int | None:
    return int(value) if value else None
