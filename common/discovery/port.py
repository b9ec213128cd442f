"""What discovery needs of a directory of instances; each adapter does it on something else (docs/discovery.md)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from halfmessage.errors import Unavailable

LEAST_TTL: Final = 2  # seconds: etcd grants none that is shorter than one and a half of its election timeouts (1 s)
MOST_TTL: Final = 60
MOST_INSTANCES: Final = 256  # of one service; further ones are not followed, and the log says so
LOOK_EVERY: Final = 0.5  # seconds between two looks at the list
ANSWERS_WITHIN: Final = 1.0  # seconds for one question to a server


class DiscoveryUnavailable(Unavailable):
    """The directory of instances does not answer."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A process of a service; `url` is the base URL at which others reach it. A later one there is the same."""

    service: str
    url: str


Listing = Mapping[str, Sequence[str]]
"""By service: the URLs of its instances, sorted."""


class Directory(Protocol):
    """A list of instances that many processes share. Thread-safe. All but `close` raise `DiscoveryUnavailable`."""

    changes: ClassVar[bool]
    """Whether the list can change while we run: otherwise nothing is registered, and it is read once."""

    def put(self, instance: Instance, ttl: int) -> None:
        """List an instance for `ttl` seconds from now, or keep it listed: it is called again in time."""
        ...

    def withdraw(self, instance: Instance) -> None:
        """Take an instance off the list; one that is not on it: nothing."""
        ...

    def read(self, services: Collection[str]) -> Listing:
        """Return who is listed of these services; one without instances has an empty list."""
        ...

    def close(self) -> None:
        """Close connections. What is listed stays, until its time is over."""
        ...
