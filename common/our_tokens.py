"""Tokens of our own processes: how a service makes its own, and how others read them.

A service's token names the one service that it is for (`aud`), so that who is shown it can't show it to another. What a
key may sign for follows from whose it is, never from what a token says.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from common import ed25519
from common.auth import AUDIENCE, SCOPES, Identity, identity_of, issue
from common.errors import OrdersError, Unauthenticated
from common.own_keys import OwnKey, OwnPublicKeys, issuer
from common.registry import MONITOR, OPERATOR

if TYPE_CHECKING:
    from common.config import Settings
    from common.jwk import PublicKey

SERVICE_TOKEN_LIFETIME: Final = 600.0  # seconds
OPERATOR_SCOPES: Final = {"all": SCOPES, "admin": frozenset({"admin"}), "none": frozenset[str]()}
"""What a token of the operator may do, by ORDERS_OPERATOR_TOKENS."""
_SERVICE: Final = frozenset({"service"})


def audience(service: str) -> str:
    """Return what a token names that another service shows to `service`."""
    return f"orders/{service}"


class Signer(Protocol):
    """Signs a service's tokens."""

    def version(self) -> int:
        """Return a number that grows when it signs with another key."""

    def token(self, service: str, peer: str, lifetime: float) -> str:
        """Return a token of `service` for its calls of `peer`, good for `lifetime` seconds."""


class ByKey:
    """Signs with the service's own key."""

    def __init__(self, key: OwnKey) -> None:
        """Take the key."""
        self._key = key

    def version(self) -> int:
        """Return the number of the key."""
        return self._key.version()

    def token(self, service: str, peer: str, lifetime: float) -> str:
        """Return a token that is good at `peer` alone."""
        now = time.time()
        claims = {"sub": service, "scope": "service", "aud": audience(peer), "iat": int(now), "exp": now + lifetime}
        return self._key.sign(claims)


class BySecret:
    """Signs with the secret that all services of a deployment from before share."""

    def __init__(self, secret: str) -> None:
        """Take the secret."""
        self._secret = secret

    def version(self) -> int:
        """Return the same number always: the secret is one of the process's settings."""
        return 0

    def token(self, service: str, peer: str, lifetime: float) -> str:  # noqa: ARG002 - it is good at all of them
        """Return a token, which any other service could have made."""
        return issue(self._secret, service, ["service"], lifetime)


class ServiceToken:
    """A service's own bearer token, made anew after half of its lifetime. Thread-safe."""

    def __init__(self, signer: Signer, service: str, peer: str, *, lifetime: float = SERVICE_TOKEN_LIFETIME) -> None:
        """Have `signer` sign for calls of `service` to `peer`; a token is good for `lifetime` seconds."""
        self._signer, self._service, self._peer = signer, service, peer
        self._lifetime = lifetime
        self._version = signer.version()
        self._token = ""  # nosec B105 - none is issued yet
        self._renew_at = (float("-inf"), float("-inf"))  # of time.monotonic(), of time.time()

    def __call__(self) -> str:
        """Return a token that is good for at least half of its lifetime, signed with the key that signs now."""
        monotonic_due, wall_due = self._renew_at
        version = self._signer.version()
        # Others judge it by the wall clock, which goes on in a machine that was suspended; where that was set back,
        # only the other one tells how old it is.
        if version != self._version or time.monotonic() >= monotonic_due or time.time() >= wall_due:
            half = self._lifetime / 2
            due = (time.monotonic() + half, time.time() + half)
            self._token = self._signer.token(self._service, self._peer, self._lifetime)
            self._version = version
            self._renew_at = due  # last, or another thread would take the token before for a new one
        return self._token


def tokens_of(settings: "Settings", service: str) -> Callable[[str], ServiceToken]:
    """Return what makes the tokens with which `service` calls another one, by that one's name.

    Raise `KeysUnusable`, or `OrdersError` where there is nothing to sign with.
    """
    signer: Signer
    if settings.key_file is not None:
        signer = ByKey(OwnKey(settings.key_file, service))
    elif settings.takes_hs256:
        signer = BySecret(settings.jwt_secret.get_secret_value())
    else:
        raise OrdersError(f"{service} calls other services, and ORDERS_KEY_FILE names no key to sign with")
    return lambda peer: ServiceToken(signer, service, peer)


class OwnTokens:
    """Reads the tokens of our processes in one of the services."""

    def __init__(self, keys: OwnPublicKeys, service: str, operator: frozenset[str]) -> None:
        """Take the keys, whose tokens to read, and the scopes that the operator's may have; none: none is taken."""
        self._keys, self._audience, self._operator = keys, audience(service), operator

    def version(self) -> int:
        """Return a number that grows when the keys are others."""
        return self._keys.version()

    def read(self, token: str, kid: str) -> tuple[Identity, float] | None:
        """Return whom a token names and when it ends, None where no key of ours has this name.

        Raise `Unauthenticated` or `jwt.PyJWTError` where it is not good.
        """
        key = self._keys.find(kid)
        if key is None:
            return None
        if key.owner == OPERATOR:
            if not self._operator:
                raise Unauthenticated
            return self._read(token, key, AUDIENCE, self._operator)
        allowed = frozenset[str]() if key.owner == MONITOR else _SERVICE
        found = self._read(token, key, AUDIENCE if key.owner == MONITOR else self._audience, allowed)
        if found[0].user_id != key.owner:
            raise Unauthenticated
        return found

    def _read(self, token: str, key: "PublicKey", wanted: str, allowed: frozenset[str]) -> tuple[Identity, float]:
        claims = ed25519.verify(token, key.raw, audience=wanted, issuer=issuer(key.owner))
        ends = int(claims["exp"]) if key.ends_at is None else min(int(claims["exp"]), key.ends_at)
        if time.time() >= ends:
            raise Unauthenticated
        return identity_of(claims, allowed), ends
