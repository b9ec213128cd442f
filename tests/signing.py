"""Users' tokens as tests make them: by keys of their own, with what a forger would change."""

import hashlib
import time
from typing import Any

from common import ed25519
from common.auth import AUDIENCE, ISSUER

PRIVATE = hashlib.sha256(b"a key of these tests").digest()
PUBLIC = ed25519.public_of(PRIVATE)
KID = "key-1"


def claims_of(user: str = "7365241901285376", **changed: Any) -> dict[str, Any]:
    """Return the claims of a user's token, those that are changed to None left out."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user,
        "sid": "12",
        "scope": "orders",
        "iat": now,
        "exp": now + 900,
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def token(private: bytes = PRIVATE, kid: str = KID, **changed: Any) -> str:
    """Return a token, signed."""
    return ed25519.sign(claims_of(**changed), private, kid)


class Keys:
    """Public keys by name."""

    def __init__(self, **keys: bytes) -> None:
        self.keys = keys or {KID: PUBLIC}
        self.asked: list[str] = []
        self.told = True

    def find(self, kid: str) -> bytes | None:
        self.asked.append(kid)
        return self.keys.get(kid)
