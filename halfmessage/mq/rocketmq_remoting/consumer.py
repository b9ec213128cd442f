"""A consumer of RocketMQ 4."""

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError
from halfmessage.mq.port import STANDBY_PAUSE, Delivery, Handler, Ready, Verdict
from halfmessage.mq.rocketmq_remoting.callbacks import guarded
from halfmessage.mq.rocketmq_remoting.desk import Desk
from halfmessage.mq.rocketmq_remoting.levels import level_for
from halfmessage.mq.rocketmq_remoting.session import Link
from halfmessage.mq.rocketmq_remoting.wire import Parcel, hop, read

_MOST_AT_THE_DESK = 32  # native threads that wait with a message each


class RemotingConsumer:
    """Implements `halfmessage.mq.port.Consumer`: native threads bring messages to a desk, the handler works on ours."""

    def __init__(
        self,
        link: Link,
        group: str,
        topic: str,
        handler: Handler,
        forward: Callable[[Parcel], None],
        *,
        ready: Ready,
        threads: int,
        batch: int,
    ) -> None:
        """Subscribe and start; `forward` sends a delayed message that is not due yet on. Raise `BrokerError`."""
        self._group = group
        self._topic = topic
        self._handler, self._ready = handler, ready
        self._forward = forward
        self._library = link.library
        self._statuses = link.library.client.ConsumeStatus
        self._pid = os.getpid()
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._native: Any = None
        name = f"consumer {group} of {topic}"
        self._desk = Desk(name, self._settle, Verdict.RETRY, threads=threads, batch=batch)
        try:
            self._native = self._started(link, min(threads * batch, _MOST_AT_THE_DESK))
        except BrokerError:
            self._desk.close()
            raise

    def close(self) -> None:
        """Take no more, let the handlers in flight finish, give what waits back."""
        if self._pid != os.getpid():
            return
        if self._desk.works_here():  # a handler closes its own consumer: the native shutdown would wait for it
            threading.Thread(target=self._close, daemon=True).start()
        else:
            self._close()

    def _close(self) -> None:
        self._closed.set()
        with self._closing:
            self._desk.close()
            native, self._native = self._native, None
            if native is not None:
                with self._library.translated():
                    native.shutdown()

    def _started(self, link: Link, threads: int) -> Any:
        callback = guarded(self._on_message, self._statuses.RECONSUME_LATER, "broker.delivery_failed")
        with link.library.translated():
            native = link.library.client.PushConsumer(self._group)
            link.library.refuse_group(native, self._group, self._topic)
            native.set_name_server_address(link.name_servers)
            native.set_instance_name(link.instance())
            native.set_thread_count(threads)
            native.set_message_batch_max_size(1)
            native.subscribe(self._topic, callback)
            link.library.switch_trace_off(native)
            native.start()
        return native

    def _on_message(self, received: Any) -> Any:
        verdict = self._desk.ask(read(received, self._topic))
        return self._statuses.CONSUME_SUCCESS if verdict is Verdict.ACK else self._statuses.RECONSUME_LATER

    def _settle(self, parcels: Sequence[Parcel]) -> list[Verdict]:
        """Have the handler see what is due and meant for this group; send on what is not due yet."""
        while not self._ready():  # the native client can't be told to wait: its messages do
            if self._closed.wait(STANDBY_PAUSE):
                return [Verdict.RETRY] * len(parcels)
        now = now_ms()
        verdicts: dict[int, Verdict] = {}
        due: list[int] = []
        for place, parcel in enumerate(parcels):
            if parcel.envelope.only_for not in {None, self._group}:
                verdicts[place] = Verdict.ACK  # this group hops its own copy
            elif (level := level_for((parcel.envelope.deliver_at or now) - now)) > 0:
                verdicts[place] = self._hop(parcel, level)
            else:
                due.append(place)
        verdicts.update(zip(due, self._ask([_delivery(parcels[place]) for place in due]), strict=True))
        return [verdicts[place] for place in range(len(parcels))]

    def _hop(self, parcel: Parcel, level: int) -> Verdict:
        try:
            self._forward(hop(parcel, self._group, level))
        except BrokerError as error:
            structlog.get_logger().warning("broker.hop_failed", topic=self._topic, error=error.detail)
            return Verdict.RETRY
        return Verdict.ACK

    def _ask(self, deliveries: list[Delivery]) -> list[Verdict]:
        if not deliveries:
            return []
        log = structlog.get_logger().bind(topic=self._topic, message_ids=[d.message_id for d in deliveries])
        try:
            verdicts = list(self._handler(deliveries))
        except Exception:
            log.exception("broker.handler_failed")
        else:
            if len(verdicts) == len(deliveries) and all(isinstance(verdict, Verdict) for verdict in verdicts):
                return verdicts
            log.error("broker.handler_answered_wrongly", expected=len(deliveries), got=repr(verdicts))
        return [Verdict.RETRY] * len(deliveries)


def _delivery(parcel: Parcel) -> Delivery:
    return Delivery(parcel.envelope.message_id, parcel.message, parcel.attempt, parcel.envelope.born_at)
