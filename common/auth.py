"""Bearer tokens: JWTs (RFC 7519) whose `sub` is the user and whose `scope` lists what they may do.

Those of users are the user service's (EdDSA), which alone can make them. Those of services and of the command line are
signed with keys of their own (`common.our_tokens`). Deployments from before have tokens of a secret that all services
share (HS256), for as long as these are taken.
"""

import hashlib
import math
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import jwt

from common import ed25519
from common.errors import Unauthenticated
from common.jwk import FRESH

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from common.config import Settings

AUDIENCE = "orders"
ISSUER: Final = "orders/user"
SCOPES = frozenset({"orders", "admin", "service"})
USER_SCOPES: Final = frozenset({"orders", "admin"})
"""What a token of the user service may allow: it makes none for services."""

_ALGORITHM = "HS256"
_USER = re.compile(r"[!-~]{1,64}")
_LONGEST_HEADER = 4096  # characters
_CACHED = 4096  # verified tokens


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, and what they may do; `session_id`: the log-in that a token of the user service belongs to."""

    user_id: str
    scopes: frozenset[str]
    session_id: str | None = None


class PublicKeys(Protocol):
    """The keys that verify the user service's tokens."""

    @property
    def told(self) -> bool:
        """Whether they are known from user itself; what other keys verify is not remembered."""
        ...

    def find(self, kid: str) -> bytes | None:
        """Return a key, None where there is none of this name. Raise `Unavailable` where that can't be told."""


class OurTokens(Protocol):
    """What reads the tokens of our own processes."""

    def version(self) -> int:
        """Return a number that grows when the keys are others."""

    def read(self, token: str, kid: str) -> tuple[Identity, float] | None:
        """Return whom a token names and when it ends, None where no key of ours has this name.

        Raise `Unauthenticated` or `jwt.PyJWTError` where it is not good.
        """


def issue(secret: str, user: str, scopes: Iterable[str], lifetime: float) -> str:
    """Return a token for `user`, signed with the shared secret. Raise as `claims_for` does."""
    return jwt.encode(claims_for(user, scopes, lifetime), secret, algorithm=_ALGORITHM)


def claims_for(user: str, scopes: Iterable[str], lifetime: float) -> dict[str, Any]:
    """Return the claims of a token for `user` (1 to 64 visible ASCII characters), valid for `lifetime` seconds.

    Raise `ValueError` if user or scopes can't be in one.
    """
    scopes = sorted(scopes)
    if _USER.fullmatch(user) is None:
        raise ValueError("a user is 1 to 64 visible ASCII characters")
    if not SCOPES.issuperset(scopes):
        raise ValueError(f"the scopes are {', '.join(sorted(SCOPES))}")
    now = time.time()
    return {"sub": user, "scope": " ".join(scopes), "aud": AUDIENCE, "iat": int(now), "exp": now + lifetime}


class _Read(NamedTuple):
    """What a token says; `lasting`: it need not be verified again until it expires, or for `longest` seconds."""

    identity: Identity
    expires: float
    lasting: bool = True
    longest: float = math.inf


