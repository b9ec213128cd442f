"""One call for all who wait for what it brings, and one failure.

Source of the idea: singleflight, https://pkg.go.dev/golang.org/x/sync/singleflight.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from common.errors import PeerUnavailable
from halfmessage.errors import another

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Has one thread at a time fetch what many want. Thread-safe."""

    def __init__(self, *, patience: float) -> None:
        """Let a caller wait for at most `patience` seconds, also for a fetch of another caller's."""
        self._patience = patience
        self._guard = threading.Lock()
        self._flight: _Flight | None = None

    def get(self, known: Callable[[], T | None], fetch: Callable[[float], T]) -> T:
        """Return what `known` finds, or else what `fetch` brings, for which one thread at a time calls it.

        `known` is asked again after each flight that was waited for. `fetch` is told how many seconds it has. What it
        raises, all raise that waited for it. Raise `PeerUnavailable` where the time is over.
        """
        deadline = time.monotonic() + self._patience
        while (found := known()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise PeerUnavailable
            flight = self._board(left)
            if flight is not None:
                return self._fly(flight, known, fetch, left)
        return found

    def _board(self, left: float) -> "_Flight | None":
        """Return a flight that the caller is to make, or None after one under way has ended. Raise what ended it."""
        with self._guard:
            flight = self._flight
            if flight is None:
                self._flight = _Flight(whole=left > self._patience / 2)
                return self._flight
        flight.wait(left)
        return None

    def _fly(self, flight: "_Flight", known: Callable[[], T | None], fetch: Callable[[float], T], left: float) -> T:
        error: Exception | None = PeerUnavailable()  # if this thread is to end
        try:
            found = known()  # another flight may have landed just before this one was begun
            if found is None:
                found = fetch(left)
            error = None
        except Exception as failure:
            error = failure
            raise
        finally:
            with self._guard:
                self._flight = None
            flight.land(error)
        return found


class _Flight:
    """One call under way. `whole`: it has had most of the time that one may take, so its failure is everybody's."""

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._error: Exception | None = None
        self._landed = threading.Event()

    def land(self, error: Exception | None) -> None:
        self._error = error
        self._landed.set()

    def wait(self, seconds: float) -> None:
        """Return when it has landed. Raise what it failed with, or `PeerUnavailable` after so many seconds."""
        if not self._landed.wait(seconds):
            raise PeerUnavailable
        if self._error is not None and self._whole:
            raise another(self._error) from self._error
