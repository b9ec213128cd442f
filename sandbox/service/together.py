"""Group commit: what is asked for while a transaction is under way is done in the next one, together."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection

from common.db import Database
from halfmessage.errors import DuplicateRow, HalfMessageError
from halfmessage.tx.batch import Batcher

T = TypeVar("T")
Work = Callable[[Connection], Any]

_MOST: Final = 64  # works of one transaction
_LONGEST_QUEUE: Final = 1000
_LONGEST_WAIT: Final = 5.0  # seconds


class Together:
    """Runs works of many threads in transactions. Each refuses, by raising, before it writes anything."""

    def __init__(self, database: Database) -> None:
        """Run them in `database`."""
        self._database = database
        self._batcher: Batcher[Work, Any] = Batcher(
            self._run, lanes=1, heaviest=_MOST, longest_queue=_LONGEST_QUEUE, longest_wait=_LONGEST_WAIT
        )

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` with others in one transaction; return its answer once that is committed.

        Raise what it raises, `DatabaseUnavailable`, `CommitOutcomeUnknown` or `Overloaded`.
        """
        return cast("T", self._batcher.submit(work))

    def _run(self, works: Sequence[Work]) -> list[Any]:
        try:
            return self._database.transact(lambda connection: [_answer(work, connection) for work in works])
        except DuplicateRow:  # another process wrote a row meanwhile, which is found now; of one work each
            return [self._database.transact(partial(_answer, work)) for work in works]


def _answer(work: Work, connection: Connection) -> Any:
    try:
        return work(connection)
    except HalfMessageError as error:
        return error
