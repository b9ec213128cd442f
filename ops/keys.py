"""The keys of a deployment's own processes: made before any of them starts, and rotated, in one directory.

`<owner>/key.json` is a private key (RFC 8037), which one service is given; `public/keys.json` is the set of all public
ones, which all read. With files of mode 0600 and directories of their own, each can be a volume of its own.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from common import ed25519
from common.jwk import public_keys, raw_of, text_of, thumbprint, written
from common.our_tokens import SERVICE_TOKEN_LIFETIME
from common.own_keys import LOOK_EVERY
from common.registry import MONITOR, OPERATOR
from ops.errors import CommandFailed

_MARGIN: Final = 60.0  # seconds that clocks differ
_DAY: Final = 86400.0  # seconds
_AFTER: Final = 3 * LOOK_EVERY  # seconds until every process has seen that a key took another one's place


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A public key; `ends_at` in seconds since the epoch, None while it signs."""

    owner: str
    kid: str
    ends_at: float | None


@dataclass(frozen=True, slots=True)
class KeyStore:
    """The directory."""

    root: Path

    def private(self, owner: str) -> Path:
        """Return the file of an owner's private key."""
        return self.root / owner / "key.json"

    @property
    def public(self) -> Path:
        """The set of public keys."""
        return self.root / "public" / "keys.json"

    def ensure(self, owners: Iterable[str]) -> None:
        """Make what is missing, and mend what a rotation left that failed half way; what is there stays.

        Raise `OSError`, `CommandFailed` for keys that can't be read.
        """
        with self._alone():
            document = self._document()
            for owner in owners:
                if not self.private(owner).exists():
                    document = self._make(document, owner, _stays(owner))
                elif _without_end(document, owner) != [self._kid(owner)]:
                    raw = raw_of(_load(self.private(owner))["d"])
                    document = self._published(document, owner, ed25519.public_of(raw), _stays(owner))

    def rotate(self, owner: str, *, withdraw: bool = False) -> KeyLine:
        """Make a new key for an owner; return it.

        The one before is good until its last token has ended, or with `withdraw` until all processes sign with the new
        one. Raise `OSError`, `CommandFailed` where the owner has none, or keys can't be read.
        """
        with self._alone():
            if not self.private(owner).exists():
                raise CommandFailed(f"{self.root} has no key of {owner!r}.")
            self._make(self._document(), owner, _AFTER if withdraw else _stays(owner))
            return KeyLine(owner, self._kid(owner), None)

    def lines(self) -> list[KeyLine]:
        """Return the public keys that are good. Raise `CommandFailed` where they can't be read."""
        now = time.time()
        found = public_keys(self._document()).items()
        return [KeyLine(key.owner, kid, key.ends_at) for kid, key in found if key.ends_at is None or now < key.ends_at]

    def _make(self, document: Mapping[str, Any], owner: str, stays: float) -> Mapping[str, Any]:
        """Make a key in place of the one before; return the set with it.

        The public one first: no service lacks it. The one before ends last: while it signs, it has no end.
        """
        raw = os.urandom(ed25519.KEY_LENGTH)
        public = ed25519.public_of(raw)
        document = self._published(document, owner, public, None)
        _write(self.private(owner), written(public, d=text_of(raw)), 0o600)
        return self._published(document, owner, public, stays)

    def _published(
        self, document: Mapping[str, Any], owner: str, public: bytes, stays: float | None
    ) -> Mapping[str, Any]:
        """Write the set with a key of an owner, without an end; return it.

        The owner's others end after `stays` seconds; None: they are left as they are.
        """
        now = time.time()
        ends = None if stays is None else int(now + stays)
        added = written(public, owner=owner, exp=None)
        keys = [
            {**key, "exp": min(ends, key["exp"] or ends)} if key["owner"] == owner and ends is not None else key
            for key in document["keys"]
            if key["kid"] != added["kid"] and (key["exp"] is None or now < key["exp"])
        ]
        document = {"keys": [*keys, added]}
        _write(self.public, document, 0o644)
        return document

    def _document(self) -> Mapping[str, Any]:
        return _load(self.public) if self.public.exists() else {"keys": []}

    def _kid(self, owner: str) -> str:
        return thumbprint(ed25519.public_of(raw_of(_load(self.private(owner))["d"])))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have no other command change the keys meanwhile."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _without_end(document: Mapping[str, Any], owner: str) -> list[str]:
    """Return the names of an owner's keys that have no end: one, but for a rotation that failed half way."""
    return [key["kid"] for key in document["keys"] if key["owner"] == owner and key["exp"] is None]


def _stays(owner: str) -> float:
    """Return how many seconds after a rotation the last token of the key before has ended.

    A service's tokens are short. Those of the operator and of Prometheus may be good for longer, and end after a day.
    """
    return _DAY if owner in {OPERATOR, MONITOR} else SERVICE_TOKEN_LIFETIME + _AFTER + _MARGIN


def _load(path: Path) -> Mapping[str, Any]:
    try:
        document: Any = orjson.loads(path.read_bytes())
    except ValueError:
        document = None
    if not isinstance(document, dict) or not {"keys", "d"} & document.keys():
        raise CommandFailed(f"{path} holds no keys of ours: restore it.")
    return document


def _write(path: Path, document: Mapping[str, Any], mode: int) -> None:
    """Write it whole or not at all: processes read it at any moment. Raise `OSError`."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(document) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
