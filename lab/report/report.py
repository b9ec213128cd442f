"""What came out of one command, whichever it was: its results, which of them failed, which was nearest to its limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from halfmessage.clock import rfc3339


class Outcome(Protocol):
    """One result of several."""

    @property
    def passed(self) -> bool:
        """The verdict."""

    @property
    def of_limit(self) -> float | None:
        """How long it took to come to rest, as a share of what it may; None: it never came to."""


T = TypeVar("T", bound=Outcome)


@dataclass(frozen=True, slots=True)
class Report(Generic[T]):
    """All results of one command; `began_at` in ms since the epoch, `took` in seconds."""

    began_at: int
    took: float
    servers: str
    system: str
    results: Sequence[T]

    @property
    def failed(self) -> list[T]:
        """Those that failed."""
        return [result for result in self.results if not result.passed]

    @property
    def nearest(self) -> T | None:
        """The one that came nearest to its limit, or went furthest past it."""
        known = [result for result in self.results if result.of_limit is not None]
        return max(known, key=lambda result: result.of_limit or 0.0, default=None)

    def head(self, schema: str) -> dict[str, Any]:
        """Return the beginning of the document that `schema` names."""
        return {
            "schema": schema,
            "began_at": rfc3339(self.began_at),
            "took": round(self.took, 3),
            "servers": self.servers,
            "system": self.system,
            "verdict": "failed" if self.failed else "passed",
            "passed": len(self.results) - len(self.failed),
            "failed": len(self.failed),
        }
