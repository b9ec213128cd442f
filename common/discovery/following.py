"""Follows the directory of instances, so that those who call them always have a list, and never wait for it."""

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import structlog

from common.discovery.last_known import LastKnown
from common.discovery.port import LOOK_EVERY, MOST_INSTANCES, Directory, DiscoveryUnavailable, Listing
from common.urls import is_instance, split

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


def believed(found: Listing, kept: Listing) -> Listing:
    """Return the instances that can be called: those `found`, and of services that have none there those `kept`.

    A service that has none in either is left out. Whatever lists instances, one entry that is no base URL costs its
    instance the calls, and nobody else.
    """
    callable_ones = (
        (name, [url for url in urls if is_instance(split(url))])
        for listing in (kept, found)
        for name, urls in listing.items()
    )
    return {name: urls for name, urls in callable_ones if urls}


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
        self._odd: Listing = {}
        self._read_at = time.monotonic()
        self._down: DiscoveryUnavailable | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="discovery", daemon=True)

    def start(self) -> None:
        """Read the list, or take the last known one for what it does not tell; then follow on a thread of its own."""
        if self._directory.changes:
            self._look(self._kept.load(self._services))
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

    def _look(self, kept: Listing = MappingProxyType({})) -> None:
        """Read the list and tell what is new; of services that it has no instance of, the `kept` ones."""
        try:
            found = self._directory.read(self._services)
        except DiscoveryUnavailable as error:
            if self._down is None:
                log.warning("discovery is down: the last known list of instances is used", reason=error.detail)
            self._down = error
            self._tell(believed({}, kept))
            return
        if self._down is not None:
            log.info("discovery is up again")
        self._down, self._read_at = None, time.monotonic()
        self._warn(found)
        if self._tell(believed(found, kept)):
            self._kept.save(self._known)

    def _warn(self, found: Listing) -> None:
        """Tell of what is listed and can't be called, once for as long as it is the same."""
        odd = {name: [url for url in urls if not is_instance(split(url))] for name, urls in found.items()}
        for name, urls in odd.items():
            if urls and urls != self._odd.get(name):
                first = urls[0].rpartition("@")[2]  # before it may be a password
                log.warning("listed at no http://host:port: not called", service=name, number=len(urls), first=first)
        self._odd = odd

    def _tell(self, found: Listing) -> bool:
        """Tell the followers of each service what is new; return whether anything was."""
        new = {name: urls for name, urls in found.items() if urls != self._known.get(name)}
        for name, urls in new.items():
            if len(urls) > MOST_INSTANCES:
                log.warning("more instances than are followed", service=name, listed=len(urls), most=MOST_INSTANCES)
            log.info("instances", service=name, urls=urls[:MOST_INSTANCES])
            for follower in self._followers:
                if follower.service == name:
                    follower.use(urls[:MOST_INSTANCES])
        self._known = {**self._known, **new}
        return bool(new)
