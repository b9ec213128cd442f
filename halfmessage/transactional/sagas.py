"""Sagas of a service: their log is in its database, and the processes that consume drive them.

Failpoints: those of `halfmessage.failpoints.of_saga`, of an engine named ``saga``.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Final

from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.ids import IdSource
from halfmessage.saga.barrier import Barrier
from halfmessage.saga.definition import Saga
from halfmessage.saga.engine import ALERT_AFTER, Engine
from halfmessage.saga.operating import Counts, Sagas
from halfmessage.saga.waking import Sweeper
from halfmessage.transactional import tables
from halfmessage.transactional.options import Options

_NONE: Final = Counts(0, 0)

Around = Callable[[], AbstractContextManager[object]]


class ServiceSagas:
    """The engine of one process, its operator's words, and the thread that looks for runs that are due."""

    def __init__(
        self, database: Transactor, ids: IdSource, declared: Iterable[Saga], options: Options, around: Around
    ) -> None:
        """Take what was declared, and what each step is run in. Raise `Misconfigured` for a lease that is too short."""
        self._retention = options.saga_retention
        self.engine = Engine(
            database,
            tables.SAGAS,
            ids,
            [_inside(saga, around) for saga in declared],
            lease=options.saga_lease,
            delay=options.saga_delay,
        )
        self.runs = Sagas(self.engine)
        self.barrier = Barrier(database, tables.BARRIER)
        self._sweeper = Sweeper(self.engine, interval=options.poll_every)

    def start(self) -> None:
        """Drive what is due, on a thread, if there is a saga."""
        if self.engine.sagas:
            self._sweeper.start()

    def counts(self) -> Counts:
        """Count runs that have not ended, and those in trouble. Raise `DatabaseUnavailable`."""
        return self.runs.counts(ALERT_AFTER) if self.engine.sagas else _NONE

    def purge_runs(self) -> int:
        """Forget some runs that ended long ago; return how many."""
        return self.runs.purge(self._before())

    def purge_barrier(self) -> int:
        """Forget some steps that were decided long ago; return how many."""
        return self.barrier.purge(self._before())

    def close(self) -> None:
        """Stop, after the run in hand."""
        self._sweeper.close()

    def _before(self) -> int:
        return now_ms() - int(self._retention * 1000)


def _inside(saga: Saga, around: Around) -> Saga:
    """Return the same definition, each function of which is run in a context: of a Flask app, say."""

    def inside(_name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def run(*given: Any) -> Any:
            with around():
                return work(*given)

        return run

    return saga.wrapped(inside)
