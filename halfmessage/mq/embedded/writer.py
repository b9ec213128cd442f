"""The one thread of a process that writes: group commit.

Whatever was submitted while one transaction was on its way to the disk forms the next one: no timer, so a lone
caller waits for no other, and many callers share one sync.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from halfmessage.errors import BrokerError, HalfMessageError
from halfmessage.mq.embedded.faults import primary_code, translate
from halfmessage.mq.embedded.file import BrokerFile

A = TypeVar("A")
T = TypeVar("T")

Shared = Callable[[sqlite3.Connection, Sequence[A]], Sequence[T]]
"""Work that many callers share: takes the argument of each, returns an answer for each."""

_MOST = 256  # pieces of work in one transaction
_HEAVIEST = 1024 * 1024  # bytes that they write; one piece may weigh more
_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.005  # seconds between tries for the write lock
_CLOSED = "The broker was closed."
_LATE = "The broker did not answer in time; the message may have arrived all the same."


@dataclass(slots=True)
class _Job:
    work: Shared[Any, Any]
    argument: Any
    weight: int = 0
    done: "Future[Any]" = field(default_factory=Future)


class Writer:
    """Runs pieces of work on its thread; an answer means that they are on disk, in the file that the path names."""

    def __init__(self, file: BrokerFile, send_timeout: float) -> None:
        """Take over the file's first connection; wait `send_timeout` seconds for another process's lock."""
        self._file = file
        self._send_timeout = send_timeout
        self._connection = file.first_connection
        self._broken = False
        self._closed = False
        self._gate = threading.Lock()  # nothing is queued behind the None that ends the thread
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="broker-writer", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction, shared with others; return its result once it is committed.

        `work` may run more than once, and must write nothing before it raises an `Misconfigured`. Raise that, or
        `BrokerError`.
        """
        result: T = self._submit(_Job(_alone, work))
        return result

    def do_with_others(self, work: Shared[A, T], argument: A, *, weight: int = 0) -> T:
        """Do the same, but let callers with the same `work` share one run of it. Raise `BrokerError`.

        `weight`: how many bytes it writes, where that may be many.
        """
        result: T = self._submit(_Job(work, argument, weight))
        return result

    def _submit(self, job: _Job) -> Any:
        with self._gate:
            if self._closed:
                raise BrokerError(_CLOSED)
            self._queue.put(job)
        try:
            # a batch that waits in vain for the lock, then ours, then a slow disk
            return job.done.result(timeout=2 * self._send_timeout + 1)
        except TimeoutError as error:
            raise (BrokerError() if job.done.cancel() else BrokerError(_LATE)) from error

    def close(self) -> None:
        """Finish what is queued, then end the thread and close the connection."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._next_batch()
            self._process([job for job in batch if job.done.set_running_or_notify_cancel()])
        self._connection.close()

    def _next_batch(self) -> tuple[list[_Job], bool]:
        batch: list[_Job] = []
        weight = 0
        job = self._queue.get()
        while job is not None:
            batch.append(job)
            weight += job.weight
            if len(batch) == _MOST or weight >= _HEAVIEST:
                return batch, True
            try:
                job = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _process(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        try:
            answers = self._transact(jobs)
        except Exception as error:  # noqa: BLE001 (the thread's edge: it outlives every fault, each caller is told)
            self._fail(jobs, error)
        else:
            for job, answer in answers:
                if isinstance(answer, HalfMessageError):
                    job.done.set_exception(answer)
                else:
                    job.done.set_result(answer)

    def _fail(self, jobs: list[_Job], error: Exception) -> None:
        if isinstance(error, sqlite3.Error):
            self._file.noticed(error)
            self._broken = primary_code(error) != sqlite3.SQLITE_BUSY
            for job in jobs:
                fault = translate(error)
                fault.__cause__ = error
                job.done.set_exception(fault)
        elif isinstance(error, BrokerError):
            for job in jobs:
                job.done.set_exception(type(error)(error.detail))
        elif len(jobs) == 1:
            jobs[0].done.set_exception(error)
        else:  # one piece of work is wrong in itself: find out which, the others must not suffer
            for job in jobs:
                self._process([job])

    def _transact(self, jobs: list[_Job]) -> list[tuple[_Job, Any]]:
        self._file.verify_sound()
        if self._broken:
            self._reopen()
        self._begin()
        try:
            answers = self._work(jobs)
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite rolled back by itself, or the connection is lost: see _reopen
                self._connection.execute("ROLLBACK")
            raise
        self._file.verify()
        return answers

    def _work(self, jobs: list[_Job]) -> list[tuple[_Job, Any]]:
        sharing: dict[Shared[Any, Any], list[_Job]] = {}
        for job in jobs:
            sharing.setdefault(job.work, []).append(job)
        answers: list[tuple[_Job, Any]] = []
        for work, sharers in sharing.items():
            answers += zip(sharers, work(self._connection, [job.argument for job in sharers]), strict=True)
        return answers

    def _begin(self) -> None:
        # SQLite's own wait sleeps up to 100 ms between tries; a transaction of ours takes about one
        deadline = time.monotonic() + self._send_timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _reopen(self) -> None:
        # the new one first: the last connection that closes would delete the log, and with it the file's identity
        fresh = self._file.connect()
        self._connection.close()
        self._connection = fresh
        self._broken = False


def _alone(connection: sqlite3.Connection, works: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
    return [_answer(connection, work) for work in works]


def _answer(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], Any]) -> Any:
    try:
        return work(connection)
    except HalfMessageError as refusal:
        return refusal
