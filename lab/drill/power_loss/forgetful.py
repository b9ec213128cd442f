"""A VFS of SQLite that writes down what reaches a file and what is synced, by apsw: `sqlite3` takes none."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

import apsw

Kind = Literal["write", "truncate", "sync", "delete", "committed"]

_NUMBERS = count(1)  # a VFS has a name in the whole process


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a file: `data` written at `at`, or cut to `at` bytes, or all of it synced; or a commit.

    `at` of `delete`: 1 if its directory was synced with it; of `committed`: how many transactions there are with it.
    """

    kind: Kind
    file: str = ""
    at: int = 0
    data: bytes = b""


class Forgetful(apsw.VFS):
    """Passes everything on to the file system, and writes it down in `events`."""

    def __init__(self) -> None:
        """Register it under a name of its own, until `unregister`."""
        self.name = f"forgetful-{next(_NUMBERS)}"
        self.events: list[Event] = []
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "_File":  # noqa: N802 (apsw's name)
        """Open a file whose writes are written down."""
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 (apsw's)
        """Delete a file: durably if its directory is to be synced, else perhaps."""
        super().xDelete(filename, syncdir)
        self.events.append(Event("delete", Path(filename).name, at=int(syncdir)))


class _File(apsw.VFSFile):
    def __init__(self, vfs: Forgetful, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._events = vfs.events
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else str(name)).name

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._events.append(Event("write", self._name, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._events.append(Event("truncate", self._name, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802, ARG002 (no power is lost here, so that nothing need be synced)
        self._events.append(Event("sync", self._name))


@contextmanager
def forgetful() -> Iterator[Forgetful]:
    """Give a VFS for as long as it is used."""
    vfs = Forgetful()
    try:
        yield vfs
    finally:
        vfs.unregister()


def rows(connection: Any) -> dict[str, Sequence[str]]:
    """Return all that is in a database, sorted, by tables: of apsw's connections and of `sqlite3`'s alike."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    return {
        name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"').fetchall()))  # noqa: S608 # nosec B608
        for name in sorted(names)
    }
