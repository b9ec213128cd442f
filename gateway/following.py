"""`python -m gateway.following`: has Caddy follow which instances there are. It runs beside it, and ends with it.

The configuration is written anew when an instance is new in a list, or has been off it for `GONE_FOR`, and Caddy
reads it at SIGUSR1, without a pause: calls under way end as they began
(https://caddyserver.com/docs/command-line#signals). Idle connections of clients are closed then, as any kept
connection may be, and so is one that came to Caddy's listener and that it had not accepted: who sends at that moment
sends again (RFC 9112, 9.3.1). So one that leaves the list is no reason at once: Caddy's own checks find within half a
second that it is gone, and most are back soon, as they only start again.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

import structlog

from common.discovery.factory import open_directory
from common.discovery.following import Following, believed
from common.discovery.last_known import LastKnown
from common.discovery.port import Directory, DiscoveryUnavailable, Listing
from common.discovery.registration import local
from common.telemetry import configure_logging
from gateway.settings import Settings
from gateway.starting import RENDER_FAILURES, render

GONE_FOR: Final = 60.0  # seconds off the list, and it is no instance any more: another program may have its port
_LOOK_EVERY: Final = 0.5  # seconds between two looks whether Caddy is still there, and after a rendering that failed
_CONNECTS_WITHIN: Final = 1.0  # seconds

log = structlog.get_logger()


def main(settings: Settings, gateway: int) -> None:
    """Follow the lists of `settings.services` until the process `gateway`, which started us, is gone."""
    changed = threading.Event()
    followers = [Addresses(name, settings.urls(name), changed) for name in settings.services]
    following = Following(_directory(settings), followers, settings.discovery_file)
    while not _listens(settings):  # before, SIGUSR1 would end it
        if _waits_in_vain(gateway):
            return
    following.start()
    try:
        while os.getppid() == gateway:
            changed.wait(_LOOK_EVERY)
            changed.clear()
            now = time.monotonic()
            if any(one.is_outdated(now) for one in followers):
                wanted = {one.service: one.wanted(now) for one in followers}
                if _reload(settings, wanted, gateway):
                    for one in followers:
                        one.served = wanted[one.service]
                elif _waits_in_vain(gateway):
                    return
    finally:
        following.close()


def start_beside(settings: Settings) -> None:
    """Start it beside this process, which becomes Caddy, unless the list never changes."""
    if not _directory(settings).changes:
        return
    urls = {f"ORDERS_{name.upper()}_URL": ",".join(settings.urls(name)) for name in settings.services}
    command = [sys.executable, "-m", "gateway.following", str(os.getpid())]
    subprocess.Popen(command, env={**os.environ, **urls}, stdin=subprocess.DEVNULL)  # noqa: S603 - our own module


def known(settings: Settings) -> Settings:
    """Return the settings with the addresses that are listed now, or were last, or else as they are."""
    directory = _directory(settings)
    if not directory.changes:
        return settings
    try:
        listed: Listing = directory.read(settings.services)
    except DiscoveryUnavailable:
        listed = {}
    finally:
        directory.close()
    return settings.at(believed(listed, LastKnown(settings.discovery_file).load(settings.services)))


class Addresses:
    """Where the instances of one service are: those that Caddy knows (`served`), and those that are listed.

    `changed` is set whenever the list is another one.
    """

    def __init__(self, service: str, urls: Sequence[str], changed: threading.Event) -> None:
        """Begin with what is served and listed alike."""
        self.service, self._changed = service, changed
        self.served: Sequence[str] = sorted(urls)
        self._listed: Sequence[str] = self.served
        self._left: dict[str, float] = {}  # when each left the list that is still served

    def use(self, urls: Sequence[str]) -> None:
        """Take what is listed now."""
        now = time.monotonic()
        self._left = {url: self._left.get(url, now) for url in self.served if url not in urls}
        self._listed = sorted(urls)
        self._changed.set()

    def wanted(self, now: float) -> Sequence[str]:
        """Return what is to be served: what is listed, and what left the list less than `GONE_FOR` seconds ago."""
        return sorted({*self._listed, *(url for url, then in self._left.items() if now - then < GONE_FOR)})

    def is_outdated(self, now: float) -> bool:
        """Whether Caddy must be told: of a new one, or that one is gone for good."""
        return self.wanted(now) != self.served


def _reload(settings: Settings, urls: Listing, gateway: int) -> bool:
    """Write the configuration anew and have Caddy read it; return whether it was written."""
    try:
        render(settings.at(urls))
    except RENDER_FAILURES as error:
        log.warning("the gateway does not follow yet", reason=str(error))
        return False
    if os.getppid() == gateway:
        os.kill(gateway, signal.SIGUSR1)
        log.info("the gateway follows", instances=urls)
    return True


def _directory(settings: Settings) -> Directory:
    def addresses(name: str) -> str:
        return ",".join(settings.urls(name))

    return open_directory(settings.discovery, addresses, settings.discovery_certificates)


def _listens(settings: Settings) -> bool:
    where = local(settings.gateway_host, settings.gateway_port)
    try:
        socket.create_connection(where, timeout=_CONNECTS_WITHIN).close()
    except OSError:
        return False
    return True


def _waits_in_vain(gateway: int) -> bool:
    """Wait a little; return whether Caddy is gone."""
    threading.Event().wait(_LOOK_EVERY)
    return os.getppid() != gateway


if __name__ == "__main__":
    configure_logging("gateway", "info", None)
    main(Settings(), int(sys.argv[1]))
