"""Group commit: what is asked for while a batch is under way forms the next one (docs/decisions/0016).

There is no thread and no timer here. A caller that finds a lane free carries its job out at once, so that a lone
request does not wait; a later caller waits, and is served by, or made to lead, the next batch::

    batcher = Batcher(
        placing.place, lanes=2, heaviest=256, longest_queue=1024, longest_wait=5.0, weigh=lambda draft: draft.size
    )
    answer = batcher.submit(draft)  # from as many threads as there are requests

Source of the idea: "group commit", DeWitt et al., Implementation Techniques for Main Memory Database Systems, 1984.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

import structlog

from halfmessage.errors import CommitOutcomeUnknown, Overloaded, another

J = TypeVar("J")
A = TypeVar("A")

log = structlog.get_logger()


class Batcher(Generic[J, A]):
    """Runs jobs of many threads together. Thread-safe."""

    def __init__(
        self,
        run: Callable[[Sequence[J]], Sequence[A | Exception]],
        *,
        lanes: int,
        heaviest: int,
        longest_queue: int,
        longest_wait: float,
        weigh: Callable[[J], int] = lambda _: 1,
        observe: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Take what runs a batch, returning each job's answer, or the exception that it alone gets, in their order.

        What `run` raises, all jobs of its batch get. `lanes` batches run at once. A batch weighs at most `heaviest`,
        but one job may always run. `longest_queue` jobs may wait, each for `longest_wait` seconds until its batch
        begins; from then on it waits for its batch, whose steps have deadlines of their own. `weigh` is asked once for
        each job, before that takes a place. `observe` is told the size of each batch; its faults are only logged.
        """
        self._run = run
        self._lanes = lanes
        self._heaviest = heaviest
        self._longest_queue = longest_queue
        self._longest_wait = longest_wait
        self._weigh = weigh
        self._observe = observe
        self._guard = threading.Lock()
        self._queue: deque[_Ticket[J, A]] = deque()
        self._busy = 0  # lanes

    def submit(self, job: J) -> A:
        """Run `job` in a batch and return its answer.

        Raise what it or its batch got, or `Overloaded`, which means that it was never run: at once where the queue is
        full, or after `longest_wait`.
        """
        ticket: _Ticket[J, A] = _Ticket(job, self._weigh(job))
        try:
            if not self._take_lane_or_queue(ticket):
                self._wait(ticket)
            if not ticket.is_served:
                self._lead(ticket)
        finally:
            ticket.wake_behind()
        return ticket.answer()

    def _take_lane_or_queue(self, ticket: "_Ticket[J, A]") -> bool:
        """Tell whether a lane was free, which is the ticket's then. While one is free, the queue is empty."""
        with self._guard:
            if self._busy < self._lanes:
                self._busy += 1
                return True
            if len(self._queue) >= self._longest_queue:
                raise Overloaded
            self._queue.append(ticket)
            return False

    def _wait(self, ticket: "_Ticket[J, A]") -> None:
        """Return once it was served, or is to lead. Raise `Overloaded` if no batch has taken it in time."""
        if ticket.wait(self._longest_wait):
            return
        with self._guard:
            if ticket in self._queue:
                self._queue.remove(ticket)
                raise Overloaded
        ticket.wait()  # it is in a batch by now, which may do what it asks for

    def _lead(self, leader: "_Ticket[J, A]") -> None:
        """Run the next batch in this thread, which has a lane."""
        batch = [leader, *self._followers(self._heaviest - leader.weight)]
        answers: Sequence[A | Exception] = [CommitOutcomeUnknown()] * len(
            batch
        )  # to followers of a thread that is to end
        try:
            answers = self._run_all([ticket.job for ticket in batch])
        except Exception as error:  # noqa: BLE001 - each job's own thread raises it
            answers = [error] * len(batch)
        finally:
            self._pass_lane_on()
            _serve(batch, answers)

    def _run_all(self, jobs: Sequence[J]) -> Sequence[A | Exception]:
        self._tell(len(jobs))
        answers = self._run(jobs)
        if len(answers) != len(jobs):
            raise RuntimeError(f"{len(answers)} answers to {len(jobs)} jobs")
        return answers

    def _tell(self, size: int) -> None:
        try:
            self._observe(size)
        except Exception:  # the jobs have nothing to do with it
            log.exception("a batch could not be counted")

    def _followers(self, left: int) -> "list[_Ticket[J, A]]":
        found = []
        with self._guard:
            while self._queue and (left := left - self._queue[0].weight) >= 0:
                found.append(self._queue.popleft())
        return found

    def _pass_lane_on(self) -> None:
        with self._guard:
            successor = self._queue.popleft() if self._queue else None
            if successor is None:
                self._busy -= 1
        if successor is not None:
            successor.wake()


def _serve(batch: "Sequence[_Ticket[J, A]]", answers: Sequence[A | Exception]) -> None:
    """Give each its answer, and who is to be woken by it: the leader wakes the first, and so on.

    All of them woken at once would do nothing but fight for the interpreter lock, and take turns all the same.
    """
    for ticket, answer, behind in zip(batch, answers, (*batch[1:], None), strict=True):
        ticket.serve(answer, behind)


class _Ticket(Generic[J, A]):
    """One job, and the thread that waits for its answer or for its turn to lead."""

    __slots__ = ("_answer", "_behind", "_turn", "is_served", "job", "weight")

    def __init__(self, job: J, weight: int) -> None:
        self.job = job
        self.weight = weight
        self.is_served = False
        self._answer: A | Exception | None = None
        self._behind: _Ticket[J, A] | None = None
        self._turn = threading.Lock()
        self._turn.acquire()

    def wait(self, seconds: float = -1) -> bool:
        """Return True once it was served or is to lead, or False after so many seconds (-1: however long it takes)."""
        return self._turn.acquire(timeout=seconds)

    def wake(self) -> None:
        self._turn.release()

    def serve(self, answer: A | Exception, behind: "_Ticket[J, A] | None") -> None:
        """Store the answer; the thread that waits for it then wakes `behind`."""
        self._answer, self._behind = answer, behind
        self.is_served = True

    def wake_behind(self) -> None:
        if self._behind is not None:
            self._behind.wake()

    def answer(self) -> A:
        if isinstance(self._answer, Exception):
            raise another(self._answer) from self._answer  # one exception can't be raised in several threads
        return cast("A", self._answer)
