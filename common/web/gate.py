"""A gate: so many requests are inside at once, and so many of one user; who comes beyond that is told so at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from common.web.problems import OverLimit
from halfmessage.errors import Overloaded


class Gate:
    """Lets requests in. Thread-safe."""

    def __init__(self, most: int, *, share: int) -> None:
        """Let at most `most` in at once, of which `share` may be one user's."""
        self._most = most
        self._share = share
        self._guard = threading.Lock()
        self._inside = 0
        self._of_users: Counter[str] = Counter()  # only of those who have some inside

    @contextmanager
    def of(self, user: str) -> Iterator[None]:
        """Be inside. Raise `OverLimit` where the user has its share inside, `Overloaded` where it is full."""
        self._enter(user)
        try:
            yield
        finally:
            self._leave(user)

    def _enter(self, user: str) -> None:
        with self._guard:
            if self._inside >= self._most:
                raise Overloaded
            if self._of_users.get(user, 0) >= self._share:
                raise OverLimit(1)
            self._inside += 1
            self._of_users[user] += 1

    def _leave(self, user: str) -> None:
        with self._guard:
            self._inside -= 1
            self._of_users[user] -= 1
            if not self._of_users[user]:
                del self._of_users[user]
