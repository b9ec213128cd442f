"""JWTs signed with Ed25519 (EdDSA, RFC 8037). `cryptography` is loaded by the first of them, not before.

PyJWT knows the algorithm where it was loaded with cryptography, which `common.start` keeps from it: services would load
a tenth more at their start, needed or not. Keys are raw: 32 bytes (RFC 8032).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

import jwt
import orjson
from jwt.algorithms import Algorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME: Final = "EdDSA"
KEY_LENGTH: Final = 32  # bytes, of either key
_KEYS: Final = 64  # read ones kept; a user service publishes two or three


class _Ed25519(Algorithm):
    """What PyJWT asks of an algorithm; keys are raw, private ones to sign with."""

    def prepare_key(self, key: Any) -> Any:
        return key

    def sign(self, msg: bytes, key: bytes) -> bytes:
        return _private(key).sign(msg)

    def verify(self, msg: bytes, key: bytes, sig: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow to load, see above

        try:
            _public(key).verify(sig, msg)
        except (InvalidSignature, ValueError):  # ValueError: no point of the curve
            return False
        return True

    @staticmethod
    def to_jwk(key_obj: Any, as_dict: bool = False) -> NoReturn:
        raise NotImplementedError

    @staticmethod
    def from_jwk(jwk: Any) -> NoReturn:
        raise NotImplementedError


_signatures: Final = jwt.PyJWS(algorithms=[])  # none of PyJWT's own
_signatures.register_algorithm(NAME, _Ed25519())
_claims: Final = jwt.PyJWT()


@lru_cache(_KEYS)
def _private(key: bytes) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    return Ed25519PrivateKey.from_private_bytes(key)


@lru_cache(_KEYS)
def _public(key: bytes) -> "Ed25519PublicKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    return Ed25519PublicKey.from_public_bytes(key)


def public_of(private_key: bytes) -> bytes:
    """Return the public key of a private one."""
    return _private(private_key).public_key().public_bytes_raw()


def sign(claims: Mapping[str, Any], private_key: bytes, kid: str) -> str:
    """Return a JWT that names the key that verifies it."""
    return _signatures.encode(orjson.dumps(claims), private_key, NAME, {"kid": kid})


def verify(token: str, public_key: bytes, *, audience: str, issuer: str) -> Mapping[str, Any]:
    """Return the claims of a JWT. Raise `jwt.PyJWTError` unless the key signed it and it is good now.

    It must have `exp`, `sub`, `aud` and `iss`; when it was issued refuses nothing, see `common.auth`.
    """
    _signatures.decode_complete(token, public_key, algorithms=[NAME])
    return _claims.decode(
        token,
        audience=audience,
        issuer=issuer,
        options={
            "verify_signature": False,  # it was, above; without it nothing else is verified that is not named
            "verify_exp": True,
            "verify_nbf": True,
            "verify_aud": True,
            "verify_iss": True,
            "verify_sub": True,
            "require": ["exp", "sub", "aud", "iss"],
        },
    )
