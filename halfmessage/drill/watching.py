"""What a drill sees of a service besides the library's own points, and which of its calls it loses.

Points that it adds: ROLE.own_commit, before each COMMIT that the service's own code sends: between two of them another
process may find the first one done and the second one not. ROLE is `act`, a consumer's group, or saga.step.direction.
"""

import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, event

from halfmessage import failpoints
from halfmessage.db import is_committing
from halfmessage.saga.definition import Call
from halfmessage.transactional import TransactionalMessages

OWN_COMMIT: Final = "own_commit"
_ACT: Final = "act"
_role = ContextVar("role", default=_ACT)  # of threads that the service makes, too


class Lost(ConnectionError):
    """What the caller hears of a call that the drill has lost."""


class Watch:
    """Wraps the consumers and the steps of one process. Used as a context manager, before anything is open."""

    def __init__(self, tx: TransactionalMessages, lose: str = "") -> None:
        """Take what to lose: a group, whose first message fails; or saga/step/do, which is not called until `found`."""
        self._tx, self._lose = tx, lose
        self.called: dict[str, None] = {}  # by name, in the order in which they were called first
        self.lost: list[Call] = []
        self.failed: str | None = None  # what a request of Flask's ended in: its client is told 500 and no more

    def __enter__(self) -> Self:
        self._tx.wrap(self._wrapped)
        event.listen(Engine, "commit", _strike)
        if (flask := sys.modules.get("flask")) is not None:
            flask.got_request_exception.connect(self._fail)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        event.remove(Engine, "commit", _strike)

    def _fail(self, _app: object, exception: BaseException, **_: object) -> None:
        self.failed = repr(exception)

    def found(self) -> None:
        """Lose nothing more."""
        self._lose = ""

    def _wrapped(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def run(*given: Any) -> Any:
            self.called.setdefault(name)
            if name == self._lose:
                self._lost(given[-1])
            mine = _role.set(name.replace("/", "."))
            try:
                return work(*given)
            finally:
                _role.reset(mine)

        return run

    def _lost(self, given: object) -> None:
        if isinstance(given, Call):
            self.lost.append(given)
        else:
            self.found()
        raise Lost("the drill lost this call")


def _strike(_connection: Connection) -> None:
    if not is_committing():
        failpoints.hit(f"{_role.get()}.{OWN_COMMIT}")
