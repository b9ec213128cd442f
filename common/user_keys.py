"""The public keys of the user service (JWKS, RFC 7517), with which all others verify its tokens.

They are fetched when a token names one that is not known, at most once in `REFETCH` seconds, and again after `FRESH`.
While user does not answer, those that are known go on being taken, each until its own end (`exp`). A process to which
user never told any takes those that the process before it kept in a file (`common.kept_keys`).
"""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from common.errors import PeerUnavailable
from common.jwk import FRESH, public_keys
from common.kept_keys import LARGEST, KeptKeys, Keys

PATH: Final = "/.well-known/jwks.json"
REFETCH: Final = 60.0  # seconds between two questions for keys that are not known
_AGAIN_AFTER: Final = 1.0  # seconds after a question that was not answered
_TIMEOUT: Final = 1.0  # seconds for one instance's answer
_PATIENCE: Final = 2.0  # seconds that a request waits for what another one is asking

log = structlog.get_logger()

Fetch = Callable[[], Any]
"""Returns the JWKS document; raises `PeerUnavailable`."""


class UserKeys:
    """Remembers the keys. Thread-safe: one thread asks, others wait for its answer while user answers at all."""

    def __init__(self, urls: str, *, fetch: Fetch | None = None, file: Path | None = None) -> None:
        """Take the base URLs of user's instances, with commas between, and where to keep what they tell.

        Nothing is asked, or read, before the first token.
        """
        self._urls = [url.strip().rstrip("/") for url in urls.split(",")]
        self._fetch = fetch or (lambda: _fetch(self._urls))
        self._kept = KeptKeys(file)
        self._keys: Keys | None = None
        self._told = False
        self._asking = threading.Lock()
        self._next = self._stale = float("-inf")  # of time.monotonic(): when it may, and when it should be asked again
        self._failed = False

    @property
    def told(self) -> bool:
        """Whether user told this process its keys: those of a file are compared with user's as soon as that answers."""
        return self._told

    @property
    def service(self) -> str:
        """The service that has the keys."""
        return "user"

    def use(self, urls: Sequence[str]) -> None:
        """Ask these instances from now on."""
        self._urls = list(urls)

    def find(self, kid: str) -> bytes | None:
        """Return a key; None where user has none of this name, or had none less than `REFETCH` seconds ago.

        Raise `PeerUnavailable` where it is not known and user does not answer.
        """
        found = self._known(kid)
        if found is None or time.monotonic() >= self._stale:
            is_answered = self._ask(wait=found is None)
            found = self._known(kid)
            if found is None and not is_answered:
                raise PeerUnavailable("The user service is being asked for its keys; try again.")
        if found is None and self._failed:
            raise PeerUnavailable("The user service does not tell its keys; try again.")
        return found

    def _known(self, kid: str) -> bytes | None:
        key = (self._keys or {}).get(kid)
        return key.raw if key is not None and (key.ends_at is None or time.time() < key.ends_at) else None

    def _ask(self, *, wait: bool) -> bool:
        """Ask, unless it was done too lately; return False where another thread is still asking.

        A thread that could `wait` does so only for a user that answered last, and for `_PATIENCE` at most.
        """
        asked_at = time.monotonic()
        if not self._asking.acquire(timeout=_PATIENCE if wait and not self._failed else 0):
            return False
        try:
            if asked_at >= self._next and time.monotonic() >= self._next:
                self._refresh()
        finally:
            self._asking.release()
        return True

    def _refresh(self) -> None:
        try:
            document = self._fetch()
            self._keys = _read(document)
        except PeerUnavailable as error:
            if self._keys is None:
                self._keys = self._kept.load()
            self._failed, self._next = True, time.monotonic() + _AGAIN_AFTER
            self._stale = self._next
            log.warning("user does not tell its keys", known=len(self._keys), reason=error.detail)
            return
        self._told = True
        self._kept.save(document)
        now = time.monotonic()
        self._failed, self._next, self._stale = False, now + REFETCH, now + FRESH


def _read(document: Any) -> Keys:
    """Return the keys of a document by name. Raise `PeerUnavailable` where it is none."""
    try:
        return public_keys(document)
    except ValueError:
        raise PeerUnavailable("The user service's keys can't be read.") from None


def _fetch(urls: Sequence[str]) -> Any:
    """Return the document of the first instance that answers. Raise `PeerUnavailable`.

    No connection is kept: it is asked once in minutes.
    """
    import urllib3  # noqa: PLC0415 - takes a tenth of the work of a start, and no token of user's may ever come

    reason = ""
    with urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=_TIMEOUT)) as pool:
        for url in urls:
            try:
                answer = pool.request("GET", url + PATH, redirect=False, preload_content=False)
                data = answer.read(LARGEST + 1)
                answer.close()
                if answer.status == 200 and len(data) <= LARGEST:  # noqa: PLR2004 - OK
                    return orjson.loads(data)
                reason = f"status {answer.status}, {len(data)} bytes"
            except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError) as error:
                reason = repr(error)
    raise PeerUnavailable(f"No instance of the user service told its keys: {reason}")
