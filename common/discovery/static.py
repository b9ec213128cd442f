"""The list that the settings name: it never changes while a process runs."""

from collections.abc import Callable, Collection
from typing import ClassVar

from common.discovery.port import Instance, Listing


class StaticDirectory:
    """Implements `Directory` on addresses that are given once."""

    changes: ClassVar[bool] = False

    def __init__(self, addresses: Callable[[str], str]) -> None:
        """Take what tells the addresses of a service, with commas between, as settings have them."""
        self._addresses = addresses

    def put(self, instance: Instance, ttl: int) -> None:
        """See `Directory`: who is listed, is listed in the settings."""

    def withdraw(self, instance: Instance) -> None:
        """See `Directory`: nothing."""

    def read(self, services: Collection[str]) -> Listing:
        """See `Directory`; it never fails."""
        return {name: sorted(one.strip().rstrip("/") for one in self._addresses(name).split(",")) for name in services}

    def close(self) -> None:
        """See `Directory`: nothing."""
