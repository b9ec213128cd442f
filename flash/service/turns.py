"""One sale must not keep the others: each has its turn, though the step of one fails."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from halfmessage.errors import HalfMessageError

T = TypeVar("T")


class Turns:
    """What failed in one round, which goes on all the same."""

    def __init__(self) -> None:
        """Begin a round."""
        self._first: HalfMessageError | None = None

    def each(self, things: Iterable[T], step: Callable[[T], object]) -> list[T]:
        """Do a step for each; return those for which it failed."""
        failed = []
        for thing in things:
            try:
                step(thing)
            except HalfMessageError as error:
                self._first = self._first or error
                failed.append(thing)
        return failed

    def end(self) -> None:
        """Raise what failed first, if anything did."""
        if self._first is not None:
            raise self._first
