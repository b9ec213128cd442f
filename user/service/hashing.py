"""Passwords as hashes: Argon2id, so many at once and no more, and no queue without end.

Parameters: m = 19 MiB, t = 2, p = 1, as OWASP has them
(https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id).
"""

import secrets
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unicodedata import normalize

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from halfmessage.errors import Overloaded

MEMORY: Final = 19 * 1024  # KiB for each hash
PASSES: Final = 2
LANES: Final = 1
_SALT, _LENGTH = 16, 32  # bytes
_PATIENCE: Final = 5.0  # seconds that a password waits for its turn


class Hashing:
    """Hashes passwords and compares them. Thread-safe."""

    def __init__(self, at_once: int, waiting: int) -> None:
        """Hash so many passwords at once, each with `MEMORY`, and have so many wait; more are `Overloaded`."""
        self._hasher = PasswordHasher(PASSES, MEMORY, LANES, _LENGTH, _SALT, type=Type.ID)
        self._places = threading.BoundedSemaphore(at_once)
        self._most = at_once + waiting
        self._inside = 0
        self._guard = threading.Lock()
        self._of_nobody = _made_up()

    def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and parameters. Raise `Overloaded`."""
        with self._place():
            return self._hasher.hash(_canonical(password))

    def verify(self, hashed: str | None, password: str) -> bool:
        """Return whether a password is the one that was hashed; it takes as long where there is none. As above."""
        with self._place():
            try:
                return self._hasher.verify(hashed or self._of_nobody, _canonical(password))
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, hashed: str) -> bool:
        """Whether it was made with other parameters than these."""
        return self._hasher.check_needs_rehash(hashed)

    @contextmanager
    def _place(self) -> Iterator[None]:
        with self._guard:
            if self._inside >= self._most:
                raise Overloaded
            self._inside += 1
        try:
            if not self._places.acquire(timeout=_PATIENCE):
                raise Overloaded
            try:
                yield
            finally:
                self._places.release()
        finally:
            with self._guard:
                self._inside -= 1


def _canonical(password: str) -> str:
    """Return the same password however a keyboard composes it (NIST SP 800-63B, 3.1.1.2)."""
    return normalize("NFKC", password)


def _made_up() -> str:
    """Return a hash of no password at all."""
    salt, digest = (b64encode(secrets.token_bytes(length)).rstrip(b"=").decode() for length in (_SALT, _LENGTH))
    return f"$argon2id$v=19$m={MEMORY},t={PASSES},p={LANES}${salt}${digest}"
