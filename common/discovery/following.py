"""Follows the directory of instances, so that those who call them always have a list, and never wait for it."""

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from common.discovery.last_known import LastKnown
from common.discovery.port import LOOK_EVERY, MOST_INSTANCES, Directory, DiscoveryUnavailable, Listing

log = structlog.get_logger()


class Follower(Protocol):
    """Who calls the instances of a service."""

    @property
    def service(self) -> str:
        """The service whose instances it calls."""
        ...

    def use(self, urls: Sequence[str]) -> None:
        """Call these from now on. It is called on a thread of discovery's, with one URL at least."""
        ...


class Following:
    """Tells each follower the list of its service whenever that changes: within `LOOK_EVERY` seconds and one answer.

    While the directory does not answer, each goes on with the list that it has. So it does where a service has no
    instance listed: calling those that were there last costs a refused connection, having none to call costs all.
    """

    def __init__(self, directory: Directory, followers: Iterable[Follower], file: Path | None = None) -> None:
        """Take who is to be told; the last known list is kept in `file`. Nothing is read before `start`."""
        self._directory = directory
        self._followers = list(followers)
        self._services = sorted({follower.service for follower in self._followers})
        self._kept = LastKnown(file)
        self._known: Listing = {}
        self._read_at = time.monotonic()
        self._down: DiscoveryUnavailable | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="discovery", daemon=True)

    def start(self) -> None:
        """Read the list, or take the last known one where it can't be read; then follow it on a thread of its own."""
        if self._directory.changes and not self._look():
            self._tell(self._kept.load(self._services))
        if self._directory.changes:
            self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()

    def ask(self) -> None:
        """Raise `DiscoveryUnavailable` while the last known list is used because the directory does not answer."""
        if (down := self._down) is not None:
            raise DiscoveryUnavailable(f"{down.detail} The last known list of instances is used.")

    @property
    def gauges(self) -> dict[str, float]:
        """Whether the directory answered last, and how old the list is, in seconds."""
        return {"discovery_up": self._down is None, "discovery_list_age_seconds": time.monotonic() - self._read_at}

    def _follow(self) -> None:
        while not self._ending.wait(LOOK_EVERY):
            self._look()

    def _look(self) -> bool:
        """Read the list and tell what is new; return whether it could be read."""
        try:
            found = self._directory.read(self._services)
        except DiscoveryUnavailable as error:
            if self._down is None:
                log.warning("discovery is down: the last known list of instances is used", reason=error.detail)
            self._down = error
            return False
        if self._down is not None:
            log.info("discovery is up again")
        self._down, self._read_at = None, time.monotonic()
        if self._tell(found):
            self._kept.save(self._known)
        return True

    def _tell(self, found: Listing) -> bool:
        """Tell the followers of each service what is new; return whether anything was."""
        new = {name: urls for name, urls in found.items() if urls and urls != self._known.get(name)}
        for name, urls in new.items():
            if len(urls) > MOST_INSTANCES:
                log.warning("more instances than are followed", service=name, listed=len(urls), most=MOST_INSTANCES)
            log.info("instances", service=name, urls=urls[:MOST_INSTANCES])
            for follower in self._followers:
                if follower.service == name:
                    follower.use(urls[:MOST_INSTANCES])
        self._known = {**self._known, **new}
        return bool(new)
