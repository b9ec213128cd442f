"""Bearer tokens: JWTs (RFC 7519) whose `sub` is the user and whose `scope` lists what they may do.

Those of users are the user service's (EdDSA), which alone can make them. Those of services are signed with the secret
that all of them share (HS256), as are users' tokens of deployments from before, for as long as these are taken.
"""

import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import jwt

from common import ed25519
from common.errors import Unauthenticated
from common.registry import ALL_NAMES

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from common.config import Settings

AUDIENCE = "orders"
ISSUER: Final = "orders/user"
SCOPES = frozenset({"orders", "admin", "service"})
USER_SCOPES: Final = frozenset({"orders", "admin"})
"""What a token of the user service may allow: it makes none for services."""
MONITOR: Final = "prometheus"
"""Who reads metrics, which takes no scope."""

SERVICE_TOKEN_LIFETIME = 600.0  # seconds

_ALGORITHM = "HS256"
_USER = re.compile(r"[!-~]{1,64}")
_LONGEST_HEADER = 4096  # characters
_CACHED = 4096  # verified tokens
_SERVICES: Final = frozenset(ALL_NAMES)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, and what they may do; `session_id`: the log-in that a token of the user service belongs to."""

    user_id: str
    scopes: frozenset[str]
    session_id: str | None = None


class PublicKeys(Protocol):
    """The keys that verify the user service's tokens."""

    def find(self, kid: str) -> bytes | None:
        """Return a key, None where there is none of this name. Raise `Unavailable` where that can't be told."""


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

    def __init__(self, secret: str, users: PublicKeys | None = None, *, shared_secret: bool = True) -> None:
        """Verify with `secret`, at least 32 bytes, and tokens of the user service with the keys of `users`.

        Without `shared_secret`, the secret is good for services' own tokens alone.
        """
        self._secret, self._users, self._shared_secret = secret, users, shared_secret
        self._warned = False
        self._verified: dict[str, tuple[Identity, int]] = {}
        self._lock = threading.Lock()

    @property
    def keys(self) -> PublicKeys | None:
        """The keys of the user service, where it has such ones."""
        return self._users

    def verify(self, header: str | None) -> Identity:
        """Return whom an Authorization header names.

        Raise `Unauthenticated`, or `Unavailable` where the user service does not tell the key of its token.
        """
        if header is None or len(header) > _LONGEST_HEADER:
            raise Unauthenticated
        known = self._verified.get(header)
        if known is not None and time.time() < known[1]:
            return known[0]
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        identity, expires = self._read(token.strip(" "))
        self._remember(header, identity, expires)
        return identity

    def expires(self, header: str) -> int:
        """Return when the token of an Authorization header expires, in seconds since the epoch.

        Raise `Unauthenticated` where `verify` would.
        """
        self.verify(header)
        return self._read(header.partition(" ")[2].strip(" "))[1]

    def _read(self, token: str) -> tuple[Identity, int]:
        """Return whom a token names and when it expires. A key is never used in a way that a token chooses."""
        try:
            if self._users is not None and (head := jwt.get_unverified_header(token)).get("alg") == ed25519.NAME:
                claims = _of_user(token, self._users, head.get("kid"))
                identity = _identity(claims, USER_SCOPES, claims.get("sid"))
            else:
                claims = self._decode(token)
                identity = self._of_secret(_identity(claims, SCOPES))
            return identity, int(claims["exp"])
        except (jwt.PyJWTError, ValueError, OverflowError) as error:
            raise Unauthenticated from error

    def _decode(self, token: str) -> Mapping[str, Any]:
        return jwt.decode(
            token,
            self._secret,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            # RFC 7519, 4.1.6: iat tells a token's age and refuses nothing. A service whose clock is a second
            # ahead would be refused by all others, each time it renews its token, until they had caught up.
            options={"require": ["exp", "sub", "aud"], "verify_iat": False},
        )

    def _of_secret(self, identity: Identity) -> Identity:
        """Return whom a token of the shared secret names, if such a one may: any service can make one for anybody."""
        if self._users is None or (identity.scopes == {"service"} and identity.user_id in _SERVICES):
            return identity
        if not self._shared_secret:
            if identity.user_id != MONITOR:
                raise Unauthenticated
            return Identity(MONITOR, frozenset())
        if not self._warned:
            self._warned = True
            _log().warning(
                "a token was taken that any service can make", user=identity.user_id, see="ORDERS_HS256_TOKENS"
            )
        return identity

    def _remember(self, header: str, identity: Identity, expires: int) -> None:
        with self._lock:
            if len(self._verified) >= _CACHED:
                self._verified.clear()  # verifying anew costs 30 microseconds a token; order of use isn't worth a lock
            self._verified[header] = (identity, expires)


def _log() -> "FilteringBoundLogger":
    import structlog  # noqa: PLC0415 - as below

    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _of_user(token: str, users: PublicKeys, kid: object) -> Mapping[str, Any]:
    key = users.find(kid) if isinstance(kid, str) else None
    if key is None:
        raise Unauthenticated
    return ed25519.verify(token, key, audience=AUDIENCE, issuer=ISSUER)


def _identity(claims: Mapping[str, Any], allowed: frozenset[str], session: object = None) -> Identity:
    user, scope = claims["sub"], claims.get("scope", "")
    if not isinstance(user, str) or _USER.fullmatch(user) is None or not isinstance(scope, str):
        raise Unauthenticated
    return Identity(user, frozenset(scope.split(" ")) & allowed, session if isinstance(session, str) else None)


def verifier_of(settings: "Settings") -> Verifier:
    """Return what checks tokens in a service other than user, which has the keys itself."""
    from common.user_keys import UserKeys  # noqa: PLC0415 - the command line makes tokens, and needs none of it

    return Verifier(
        settings.jwt_secret.get_secret_value(),
        UserKeys(settings.url("user")),
        shared_secret=settings.hs256_tokens,
    )
