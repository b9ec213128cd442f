"""What happened in a run, as it happened: lines of JSON, the same to the byte for the same seed."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from lab.simulate.scheduler import BEGIN


class History:
    """Events of one run, in their order."""

    def __init__(self) -> None:
        """Begin empty."""
        self._events: list[tuple[int, str, str, dict[str, Any]]] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._events)

    def add(self, at: int, who: str, what: str, **more: Any) -> None:
        """Write an event down: when (ns since the epoch), whose it is, what it is, and what else is to be told."""
        self._events.append((at, who, what, more))

    def lines(self) -> Iterator[str]:
        """Yield the events as JSON; `at` in seconds since the beginning."""
        for at, who, what, more in self._events:
            yield json.dumps({"at": round((at - BEGIN) / 1e9, 6), "who": who, "what": what, **more}, default=str)

    def digest(self) -> str:
        """Return the SHA-256 of all lines."""
        found = hashlib.sha256()
        for line in self.lines():
            found.update(line.encode() + b"\n")
        return found.hexdigest()
