"""A part of the promise as it was found to be: figures, and what breaks it, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invariant:
    """One part of the promise, judged at rest: its figures, and what breaks it, in words."""

    name: str
    figures: Mapping[str, int]
    broken: Sequence[str] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing breaks it."""
        return not self.broken


class Lines:
    """Collects what is wrong, in words; counts all of it by its kind, and keeps at most `most` lines of each kind."""

    def __init__(self, most: int | None) -> None:
        """Keep all lines if `most` is None."""
        self._most = most
        self._lines: list[str] = []
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, line: str) -> None:
        """Take one more thing that is wrong."""
        self._counts[kind] += 1
        if self._most is None or self._counts[kind] <= self._most:
            self._lines.append(line)

    def count(self, *kinds: str) -> int:
        """Return how much of these kinds is wrong."""
        return sum(self._counts[kind] for kind in kinds)

    @property
    def broken(self) -> list[str]:
        """The lines, and how many more there are of a kind."""
        most = self._most
        more = [] if most is None else [(kind, n - most) for kind, n in self._counts.items() if n > most]
        return [*self._lines, *(f"and {number:,} more: {kind}" for kind, number in more)]
