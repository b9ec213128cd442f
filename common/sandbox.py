"""What pay and the sandbox provider agree on: the key of its interface, and the signature of its callbacks.

Both are derived from the secret that a deployment has anyway, so that there is nothing to set.
"""

import hashlib
import hmac
from typing import Final

from pydantic import SecretStr

SIGNATURE_HEADER: Final = "Sandbox-Signature"


def _derived(secret: SecretStr, purpose: bytes) -> bytes:
    return hmac.digest(secret.get_secret_value().encode(), purpose, hashlib.sha256)


def api_key(secret: SecretStr) -> str:
    """Return the bearer token that the sandbox's interface takes."""
    return _derived(secret, b"sandbox api").hex()


def callback_key(secret: SecretStr) -> bytes:
    """Return the key that callbacks are signed with."""
    return _derived(secret, b"sandbox callbacks")


def signature(key: bytes, raw: bytes, at: int) -> str:
    """Return the value of `SIGNATURE_HEADER` for a body that is sent at `at`, in seconds since the epoch."""
    return f"t={at},v1={digest(key, raw, str(at))}"


def digest(key: bytes, raw: bytes, at: str) -> str:
    """Return what a callback's body and time are signed with, in hex."""
    return hmac.digest(key, f"{at}.".encode() + raw, hashlib.sha256).hex()
