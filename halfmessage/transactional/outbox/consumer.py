"""A consumer of the outbox."""

import threading
import time
from contextlib import suppress
from dataclasses import replace

import structlog

from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.errors import DuplicateRow, HalfMessageError
from halfmessage.mq.keeping import Keeper
from halfmessage.mq.port import BrokerOptions, Handler, Verdict
from halfmessage.transactional.outbox import rows

_CATCH_UP_EVERY = 60.0  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds after a failure

log = structlog.get_logger()


class OutboxConsumer:
    """Implements `halfmessage.mq.port.Consumer`: each thread looks every `poll_every` seconds, at once when rung."""

    def __init__(
        self,
        database: Transactor,
        group: str,
        topic: str,
        handler: Handler,
        options: BrokerOptions,
        *,
        threads: int,
        batch: int,
        poll_every: float,
    ) -> None:
        """Subscribe and start. Raise `DatabaseUnavailable`."""
        self._database, self._group, self._topic = database, group, topic
        self._handler, self._options = handler, options
        self._batch, self._poll_every = batch, poll_every
        self._closed = threading.Event()
        self._rung = threading.Condition()
        self._rings = 0
        database.transact(lambda connection: rows.subscribe(connection, group, topic))
        self._catch_up(since=0)
        self._catch_up_at = time.monotonic() + _CATCH_UP_EVERY
        name = f"outbox {group} of {topic}"
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def ring(self) -> None:
        """Have it look at once."""
        with self._rung:
            self._rings += 1
            self._rung.notify_all()

    def close(self) -> None:
        """Take no more, let the handlers in flight finish."""
        self._closed.set()
        self.ring()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed.is_set():
            seen = self._rings
            try:
                is_idle = not self._step()
            except HalfMessageError as error:
                log.warning("outbox.trouble", group=self._group, error=error.detail)
                self._closed.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            if is_idle:
                with self._rung:
                    if self._rings == seen:
                        self._rung.wait(self._poll_every)

    def _step(self) -> bool:
        """Handle what is due; tell whether there was any."""
        if time.monotonic() > self._catch_up_at:
            self._catch_up_at = time.monotonic() + _CATCH_UP_EVERY
            self._catch_up(since=now_ms() - rows.LONGEST_TRANSACTION)
        if not self._is_due():
            return False
        taken = self._database.transact(
            lambda connection: rows.claim(connection, self._group, self._topic, self._batch, self._options)
        )
        if taken.deliveries:
            verdicts = self._ask(taken)
            self._database.transact(lambda connection: rows.settle(connection, taken, verdicts, self._options))
        return bool(taken.deliveries)

    def _is_due(self) -> bool:
        """Look without a lock: on SQLite an idle consumer keeps no writer waiting."""
        with self._database.read() as connection:
            return rows.is_due(connection, self._group)

    def _catch_up(self, since: int) -> None:
        caught = rows.MOST_CAUGHT_UP
        while caught == rows.MOST_CAUGHT_UP:
            # Another process of the group may be at the same rows: the next look leaves out what it wrote.
            with suppress(DuplicateRow):
                caught = self._database.transact(
                    lambda connection: rows.catch_up(connection, self._group, self._topic, since)
                )

    def _ask(self, taken: rows.Claim) -> list[Verdict]:
        expected = len(taken.deliveries)
        keep = Keeper(
            self._topic,
            self._options.invisible_for,
            lambda: self._database.transact(lambda connection: rows.extend(connection, taken, self._options)),
        )
        kept = [replace(one, keep=keep) for one in taken.deliveries]
        try:
            verdicts = [Verdict(verdict) for verdict in self._handler(kept)]
        except Exception:
            log.exception("outbox.handler_failed", group=self._group)
            return [Verdict.RETRY] * expected
        if len(verdicts) != expected:
            log.error("outbox.handler_miscounted", group=self._group, expected=expected, got=len(verdicts))
            return [Verdict.RETRY] * expected
        return verdicts
