"""Log-ins and their tokens: an access token, good for minutes, and a refresh token that is good once.

A refresh token that comes a second time was stolen, or its thief's successor comes: its whole family ends.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, and_, delete, insert, select, update

from common import ed25519
from common.auth import AUDIENCE, ISSUER
from common.db import Database
from common.purging import purge
from halfmessage.clock import now_ms
from halfmessage.ids import IdSource
from user.model import WrongRefreshToken, sessions, users
from user.service.audit import Audit, Outcome
from user.service.keys import SigningKeys

MOST: Final = 50  # log-ins of one user at once; one more ends the oldest
_RANDOM: Final = 32  # bytes of each half of a refresh token
_C = sessions.c


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a log-in, or its refreshing, gives; `expires_in` in seconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """For how many seconds an access token is good, and a log-in may be refreshed."""

    access: float
    refresh: float


class Sessions:
    """The log-ins of all users."""

    def __init__(
        self,
        database: Database,
        ids: IdSource,
        keys: SigningKeys,
        audit: Audit,
        lifetimes: Lifetimes,
        *,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Keep them in `database`; `clock` in ms since the epoch."""
        self._database, self._ids, self._keys, self._audit = database, ids, keys, audit
        self._lifetimes, self._clock = lifetimes, clock

    def begin(self, connection: Connection, user_id: int, *, is_admin: bool) -> Tokens:
        """Begin a log-in, in a transaction; return its tokens."""
        now, session_id = self._clock(), self._ids.next()
        family, own = _random(), _random()
        row = {"session_id": session_id, "user_id": user_id, "family_hash": _hash(family), "token_hash": _hash(own)}
        ends = now + int(self._lifetimes.refresh * 1000)
        connection.execute(insert(sessions).values(**row, created_at=now, refreshed_at=now, expires_at=ends))
        # Never the new one: after the clock went back, its id is lower than those from before
        is_other = (_C.user_id == user_id) & (_C.session_id != session_id)
        others = select(_C.session_id).where(is_other).order_by(_C.session_id.desc())
        beyond = connection.scalars(others.offset(MOST - 1).limit(MOST)).all()
        if beyond:
            connection.execute(delete(sessions).where(_C.session_id.in_(beyond)))
        return self._tokens(user_id, session_id, f"{family}.{own}", is_admin=is_admin)

    def refresh(self, token: str, address: str) -> Tokens:
        """Return new tokens for a refresh token. Raise `WrongRefreshToken`, or as `transact` does.

        One compare-and-set decides who uses a token, however many threads have it. A client that shows one that was
        used already ends the family.
        """
        family, _, own = token.partition(".")
        following = _random()
        is_family = _C.family_hash == _hash(family)
        reused = False

        def work(connection: Connection) -> Tokens | None:
            now = self._clock()
            is_its_newest = and_(is_family, _C.token_hash == _hash(own), _C.expires_at > now)
            changed = update(sessions).where(is_its_newest).values(token_hash=_hash(following), refreshed_at=now)
            if connection.execute(changed).rowcount:
                of_user = select(_C.session_id, users.c.user_id, users.c.is_admin).join(
                    users, users.c.user_id == _C.user_id
                )
                row = connection.execute(of_user.where(is_family)).one_or_none()
                if row is None:  # the user was deleted while this log-in began
                    return None
                return self._tokens(row.user_id, row.session_id, f"{family}.{following}", is_admin=row.is_admin)
            nonlocal reused
            reused = self._end_family(connection, family, address)
            return None

        tokens = self._database.transact(work)
        if tokens is None:
            wrong = WrongRefreshToken()
            wrong.reused = reused
            raise wrong
        return tokens

    def _end_family(self, connection: Connection, family: str, address: str) -> bool:
        """End the log-in of a token that is not its newest, in a transaction; return whether there was one."""
        of_user = select(users.c.user_id, users.c.name).join(sessions, users.c.user_id == _C.user_id)
        row = connection.execute(of_user.where(_C.family_hash == _hash(family))).first()
        if row is not None:
            connection.execute(delete(sessions).where(_C.family_hash == _hash(family)))
            self._audit.note(connection, row.user_id, row.name, address, Outcome.REUSED)
        return row is not None

    def end(self, session_id: int) -> None:
        """End a log-in: its refresh token is good no more. Again: nothing."""
        self._database.transact(
            lambda connection: connection.execute(delete(sessions).where(_C.session_id == session_id))
        )

    @staticmethod
    def end_of_user(connection: Connection, user_id: int, *, but: int | None = None) -> None:
        """End the log-ins of a user, in a transaction, `but` one of them."""
        others = [] if but is None else [_C.session_id != but]
        connection.execute(delete(sessions).where(_C.user_id == user_id, *others))

    def purge(self) -> int:
        """Delete those that are over; return how many."""
        return purge(self._database, _C.expires_at, self._clock())

    def _tokens(self, user_id: int, session_id: int, refresh_token: str, *, is_admin: bool) -> Tokens:
        now, key = self._clock() // 1000, self._keys.signer()
        lifetime = int(self._lifetimes.access)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "scope": "admin orders" if is_admin else "orders",
            "iat": now,
            "exp": now + lifetime,
        }
        return Tokens(ed25519.sign(claims, key.private, key.kid), refresh_token, lifetime)


def _random() -> str:
    return secrets.token_urlsafe(_RANDOM)


def _hash(text: str) -> str:
    """Hash 256 random bits: nothing that is slow is needed."""
    return hashlib.sha256(text.encode()).hexdigest()
