"""A consumer on RocketMQ 5: receives in batches, as the client's `SimpleConsumer`."""

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Final

import structlog
from rocketmq import FilterExpression, SimpleConsumer
from rocketmq.grpc_protocol import Code

from halfmessage.errors import BrokerError
from halfmessage.mq.keeping import Keeper
from halfmessage.mq.port import STANDBY_PAUSE, BrokerOptions, Delivery, Handler, Ready, Verdict
from halfmessage.mq.rocketmq_grpc import faults, wire
from halfmessage.mq.rocketmq_grpc.inbox import Batch, Inbox
from halfmessage.mq.rocketmq_grpc.onward import Onward, is_early
from halfmessage.mq.rocketmq_grpc.place import Place
from halfmessage.mq.rocketmq_grpc.producer import configuration
from halfmessage.mq.rocketmq_grpc.session import Away, Session

_ASKS: Final = 3  # receives of one broker at once while there is a backlog; each thread may have to wait for one
_PAUSE = 0.25  # seconds, while RocketMQ is away
_PAUSE_WITHOUT_GROUP = 2.0

log = structlog.get_logger()


class RocketMQConsumer:
    """Implements `halfmessage.mq.port.Consumer`: `threads` threads, one of which looks for messages at a time.

    A receive brings few, and takes as long as handling them does. So while receives come back full, several are under
    way, though never more than there are threads: what has come and waits for one grows old.
    """

    def __init__(
        self,
        place: Place,
        options: BrokerOptions,
        onward: Onward,
        group: str,
        topic: str,
        handler: Handler,
        ready: Ready,
        threads: int,
        batch: int,
    ) -> None:
        """Connect in the background and start."""
        self._options, self._onward, self._group, self._topic = options, onward, group, topic
        self._handler, self._ready = handler, ready
        self._closed = threading.Event()
        self._no_group = ""  # not empty: RocketMQ let it connect, and says at each receive that its group is missing
        self._looking = threading.Lock()
        self._asks = min(_ASKS, threads)
        self._backlogs: set[str] = set()  # brokers whose last receive was full
        # By broker, and number of those at once: what is asked for, or has come and waits its turn
        self._coming: dict[tuple[str, int], Future[Batch]] = {}
        name = f"consumer {group} of {topic}"
        self._session = Session(
            place,
            name,
            lambda: SimpleConsumer(
                configuration(place, options.send_timeout), group, {topic: FilterExpression()}, tls_enable=place.tls
            ),
            group,
        )
        self._inbox = Inbox(place, options, group, topic, batch)
        self._session.start()
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def refusal(self) -> str:
        """Why RocketMQ gives it nothing although it is there; empty where it does."""
        return self._session.refusal or self._no_group

    def close(self) -> None:
        """Let the handlers in flight finish, give back what they have not seen. Takes up to `Place.poll` seconds."""
        self._closed.set()
        for thread in self._threads:
            if thread is not threading.current_thread():  # a handler may close its own consumer
                thread.join()
        for coming in self._coming.values():
            self._give_back(coming)
        self._coming.clear()
        self._session.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            if not self._ready():
                self._closed.wait(STANDBY_PAUSE)
                continue
            try:
                with self._looking:
                    batch = self._take()
                if batch is not None:
                    self._work(batch)
            except Away:  # its session said so
                self._closed.wait(_PAUSE)
            except BrokerError as error:
                self._failed(error)

    def _failed(self, error: BrokerError) -> None:
        """Tell why nothing comes, of a missing group once; wait until it is worth while to ask again."""
        missing = isinstance(error, faults.Refused) and error.code == Code.CONSUMER_GROUP_NOT_FOUND
        before, self._no_group = self._no_group, faults.NoGroup(self._group).detail if missing else ""
        if self._closed.is_set():
            return
        if missing and not before:
            log.warning("broker.group_missing", client=self._topic, group=self._group, reason=self._no_group)
        elif not missing:
            log.warning("broker.receive_failed", topic=self._topic, reason=error.detail)
            self._session.suspect()
        self._closed.wait(_PAUSE_WITHOUT_GROUP if missing else _PAUSE)

    def _take(self) -> Batch | None:
        """Ask every broker of which too little is asked yet; return what comes first."""
        if self._closed.is_set():
            return None
        client = self._session.client(_PAUSE)
        for broker, queue in self._inbox.brokers(client).items():
            for number in range(self._asks if broker in self._backlogs else 1):
                if (broker, number) not in self._coming:
                    self._coming[broker, number] = self._inbox.ask(client, queue)
        done, _ = wait(self._coming.values(), return_when=FIRST_COMPLETED)
        first = next(ask for ask, coming in self._coming.items() if coming in done)
        if self._closed.is_set():
            return None
        batch = self._inbox.got(self._coming.pop(first))
        if len(batch.messages) >= self._inbox.batch:
            self._backlogs.add(first[0])
        else:
            self._backlogs.discard(first[0])
        self._no_group = ""
        return batch

    def _work(self, batch: Batch) -> None:
        client = self._session.client(self._options.send_timeout)
        readable = [one for one in batch.messages if not one.damage]
        early = [one for one in readable if is_early(one)]
        if early:  # first: they must not wait for a handler that takes long
            self._inbox.settle(client, batch.endpoints, early, [self._onward.send(one) for one in early])
        due = [one for one in readable if one not in early]
        if due:
            verdicts = self._ask(due, self._keeper(client, batch.endpoints, due))
            self._inbox.settle(client, batch.endpoints, due, verdicts)
        damaged = [one for one in batch.messages if one.damage]
        for one in damaged:
            log.error("broker.message_damaged", message_id=one.message_id, reason=one.damage, put="dead letters")
        if damaged:
            self._inbox.settle(client, batch.endpoints, damaged, [Verdict.RETRY] * len(damaged))

    def _keeper(self, client: Any, endpoints: Any, due: list[wire.Received]) -> Keeper:
        """Return what keeps `due`, in which it replaces what has a new receipt."""

        def extend() -> None:
            due[:] = self._inbox.extend(client, endpoints, due)

        return Keeper(self._topic, self._inbox.invisible_for, extend)

    def _ask(self, due: Sequence[wire.Received], keep: Keeper) -> list[Verdict]:
        deliveries = [Delivery(one.message_id, one.message, one.attempt, one.born_at, keep) for one in due]
        ids = [delivery.message_id for delivery in deliveries]
        try:
            verdicts = [Verdict(verdict) for verdict in self._handler(deliveries)]
        except Exception:
            log.exception("broker.handler_failed", topic=self._topic, message_ids=ids)
        else:
            if len(verdicts) == len(due):
                return verdicts
            log.error("broker.handler_miscounted", topic=self._topic, message_ids=ids, got=len(verdicts))
        return [Verdict.RETRY] * len(due)

    def _give_back(self, coming: "Future[Batch]") -> None:
        try:
            batch = self._inbox.got(coming)
            client = self._session.client(self._options.send_timeout)
            self._inbox.settle(client, batch.endpoints, batch.messages, [Verdict.RETRY] * len(batch.messages))
        except BrokerError as error:  # what came comes again when its invisible time is over
            log.info("broker.not_given_back", topic=self._topic, reason=error.detail)
