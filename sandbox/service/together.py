"""Group commit: what is asked for while a transaction is under way is done in the next one, together."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

from sqlalchemy import Connection

from common.db import Database
from halfmessage.errors import CommitOutcomeUnknown, DatabaseUnavailable, DuplicateRow, HalfMessageError
from halfmessage.tx.batch import Batcher

T = TypeVar("T")
Work = Callable[[Connection], Any]

_MOST: Final = 64  # works of one transaction
_LONGEST_QUEUE: Final = 1000
_LONGEST_WAIT: Final = 5.0  # seconds


class Together:
    """Runs works of many threads in transactions. Each may be run again: it finds what it has done."""

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
        if len(works) > 1:
            try:
                return self._database.transact(lambda connection: [work(connection) for work in works])
            except (CommitOutcomeUnknown, DatabaseUnavailable):
                raise
            except HalfMessageError:  # of one of them: nothing was done, and each has a transaction of its own now
                pass
        return [self._alone(work) for work in works]

    def _alone(self, work: Work) -> Any:
        """Return what a work answers, or raises: then nothing of it is there."""
        try:
            try:
                return self._database.transact(work)
            except DuplicateRow:  # another process wrote it meanwhile: now it is found
                return self._database.transact(work)
        except HalfMessageError as error:
            return error
