"""The keys with which our own processes sign: files, so that no token between services needs a service that is up.

A process that signs has a private key of its own, in a directory of its own (ORDERS_KEY_FILE). All read one set of the
public ones (ORDERS_PUBLIC_KEYS), in which each key names its owner; no service can write it. `orders up` and
`orders docker keys` make them (`ops.keys`), before any service starts. A file that was replaced is read again within
`LOOK_EVERY` seconds, so a rotation restarts nothing.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import orjson

from common import ed25519
from common.errors import OrdersError
from common.jwk import PublicKey, public_keys, raw_of
from common.registry import ALL_NAMES, MONITOR, OPERATOR

OWNERS: Final = (*ALL_NAMES, OPERATOR, MONITOR)
LOOK_EVERY: Final = 5.0  # seconds between two looks at a file
_UNKNOWN_EVERY: Final = 1.0  # seconds, where a key is asked for that is not known
_LARGEST: Final = 64 * 1024  # bytes of a file

T = TypeVar("T")


class KeysUnusable(OrdersError):
    """A file of keys can't be read."""


class _Watched(Generic[T]):
    """What a file holds, read again when another one took its place. Thread-safe.

    While a new one can't be read, what was read before goes on: a key is not lost by a copy that is under way.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        """Read the file. Raise `KeysUnusable`."""
        self._path, self._parse = path, parse
        self._guard = threading.Lock()
        self.version = 0
        self._looked_at = time.monotonic()
        self._mark = self._stamp()
        self.value = self._read()

    def look(self, every: float = LOOK_EVERY) -> int:
        """Return the number of the file that was read last, after a look at it once `every` seconds."""
        if time.monotonic() >= self._looked_at + every and self._guard.acquire(blocking=False):
            try:
                self._looked_at = time.monotonic()
                self._renew()
            finally:
                self._guard.release()
        return self.version

    def _renew(self) -> None:
        try:
            mark = self._stamp()
            if mark == self._mark:
                return
            self.value = self._read()
        except KeysUnusable as error:
            import structlog  # noqa: PLC0415 - the command line, which makes a token often, needs none of it

            structlog.get_logger().warning("keys can't be read anew; those from before go on", reason=error.detail)
            return
        self._mark = mark
        self.version += 1

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise KeysUnusable(f"{self._path}: {error.strerror}") from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> T:
        try:
            with self._path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
        except OSError as error:
            raise KeysUnusable(f"{self._path}: {error.strerror}") from error
        if len(raw) > _LARGEST:
            raise KeysUnusable(f"{self._path} has more than {_LARGEST} bytes")
        try:
            return self._parse(raw)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeysUnusable(f"{self._path} holds no keys of ours") from error


class OwnKey:
    """The private key of one of our processes, which signs for `owner`. Thread-safe."""

    def __init__(self, path: Path, owner: str) -> None:
        """Read it. Raise `KeysUnusable`."""
        self._file = _Watched(path, _private)
        self._owner = owner

    def version(self) -> int:
        """Return a number that grows when another key took its place."""
        return self._file.look()

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a token with these claims, and who issued it."""
        kid, raw = self._file.value
        return ed25519.sign({"iss": issuer(self._owner), **claims}, raw, kid)


class OwnPublicKeys:
    """The public keys of all our processes. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Read them. Raise `KeysUnusable`."""
        self._file = _Watched(path, _public)

    def version(self) -> int:
        """Return a number that grows when there are others."""
        return self._file.look()

    def find(self, kid: str) -> PublicKey | None:
        """Return a key, ended or not; None where there is none of this name."""
        found = self._file.value.get(kid)
        if found is None:
            self._file.look(_UNKNOWN_EVERY)
            found = self._file.value.get(kid)
        return found


def issuer(owner: str) -> str:
    """Return what the tokens of a key's owner name as their issuer."""
    return f"orders/process/{owner}"


def _private(raw: bytes) -> tuple[str, bytes]:
    document = orjson.loads(raw)
    key = raw_of(document["d"])
    if len(key) != ed25519.KEY_LENGTH:
        raise ValueError("no Ed25519 key")
    return str(document["kid"]), key


def _public(raw: bytes) -> dict[str, PublicKey]:
    """Return the keys of our processes; one of another owner is none."""
    return {kid: key for kid, key in public_keys(orjson.loads(raw)).items() if key.owner in OWNERS}
