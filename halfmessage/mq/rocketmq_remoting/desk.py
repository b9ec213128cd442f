"""A desk between C's threads, which ask, and ours, which work out the answers.

Handlers and checkers run on our own threads: what a thread keeps (a database connection, a logging context) would be
lost on C's, which Python meets anew at every callback. And questions that wait at the same time are answered as one
batch, so that they share a database commit although the C interface brings messages one by one.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _Slot(Generic[Question, Answer]):
    """One question, and where its answer will lie."""

    __slots__ = ("answer", "answered", "question")

    def __init__(self, question: Question, answer: Answer) -> None:
        self.question = question
        self.answer = answer
        self.answered = threading.Event()


class Desk(Generic[Question, Answer]):
    """Answers questions on `threads` threads, up to `batch` at once; with `otherwise` where that fails."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Question]], Sequence[Answer]],
        otherwise: Answer,
        *,
        threads: int = 1,
        batch: int = 1,
    ) -> None:
        """Start the threads."""
        self._name = name
        self._work = work
        self._otherwise = otherwise
        self._batch = batch
        self._changed = threading.Condition()
        self._waiting: deque[_Slot[Question, Answer]] = deque()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def ask(self, question: Question) -> Answer:
        """Wait for the answer; once closed, have `otherwise` at once."""
        slot = _Slot(question, self._otherwise)
        with self._changed:
            if self._closed:
                return self._otherwise
            self._waiting.append(slot)
            self._changed.notify()
        slot.answered.wait()
        return slot.answer

    def works_here(self) -> bool:
        """Tell whether the caller is one of this desk's own threads."""
        return threading.current_thread() in self._threads

    def close(self) -> None:
        """Answer what waits with `otherwise`, let what is being worked on finish."""
        with self._changed:
            self._closed = True
            for slot in self._waiting:
                slot.answered.set()
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while slots := self._take():
            try:
                answers = self._work([slot.question for slot in slots])
                for slot, answer in zip(slots, answers, strict=True):
                    slot.answer = answer
            except BaseException:  # noqa: BLE001 (a thread that ends leaves C waiting; who asked gets `otherwise`)
                structlog.get_logger().exception("broker.desk_failed", at=self._name)
            finally:
                for slot in slots:
                    slot.answered.set()

    def _take(self) -> list[_Slot[Question, Answer]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
