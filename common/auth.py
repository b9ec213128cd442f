"""Bearer tokens: HS256 JWTs (RFC 7519) whose `sub` is the user and whose `scope` lists what they may do."""

import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from common.errors import Unauthenticated

AUDIENCE = "orders"
SCOPES = frozenset({"orders", "admin", "service"})

SERVICE_TOKEN_LIFETIME = 600.0  # seconds

_ALGORITHM = "HS256"
_USER = re.compile(r"[!-~]{1,64}")
_LONGEST_HEADER = 4096  # characters
_CACHED = 4096  # verified tokens


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, and what they may do."""

    user_id: str
    scopes: frozenset[str]


def issue(secret: str, user: str, scopes: Iterable[str], lifetime: float) -> str:
    """Return a token for `user` (1 to 64 visible ASCII characters), valid for `lifetime` seconds.

    Raise `ValueError` if user or scopes can't be in one.
    """
    scopes = sorted(scopes)
    if _USER.fullmatch(user) is None:
        raise ValueError("a user is 1 to 64 visible ASCII characters")
    if not SCOPES.issuperset(scopes):
        raise ValueError(f"the scopes are {', '.join(sorted(SCOPES))}")
    now = time.time()
    claims = {"sub": user, "scope": " ".join(scopes), "aud": AUDIENCE, "iat": int(now), "exp": now + lifetime}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


class ServiceToken:
    """A service's own bearer token, made anew after half of its lifetime. Thread-safe."""

    def __init__(self, secret: str, service: str, *, lifetime: float = SERVICE_TOKEN_LIFETIME) -> None:
        """Sign with `secret` for `service`; a token is good for `lifetime` seconds."""
        self._secret = secret
        self._service = service
        self._lifetime = lifetime
        self._token = ""  # nosec B105 - none is issued yet
        self._renew_at = (float("-inf"), float("-inf"))  # of time.monotonic(), of time.time()

    def __call__(self) -> str:
        """Return a token that is good for at least half of its lifetime."""
        monotonic_due, wall_due = self._renew_at
        # Others judge it by the wall clock, which goes on in a machine that was suspended; where that was set back,
        # only the other one tells how old it is.
        if time.monotonic() >= monotonic_due or time.time() >= wall_due:
            half = self._lifetime / 2
            due = (time.monotonic() + half, time.time() + half)
            self._token = issue(self._secret, self._service, ["service"], self._lifetime)
            self._renew_at = due  # last, or another thread would take the token before for a new one
        return self._token


class Verifier:
    """Checks Authorization headers; remembers those it verified until their tokens expire. Thread-safe."""

    def __init__(self, secret: str) -> None:
        """Verify with `secret`, at least 32 bytes."""
        self._secret = secret
        self._verified: dict[str, tuple[Identity, int]] = {}
        self._lock = threading.Lock()

    def verify(self, header: str | None) -> Identity:
        """Return whom an Authorization header names; raise `Unauthenticated`."""
        if header is None or len(header) > _LONGEST_HEADER:
            raise Unauthenticated
        known = self._verified.get(header)
        if known is not None and time.time() < known[1]:
            return known[0]
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        claims = self._decode(token.strip(" "))
        identity = _identity(claims)
        self._remember(header, identity, int(claims["exp"]))
        return identity

    def expires(self, header: str) -> int:
        """Return when the token of an Authorization header expires, in seconds since the epoch.

        Raise `Unauthenticated` where `verify` would.
        """
        self.verify(header)
        return int(self._decode(header.partition(" ")[2].strip(" "))["exp"])

    def _decode(self, token: str) -> Mapping[str, Any]:
        try:
            return jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                # RFC 7519, 4.1.6: iat tells a token's age and refuses nothing. A service whose clock is a second
                # ahead would be refused by all others, each time it renews its token, until they had caught up.
                options={"require": ["exp", "sub", "aud"], "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, OverflowError) as error:
            raise Unauthenticated from error

    def _remember(self, header: str, identity: Identity, expires: int) -> None:
        with self._lock:
            if len(self._verified) >= _CACHED:
                self._verified.clear()  # verifying anew costs 30 microseconds a token; order of use isn't worth a lock
            self._verified[header] = (identity, expires)


def _identity(claims: Mapping[str, Any]) -> Identity:
    user, scope = claims["sub"], claims.get("scope", "")
    if not isinstance(user, str) or _USER.fullmatch(user) is None or not isinstance(scope, str):
        raise Unauthenticated
    return Identity(user, frozenset(scope.split(" ")) & SCOPES)
