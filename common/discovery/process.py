"""Discovery of one service process: it lists itself, and those that it calls follow who is listed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from common.discovery.factory import open_directory
from common.discovery.following import Follower, Following
from common.discovery.port import Instance
from common.discovery.registration import Registration, advertised, local

if TYPE_CHECKING:
    from common.config import Settings
    from common.web import Api


class Discovery:
    """What a process does about discovery; with the static list: nothing."""

    def __init__(self, service: str, settings: "Settings", followers: Iterable[Follower]) -> None:
        """Take who calls others. Nothing is read or listed before `start`.

        Of several processes on one port, the first one lists them. Raise `NoSuchDiscovery`.
        """
        self._directory = open_directory(settings.discovery, settings.url, settings.discovery_certificates)
        self.changes = self._directory.changes
        self._following = Following(self._directory, followers, settings.discovery_file)
        self._registration: Registration | None = None
        if self.changes and not settings.share_port:
            instance = Instance(service, advertised(settings.host, settings.port, settings.advertise))
            listens_at = local(settings.host, settings.port)
            self._registration = Registration(
                self._directory, instance, listens_at=listens_at, ttl=settings.discovery_ttl
            )

    def show(self, api: "Api") -> None:
        """Have readiness and metrics say how it is; a process is ready without it."""
        if self.changes:
            api.tell_of("discovery", self._following.ask)
            api.metrics.observe_all("The list of instances that discovery tells", lambda: self._following.gauges)

    def start(self) -> None:
        """Begin to follow, and to be listed once we listen."""
        self._following.start()
        if self._registration is not None:
            self._registration.start()

    def withdraw(self) -> None:
        """Be called no more: to be called before the last requests are finished."""
        if self._registration is not None:
            self._registration.withdraw()

    def close(self) -> None:
        """Stop following, withdraw, and close the directory."""
        self._following.close()
        if self._registration is not None:
            self._registration.close()
        self._directory.close()
