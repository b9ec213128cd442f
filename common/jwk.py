"""Ed25519 keys as JSON Web Keys (RFC 7517, RFC 8037), in sets as services publish them and read them."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final

import orjson

from common.ed25519 import KEY_LENGTH

FRESH: Final = 300.0  # seconds; then user is asked for its keys again, so that a key that was withdrawn goes
MOST_KEYS: Final = 256  # read of one set; further ones are passed over
_KIND: Final = {"kty": "OKP", "crv": "Ed25519"}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key, and when its last token ends (seconds since the epoch; None while it signs).

    `owner`: which of our processes signs with it; empty in the set of the user service, whose keys are all its own.
    """

    raw: bytes
    ends_at: float | None
    owner: str = ""


def text_of(raw: bytes) -> str:
    """Write bytes in base64url, as JSON Web Keys have them."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_of(text: str) -> bytes:
    """Return the bytes of base64url. Raise `ValueError`."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(public: bytes) -> str:
    """Return the name of a key: its thumbprint (RFC 7638)."""
    members = {**_KIND, "x": text_of(public)}
    return text_of(hashlib.sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest())


def written(public: bytes, **more: Any) -> dict[str, Any]:
    """Return a public key as a set has it, with `more` members."""
    named = {"alg": "EdDSA", "use": "sig", "kid": thumbprint(public)}
    return {**_KIND, **named, "x": text_of(public), **more}


def public_keys(document: Any) -> dict[str, PublicKey]:
    """Return the keys of a set by name, without those that are of another kind. Raise `ValueError` if it is none."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no set of keys")  # noqa: TRY004 - as all that can't be read
    return dict(key for one in listed[:MOST_KEYS] if (key := _key(one)) is not None)


def _key(one: Any) -> tuple[str, PublicKey] | None:
    if not isinstance(one, dict) or (one.get("kty"), one.get("crv"), one.get("use", "sig")) != (
        "OKP",
        "Ed25519",
        "sig",
    ):
        return None
    kid, x, ends_at, owner = one.get("kid"), one.get("x"), one.get("exp"), one.get("owner", "")
    if not isinstance(kid, str) or not isinstance(x, str) or not isinstance(owner, str):
        return None
    if not isinstance(ends_at, int | float | None):
        return None
    try:
        raw = raw_of(x)
    except ValueError:
        return None
    return (kid, PublicKey(raw, ends_at, owner)) if len(raw) == KEY_LENGTH else None
