"""A consumer of the embedded broker."""

import threading
from dataclasses import replace

import structlog

from halfmessage.mq.embedded import deliveries
from halfmessage.mq.embedded.store import Store
from halfmessage.mq.embedded.wakeup import keep_going
from halfmessage.mq.keeping import Keeper
from halfmessage.mq.port import STANDBY_PAUSE, Handler, Ready, Verdict


class EmbeddedConsumer:
    """Implements `halfmessage.mq.port.Consumer`: `threads` threads, one of which looks for messages at a time."""

    def __init__(
        self, store: Store, group: str, topic: str, handler: Handler, ready: Ready, threads: int, batch: int
    ) -> None:
        """Subscribe and start."""
        self._store = store
        self._topic = topic
        self._handler, self._ready = handler, ready
        self._batch = batch
        self._closed = threading.Event()
        self._looking = threading.Lock()
        self._subscription = store.writer.do(lambda connection: deliveries.subscribe(connection, group, topic))
        store.wakeup.start()
        name = f"consumer {group} of {topic}"
        self._threads = [
            threading.Thread(target=keep_going, args=(self._step, self._closed, name), name=name, daemon=True)
            for _ in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Take no more, let the handlers in flight finish."""
        self._closed.set()
        self._store.wakeup.ring()
        for thread in self._threads:
            if thread is not threading.current_thread():  # a handler may close its own consumer
                thread.join()

    def _step(self) -> None:
        taken = self._take()
        if taken is None or not taken.deliveries:
            return
        if self._closed.is_set():
            self._store.writer.do(lambda connection: deliveries.give_back(connection, self._subscription, taken))
            return
        verdicts = self._ask(taken)
        options = self._store.options
        self._store.writer.do(lambda c: deliveries.settle(c, self._subscription, taken, verdicts, options))

    def _take(self) -> deliveries.Claim | None:
        with self._looking:
            if not self._store.wakeup.until_due(self._next_due, self._closed):
                return None
            if not self._ready():
                self._closed.wait(STANDBY_PAUSE)
                return None
            options = self._store.options
            return self._store.writer.do(lambda c: deliveries.claim(c, self._subscription, self._batch, options))

    def _next_due(self) -> int | None:
        return deliveries.next_due(self._store.reader, self._subscription)

    def _ask(self, taken: deliveries.Claim) -> list[Verdict]:
        expected = len(taken.deliveries)
        options = self._store.options
        keep = Keeper(
            self._topic,
            options.invisible_for,
            lambda: self._store.writer.do(lambda c: deliveries.extend(c, self._subscription, taken, options)),
        )
        kept = [replace(one, keep=keep) for one in taken.deliveries]
        log = structlog.get_logger().bind(topic=self._topic, message_ids=[d.message_id for d in taken.deliveries])
        try:
            verdicts = [Verdict(verdict) for verdict in self._handler(kept)]
        except Exception:
            log.exception("broker.handler_failed")
        else:
            if len(verdicts) == expected:
                return verdicts
            log.error("broker.handler_miscounted", expected=expected, got=len(verdicts))
        return [Verdict.RETRY] * expected
