"""What the deployments of drills run on: files of their own, or real servers that drills started themselves."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

from lab.drill.profiles import Profile
from ops.plan import Servers


class Backing(Protocol):
    """Gives a deployment its servers, and takes them back."""

    def servers(self, directory: Path, profile: Profile) -> Servers | None:
        """Return the servers for a deployment in `directory`, with nothing in them; None: embedded."""

    def settings(self, profile: Profile) -> Mapping[str, str | float]:
        """Return settings that these servers need on top of the profile's."""

    def check_interval(self, profile: Profile) -> float:
        """Return how often, in seconds, these servers ask about a half message."""

    def outage(self, server: str, directory: Path) -> AbstractContextManager[str]:
        """Have the `broker` or the `database` of the deployment in `directory` gone for a while; yields how."""

    def give_back(self, directory: Path, *, keep: bool) -> None:
        """Take back what `servers` gave; `keep`: as evidence."""

    def close(self) -> None:
        """Stop whatever was started."""


_FILES: Mapping[str, tuple[str, ...]] = {"broker": ("broker.db",), "database": ("order.db", "stock.db")}


class Embedded:
    """SQLite files and the embedded broker: nothing to give."""

    def servers(self, directory: Path, profile: Profile) -> None:  # noqa: ARG002 - the port's signature, as below
        """Return none."""
        return

    def settings(self, profile: Profile) -> Mapping[str, str | float]:  # noqa: ARG002
        """Return none."""
        return {}

    def check_interval(self, profile: Profile) -> float:
        """Return what the profile says, or the settings' default."""
        return float(profile.extra.get("check_interval", 5.0))

    @contextmanager
    def outage(self, server: str, directory: Path) -> Iterator[str]:
        """Hold the write locks of the server's files: no process can write, as on a disk that hangs."""
        with ExitStack() as held:
            for name in _FILES[server]:
                held.enter_context(_locked(directory / name))
            yield f"the {server} can't be written: {' and '.join(_FILES[server])} is locked"

    def give_back(self, directory: Path, *, keep: bool) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            holder.execute("ROLLBACK")
