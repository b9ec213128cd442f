"""Keeps one instance listed for as long as it listens."""

import socket
import threading
from typing import Final

import structlog

from common.discovery.port import Directory, DiscoveryUnavailable, Instance

_RENEWALS: Final = 3  # in the time of one lease
_TRIES: Final = 10  # the same, while the directory does not answer
_LOOK_EVERY: Final = 0.05  # seconds, until it listens
_LOOK_WITHIN: Final = 1.0  # seconds for one connection

log = structlog.get_logger()


class Registration:
    """Lists an instance once it listens, renews its lease, and takes it off the list when it ends.

    What ends without a word is listed until its lease is over: at most `ttl` seconds.
    """

    def __init__(self, directory: Directory, instance: Instance, *, listens_at: tuple[str, int], ttl: int) -> None:
        """Take where the process listens; nothing is listed before `start`."""
        self._directory, self._instance, self._ttl = directory, instance, ttl
        self._listens_at = listens_at
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="registration", daemon=True)
        self._guard = threading.Lock()
        self._failing = False

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    def withdraw(self) -> None:
        """Take the instance off the list, at once; again, or before it was on it: nothing."""
        with self._guard:  # a renewal on its way would list it again
            if self._ending.is_set():
                return
            self._ending.set()
            try:
                self._directory.withdraw(self._instance)
            except DiscoveryUnavailable as error:
                log.warning("this instance stays listed until its lease is over", ttl=self._ttl, reason=error.detail)

    def close(self) -> None:
        """Withdraw, and return once nothing is renewed any more."""
        self.withdraw()
        if self._thread.ident is not None:
            self._thread.join()

    def _keep(self) -> None:
        while not self._listens():
            if self._ending.wait(_LOOK_EVERY):
                return
        while not self._ending.is_set():
            tries = _RENEWALS if self._put() else _TRIES
            self._ending.wait(self._ttl / tries)

    def _put(self) -> bool:
        with self._guard:
            if self._ending.is_set():
                return True
            try:
                self._directory.put(self._instance, self._ttl)
            except DiscoveryUnavailable as error:
                if not self._failing:
                    log.warning("this instance can't be listed", url=self._instance.url, reason=error.detail)
                self._failing = True
                return False
        if self._failing:
            log.info("this instance is listed again", url=self._instance.url)
        self._failing = False
        return True

    def _listens(self) -> bool:
        try:
            socket.create_connection(self._listens_at, timeout=_LOOK_WITHIN).close()
        except OSError:
            return False
        return True


def local(host: str, port: int) -> tuple[str, int]:
    """Return where a process of this machine reaches one that listens at `host`, which may be every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 # nosec B104 - it is compared


def advertised(host: str, port: int, given: str) -> str:
    """Return the base URL under which others reach us: as `given`, or else where we listen."""
    if given:
        return given.rstrip("/")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
