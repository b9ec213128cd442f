"""The public keys that the user service told last, in a file: a process that starts while user is down has them.

They verify tokens only while user can't be asked, and only until `KEPT_FOR` after it told them. A file that others may
write is not read: who writes a key there could make anybody's token.
"""

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from common.config import LONGEST_TOKEN
from common.jwk import FRESH, PublicKey, public_keys
from common.replacing import replace_file

KEPT_FOR: Final = LONGEST_TOKEN + FRESH  # seconds; then no token is good any more that user made before it went down
LARGEST: Final = 64 * 1024  # bytes of a set of keys, in an answer or in the file
_AHEAD: Final = 60.0  # seconds by which the clock may have been turned back since the file was written

log = structlog.get_logger()

Keys = Mapping[str, PublicKey]


class _NotTaken(ValueError):
    """Why the file is not taken."""


class KeptKeys:
    """Keeps the keys in a file, if there is one to keep them in."""

    def __init__(self, path: Path | None) -> None:
        """Name the file; None: nothing is kept."""
        self._path = path

    def load(self) -> Keys:
        """Return the keys by name, each with an end; none where there is no file, or with a warning why it is no good.

        It is no good once it is older than `KEPT_FOR`, has more than `LARGEST` bytes, or others may write it.
        """
        if self._path is None:
            return {}
        try:
            return _read(self._path)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("the kept keys of user are not taken", file=str(self._path), reason=str(error))
            return {}

    def save(self, document: Any) -> None:
        """Replace the file by a set of keys as user told it just now, of mode 0600.

        Where that fails, the one before stays, and the log says so.
        """
        if self._path is None:
            return
        try:
            content = orjson.dumps({"told_at": time.time(), "document": document})
            replace_file(self._path, content, mode=0o600)
        except OSError as error:
            log.warning("the keys of user are not kept", file=str(self._path), reason=str(error))


def _read(path: Path) -> Keys:
    """Return what a file holds. Raise `_NotTaken`, or what reading it raises."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _NotTaken("others than this process's user may write it")
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise _NotTaken(f"it has more than {LARGEST} bytes")
    kept = orjson.loads(raw)
    told_at = float(kept["told_at"])
    age = time.time() - told_at
    if not -_AHEAD <= age < KEPT_FOR:
        raise _NotTaken(f"it is {age:.0f} s old; at most {KEPT_FOR:.0f} are taken")
    return {kid: _ending(key, told_at + KEPT_FOR) for kid, key in public_keys(kept["document"]).items()}


def _ending(key: PublicKey, at: float) -> PublicKey:
    """Return the key with an end, at its own if that comes first."""
    return replace(key, ends_at=at if key.ends_at is None else min(at, key.ends_at))
