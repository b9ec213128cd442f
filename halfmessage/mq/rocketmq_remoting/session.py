"""What one process has of a producer group: native producers, the desk for check-backs, the half messages it holds."""

import os
import threading
import uuid
from dataclasses import dataclass
from typing import Any

import structlog

from halfmessage.errors import BrokerError
from halfmessage.mq.port import CheckAnswer, Checker, HalfMessage
from halfmessage.mq.rocketmq_remoting.callbacks import guarded
from halfmessage.mq.rocketmq_remoting.calls import Calls
from halfmessage.mq.rocketmq_remoting.desk import Desk
from halfmessage.mq.rocketmq_remoting.halves import OpenHalf
from halfmessage.mq.rocketmq_remoting.library import Library
from halfmessage.mq.rocketmq_remoting.wire import Parcel, native, read

_UNKNOWN = CheckAnswer.UNKNOWN
_MOST_OPEN = 256  # half messages that one producer holds open; each is a thread


@dataclass(frozen=True, slots=True)
class Link:
    """The way to a broker: the library, the name servers (`host:port;host:port`) and a send's time limit, seconds."""

    library: Library
    name_servers: str
    send_timeout: float

    def instance(self) -> bytes:
        """Return a new instance name: the C client takes two producers of a group for one if it is the same."""
        return f"{os.getpid()}-{uuid.uuid4().hex[:12]}".encode()


class Session:
    """Opened after any fork, left alone in the fork's child: its threads are not there, to shut down would hang."""

    def __init__(self, link: Link, group: str, checker: Checker | None) -> None:
        """Start what answers check-backs if there is a checker, nothing else yet. Raise `BrokerError`."""
        self.pid = os.getpid()
        self.calls = Calls(_MOST_OPEN, link.send_timeout)
        self._link = link
        self._group = group
        self._lock = threading.Lock()  # of the next two; never held while C runs
        self._closed = False
        self._halves: set[OpenHalf] = set()
        self._starting = threading.Lock()
        self._plain: Any = None
        self._transactional: Any = None
        self._desk: Desk[HalfMessage, CheckAnswer] | None = None
        if checker is not None:
            self._desk = Desk(f"check-back of {group}", lambda halves: [_ask(checker, h) for h in halves], _UNKNOWN)
            self._started_transactional()

    def send(self, parcel: Parcel) -> None:
        """Send a normal or delayed message. Raise `BrokerError`."""
        ok = self._link.library.client.SendStatus.OK

        def work() -> None:
            with native(self._link.library, parcel) as message, self._link.library.translated():
                status = self._started_plain().send_sync(message).status
            if status != ok:
                raise BrokerError(f"The broker did not store the message safely: {status.name}.")

        self.calls.result(work)

    def begin(self, parcel: Parcel, hold: float) -> OpenHalf:
        """Send a half message; return it once it is stored. Raise `BrokerError`."""
        statuses = self._link.library.client.TransactionStatus
        half = OpenHalf(statuses, hold)

        def send(callback: Any) -> None:
            with self._lock:
                if self._closed:
                    raise BrokerError("This producer was closed.")
                self._halves.add(half)
            try:
                with native(self._link.library, parcel) as message, self._link.library.translated():
                    self._started_transactional().send_message_in_transaction(message, callback)
            finally:
                with self._lock:
                    self._halves.discard(half)

        half.begin(send, self.calls, guarded(half.held, statuses.UNKNOWN, "broker.local_execute_failed"))
        return half

    def close(self) -> None:
        """Leave open half messages to their check-back, stop answering others', shut down. Raise `BrokerError`.

        In this order: the native shutdown waits for callbacks that run.
        """
        with self._lock:
            self._closed = True
            halves = list(self._halves)
        for half in halves:
            half.leave()
        if self._desk is not None:
            self._desk.close()
        self.calls.close()
        with self._link.library.translated():
            for producer in (self._transactional, self._plain):
                if producer is not None:
                    producer.shutdown()

    def _started_plain(self) -> Any:
        # of another group: the broker asks any producer of a group about half messages, and this one can't answer;
        # a TransactionMQProducer on the other hand crashes the process at a plain send
        with self._starting:
            if self._plain is None:
                self._plain = self._start(self._link.library.client.Producer(f"{self._group}-plain"))
            return self._plain

    def _started_transactional(self) -> Any:
        with self._starting:
            if self._transactional is None:
                client = self._link.library.client
                check = guarded(self._checked, client.TransactionStatus.UNKNOWN, "broker.check_failed")
                with self._link.library.translated():
                    self._transactional = self._start(client.TransactionMQProducer(self._group, check))
            return self._transactional

    def _start(self, producer: Any) -> Any:
        with self._link.library.translated():
            producer.set_name_server_address(self._link.name_servers)
            producer.set_timeout(int(self._link.send_timeout * 1000))
            self._link.library.dll.SetProducerInstanceName(producer._handle, self._link.instance())  # noqa: SLF001
            producer.start()
        return producer

    def _checked(self, received: Any) -> Any:
        statuses = self._link.library.client.TransactionStatus
        if self._desk is None:
            return statuses.UNKNOWN
        parcel = read(received)
        envelope = parcel.envelope
        if envelope.primer:
            return statuses.ROLLBACK
        asked = HalfMessage(envelope.message_id, parcel.message, envelope.born_at, parcel.checks)
        return {
            CheckAnswer.COMMIT: statuses.COMMIT,
            CheckAnswer.ROLLBACK: statuses.ROLLBACK,
            _UNKNOWN: statuses.UNKNOWN,
        }[self._desk.ask(asked)]


def _ask(checker: Checker, half: HalfMessage) -> CheckAnswer:
    try:
        answer = checker(half)
    except Exception:  # noqa: BLE001 (a checker is foreign code; what it raises is an answer too)
        structlog.get_logger().exception("broker.check_failed", message_id=half.message_id)
        return _UNKNOWN
    return answer if isinstance(answer, CheckAnswer) else _UNKNOWN