class Verifier:
    """Checks Authorization headers; remembers those it verified until their tokens expire. Thread-safe.

    Those of users it remembers for `FRESH` seconds at most: a key of the user service may end before its tokens do.
    """

    def __init__(self, secret: str | None, users: PublicKeys | None = None, ours: OurTokens | None = None) -> None:
        """Verify tokens of the user service with the keys of `users`, and those of our own processes as `ours` does.

        With `secret`, at least 32 bytes, tokens signed with it are taken, too; None: none of them, whatever it says.
        """
        self._secret, self._users, self._ours = secret, users, ours
        self._warned = False
        self._verified: dict[bytes, tuple[Identity, float]] = {}
        self._version = 0
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
        version = self._look()
        digest = hashlib.sha256(header.encode(errors="surrogatepass")).digest()
        known = self._verified.get(digest)
        if known is not None and time.time() < known[1]:
            return known[0]
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated
        found = self._read(token.strip(" "))
        if found.lasting:
            until = min(found.expires, time.time() + found.longest)
            self._remember(digest, found.identity, until, version)
        return found.identity

    def expires(self, header: str) -> int:
        """Return when the token of an Authorization header expires, in seconds since the epoch.

        Raise `Unauthenticated` where `verify` would.
        """
        self.verify(header)
        return int(self._read(header.partition(" ")[2].strip(" ")).expires)

    def _read(self, token: str) -> _Read:
        """Return whom a token names and when it expires. A key is never used in a way that a token chooses."""
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") == ed25519.NAME:
                return self._of_key(token, head.get("kid"))
            return self._of_secret(token)
        except (jwt.PyJWTError, ValueError, OverflowError) as error:
            raise Unauthenticated from error

    def _of_key(self, token: str, kid: object) -> _Read:
        """Return whom a token names that a key of ours signed, or one of the user service."""
        if not isinstance(kid, str):
            raise Unauthenticated
        if self._ours is not None and (found := self._ours.read(token, kid)) is not None:
            return _Read(*found)
        lasting = self._users is not None and self._users.told  # before it finds: it is not told less afterwards
        key = None if self._users is None else self._users.find(kid)
        if key is None:
            raise Unauthenticated
        claims = ed25519.verify(token, key, audience=AUDIENCE, issuer=ISSUER)
        # Who stole a key writes any `exp`: after a while its token is held against the keys as they are then.
        return _Read(identity_of(claims, USER_SCOPES, claims.get("sid")), int(claims["exp"]), lasting, FRESH)

    def _of_secret(self, token: str) -> _Read:
        """Return whom a token of the shared secret names, if such a one may: any service can make one for anybody."""
        if self._secret is None:
            raise Unauthenticated
        claims = jwt.decode(
            token,
            self._secret,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            # RFC 7519, 4.1.6: iat tells a token's age and refuses nothing. A service whose clock is a second
            # ahead would be refused by all others, each time it renews its token, until they had caught up.
            options={"require": ["exp", "sub", "aud"], "verify_iat": False},
        )
        identity = identity_of(claims, SCOPES)
        if self._users is not None and not self._warned and identity.scopes != {"service"}:
            self._warned = True
            _log().warning(
                "a token was taken that any service can make", user=identity.user_id, see="ORDERS_HS256_TOKENS"
            )
        return _Read(identity, int(claims["exp"]))

    def _look(self) -> int:
        """Return the number of our processes' keys; what others verified is forgotten: a key may have gone."""
        version = 0 if self._ours is None else self._ours.version()
        if version != self._version:
            with self._lock:
                self._verified.clear()
                self._version = version
        return version

    def _remember(self, digest: bytes, identity: Identity, expires: float, version: int) -> None:
        with self._lock:
            if version != self._version:  # it was read with keys of before
                return
            if len(self._verified) >= _CACHED:
                self._verified.clear()  # verifying anew costs 0.2 ms a token; order of use isn't worth a lock
            self._verified[digest] = (identity, expires)


def _log() -> "FilteringBoundLogger":
    import structlog  # noqa: PLC0415 - as below

    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def identity_of(claims: Mapping[str, Any], allowed: frozenset[str], session: object = None) -> Identity:
    """Return whom verified claims name, with those of their scopes that are allowed. Raise `Unauthenticated`."""
    user, scope = claims["sub"], claims.get("scope", "")
    if not isinstance(user, str) or _USER.fullmatch(user) is None or not isinstance(scope, str):
        raise Unauthenticated
    return Identity(user, frozenset(scope.split(" ")) & allowed, session if isinstance(session, str) else None)


Means = tuple[str | None, PublicKeys, OurTokens | None]
"""What a `Verifier` is made of."""


def verifier_of(settings: "Settings", service: str, users: PublicKeys | None = None) -> Verifier:
    """Return what checks tokens in a service; `users`: the keys of users' tokens, where that has them itself.

    Raise `KeysUnusable` where the public keys of our processes can't be read.
    """
    return Verifier(*means_of(settings, service, users))


def means_of(settings: "Settings", service: str, users: PublicKeys | None = None) -> Means:
    """Return what to make a `Verifier` of. Arguments and errors as `verifier_of`'s."""
    from common.our_tokens import OPERATOR_SCOPES, OwnTokens  # noqa: PLC0415 - the command line needs none of these
    from common.own_keys import OwnPublicKeys  # noqa: PLC0415
    from common.user_keys import UserKeys  # noqa: PLC0415

    keys, ours = settings.public_keys, None
    if keys is not None:
        ours = OwnTokens(OwnPublicKeys(keys), service, OPERATOR_SCOPES[settings.operator_may])
    secret = settings.jwt_secret.get_secret_value() if settings.takes_hs256 else None
    return secret, users or UserKeys(settings.url("user"), file=settings.user_keys_file), ours
