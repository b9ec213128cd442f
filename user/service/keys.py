"""The keys that sign users' tokens: made here, published before they sign and until their last token has ended.

They are rows, so that all instances have the same ones, and a rotation needs no restart: each reads them again after
`_READ_AFTER`. What is written there is read by those who may read user's database, and by no other service.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from common import ed25519
from common.db import Database
from common.jwk import raw_of, text_of, thumbprint
from common.user_keys import REFETCH
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow, NotFound, Unavailable
from user.model import signing_keys

LEAD: Final = (
    2 * REFETCH
)  # seconds that a key is published before it signs: by then all verifiers may have asked for it
MARGIN: Final = 60.0  # seconds that it stays after its last token has ended: clocks differ
_READ_AFTER: Final = 5.0  # seconds
_READ_WITHIN: Final = 2.0  # seconds that a request waits for what another one is reading
_C = signing_keys.c


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key; times in ms since the epoch. `ends_at`: when its last token has ended; None while no other follows it."""

    number: int
    kid: str
    private: bytes = field(repr=False)
    public: bytes
    signs_from: int
    ends_at: int | None = None


class SigningKeys:
    """The keys, as this process has read them lately. Thread-safe."""

    def __init__(self, database: Database, lifetime: float, *, clock: Callable[[], int] = now_ms) -> None:
        """Keep them in `database`; tokens are good for `lifetime` seconds; `clock` in ms since the epoch."""
        self._database, self._clock = database, clock
        self._stays = int((lifetime + MARGIN) * 1000)
        self._keys: Sequence[SigningKey] = ()
        self._read_at = float("-inf")  # time.monotonic()
        self._reading = threading.Lock()

    def ensure(self) -> None:
        """Make the first key where there is none; it signs at once. Raise as `transact` does."""
        if not self._read():
            self._add(lambda last: self._clock() if last is None else None)
        self.signer()

    def rotate(self) -> SigningKey:
        """Make a key that signs after `LEAD` seconds, in place of the one before. Raise as `transact` does."""
        return self._add(lambda last: max(self._clock(), last or 0) + int(LEAD * 1000))

    def signer(self) -> SigningKey:
        """Return the key that signs now. Raise `Unavailable`, or `NotFound` where there is none.

        Where the time of none has come, the clock went back: then the first one does, which has signed already.
        """
        now, keys = self._clock(), self._read()
        if not keys:
            raise NotFound("There is no signing key.")
        return next((key for key in reversed(keys) if key.signs_from <= now), keys[0])

    def published(self) -> list[SigningKey]:
        """Return the keys whose tokens are good, or will be."""
        now = self._clock()
        return [key for key in self._read() if key.ends_at is None or now < key.ends_at]

    @property
    def told(self) -> bool:
        """Always: these are user's own."""
        return True

    def find(self, kid: str) -> bytes | None:
        """Return the public key of this name, as other services find it. Raise `Unavailable`."""
        return next((key.public for key in self.published() if key.kid == kid), None)

    def purge(self) -> int:
        """Delete the keys whose last token has ended; return how many."""
        now = self._clock()
        over = [key.number for key in self._read(anew=True) if key.ends_at is not None and key.ends_at <= now]
        if over:
            self._database.transact(
                lambda connection: connection.execute(delete(signing_keys).where(_C.number.in_(over)))
            )
            self._read(anew=True)
        return len(over)

    def _read(self, *, anew: bool = False) -> Sequence[SigningKey]:
        """Return the keys, read again where that is due; `anew`: in any case.

        One thread reads at a time. Others go on with what is known: a database that hangs holds up one request, and a
        key is published long before it signs. Raise `Unavailable` where nothing is known, or all is to be read anew,
        and another thread is reading for `_READ_WITHIN`.
        """
        if not (anew or self._is_due()):
            return self._keys
        is_needed = anew or not self._keys
        if not self._reading.acquire(timeout=_READ_WITHIN if is_needed else 0):
            if is_needed:
                raise Unavailable("The signing keys are being read; try again.")
            return self._keys
        try:
            if anew or self._is_due():
                with self._database.read() as connection:
                    self._keys = self._all(connection)
                self._read_at = time.monotonic()
            return self._keys
        finally:
            self._reading.release()

    def _is_due(self) -> bool:
        return not self._keys or time.monotonic() >= self._read_at + _READ_AFTER

    def _all(self, connection: Connection) -> Sequence[SigningKey]:
        rows = connection.execute(select(signing_keys).order_by(_C.number)).all()
        keys = [
            SigningKey(row.number, row.kid, raw_of(row.private_key), raw_of(row.public_key), row.signs_from)
            for row in rows
        ]
        ended = [
            SigningKey(key.number, key.kid, key.private, key.public, key.signs_from, after.signs_from + self._stays)
            for key, after in pairwise(keys)
        ]
        return [*ended, *keys[-1:]]

    def _add(self, signs_from: Callable[[int | None], int | None]) -> SigningKey:
        """Make a key after the last one; `signs_from` is given when that signs, and returns None to make none.

        Return the last one there is then.
        """
        private = os.urandom(ed25519.KEY_LENGTH)
        public = ed25519.public_of(private)

        def work(connection: Connection) -> None:
            last = connection.execute(select(_C.number, _C.signs_from).order_by(_C.number.desc()).limit(1)).first()
            begins = signs_from(None if last is None else last.signs_from)
            if begins is not None:
                row = {"number": 1 if last is None else last.number + 1, "kid": thumbprint(public)}
                row |= {"created_at": self._clock(), "signs_from": begins}
                connection.execute(
                    insert(signing_keys).values(**row, private_key=text_of(private), public_key=text_of(public))
                )

        with suppress(DuplicateRow):  # another instance made one just now: it will do
            self._database.transact(work)
        return self._read(anew=True)[-1]
