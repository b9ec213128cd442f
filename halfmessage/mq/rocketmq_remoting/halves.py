"""An open half message: the callback in which RocketMQ's C client asks for its end, held until somebody says it."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from halfmessage.errors import BrokerError
from halfmessage.mq.port import Resolution
from halfmessage.mq.rocketmq_remoting.calls import Calls, settle

HOLD = 30.0  # seconds; six times the default deadline of a local transaction, after which its check-back decides anyway

Callback = Callable[..., Any]
Send = Callable[[Callback], None]
"""Sends the half message; returns or raises once that is over. Has the callback run in between iff it is stored."""


class OpenHalf:
    """One half message, from its sending to its end.

    `SendMessageTransaction` of the C interface stores the half message, runs a callback and resolves the message by
    what the callback returns. It reports success whatever happened; that the callback ran is the one sure sign that
    the message is stored, because the client runs it for no other answer of the broker.
    """

    def __init__(self, statuses: Any, hold: float) -> None:
        """Take the package's `TransactionStatus`, and how long to stay open, in seconds."""
        self._answers = {
            Resolution.COMMIT: statuses.COMMIT,
            Resolution.ROLLBACK: statuses.ROLLBACK,
            None: statuses.UNKNOWN,
        }
        self._hold = hold
        self._pid = os.getpid()
        self._deciding = threading.Lock()
        self._stored: Future[None] = Future()
        self._decision: Future[Resolution | None] = Future()
        self._ended: Future[None] = Future()

    def begin(self, send: Send, calls: Calls, callback: Callback) -> None:
        """Send it; return once it is stored. Raise `BrokerError` if it is not, or not in time.

        One that is stored too late is rolled back: its caller was told that nothing happened, and did nothing.
        """
        calls.start(lambda: self._run(send, callback))
        try:
            calls.wait(self._stored)
        except BrokerError:
            self._decide(Resolution.ROLLBACK)
            raise

    def held(self, _received: object) -> Any:
        """Run inside the callback: wait for the decision, return the status. Reads nothing of the message.

        (Its id and properties are garbage at this point; and everything in it is known here already.)
        """
        self._stored.set_result(None)
        try:
            decision = self._decision.result(self._hold)
        except TimeoutError:
            decision = self._decide(None)
        return self._answers[decision]

    def resolve(self, resolution: Resolution, calls: Calls) -> None:
        """End it; the first decision stands. Raise `BrokerError`: its check-back decides."""
        if self._pid != os.getpid():
            raise BrokerError("This half message was begun before a fork; its check-back decides.")
        if self._decide(resolution) is None:
            raise BrokerError("This half message was open for too long; its check-back decides.")
        calls.wait(self._ended)

    def leave(self) -> None:
        """Leave it to its check-back, unless it is decided."""
        self._decide(None)

    def _decide(self, decision: Resolution | None) -> Resolution | None:
        with self._deciding:
            if not self._decision.done():
                self._decision.set_result(decision)
        return self._decision.result()

    def _run(self, send: Send, callback: Callback) -> None:
        settle(self._ended, lambda: send(callback))
        if not self._stored.done():
            failure = self._ended.exception() or BrokerError("The broker did not store the half message.")
            self._stored.set_exception(failure)
