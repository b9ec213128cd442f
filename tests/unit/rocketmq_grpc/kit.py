"""A stand-in for RocketMQ's client, as far as the adapter sees it: what is asked is kept, what it answers is told."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from rocketmq.grpc_protocol import Code, MessageType

from halfmessage.errors import BrokerError

OK = SimpleNamespace(code=Code.OK, message="")


def future(value: Any = None, error: BaseException | None = None) -> "Future[Any]":
    """Return one that is done."""
    done: Future[Any] = Future()
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(value)
    return done


class Rpc:
    """Answers every call alike, by its name; `told` holds what each was asked, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.answers: dict[str, Callable[[], Any]] = {}
        self.telemetry_stream: Callable[..., Any]
        self.channels: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.endswith("_async"):
            raise AttributeError(name)

        def call(_endpoints: Any, request: Any, *_: Any, **__: Any) -> "Future[Any]":
            self.told.append((name.removesuffix("_async"), request))
            try:
                return future(self.answers.get(name, self.answer)())
            except BaseException as error:  # noqa: BLE001 - it is what the call is to end with
                return future(error=error)

        return call

    def answer(self) -> Any:
        entry = SimpleNamespace(message_id="m1", transaction_id="t1", status=OK)
        return SimpleNamespace(status=OK, entries=[entry])

    def asked(self, name: str) -> list[Any]:
        return [request for told, request in self.told if told == name]


class FakeLines:
    """Stands for `Lines`: its stub asks the client's `Rpc`, by the names of the client's own calls."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc, self.renewed = rpc, 0

    def to(self, endpoints: Any) -> Any:
        def called(name: str) -> Callable[..., Any]:
            call = getattr(self._rpc, name)
            return lambda request, **_: call(endpoints, request).result()

        return SimpleNamespace(SendMessage=called("send_message_async"), EndTransaction=called("end_transaction_async"))

    def renew(self, _endpoints: Any) -> None:
        self.renewed += 1


class Client:
    """A running client with one queue of one broker, for messages of any kind."""

    def __init__(self, *kinds: int) -> None:
        self.rpc_client, self.client_id, self.client_type = Rpc(), "id", 1
        self.lines = FakeLines(self.rpc_client)
        self.topics = {"t"}
        self.forgotten: list[str] = []  # topics whose routes were to be asked anew
        self.closed_until = 0  # so many routes forgotten
        self.started = self.stopped = 0
        self.client_configuration = SimpleNamespace(credentials=SimpleNamespace(ak="", sk=""), namespace="")
        self.kinds = kinds or (MessageType.NORMAL, MessageType.DELAY, MessageType.TRANSACTION)
        self.route_manager = SimpleNamespace(
            get_all_endpoints=lambda: {"a": "endpoints"},
            retrieve_topic_route_data=self.route_of,
            remove_topic_route_data=self.forgotten.append,
        )
        self.stream_is_over = False
        self.last_words = ""  # with which RocketMQ ended the stream
        self.streams_opened_on: list[str] = []  # the threads
        self.deaf_for = 0  # so many looks
        call = SimpleNamespace(
            _RpcStreamStreamCall__stream_stream_call=SimpleNamespace(
                done=lambda: self.stream_is_over, details=self._details
            ),
            stream_write=self._details,
        )
        self.rpc_client.channels["endpoints"] = SimpleNamespace(telemetry_stream_stream_call=call)
        self.rpc_client.telemetry_stream = self._open_stream

    def listen(self, _endpoints: Any, _within: float) -> None:
        self.deaf_for -= 1
        if self.deaf_for >= 0:
            raise BrokerError("no answer")

    async def _details(self, *_: Any) -> str:
        return self.last_words

    def _open_stream(self, endpoints: str, *_: Any, **__: Any) -> Any:
        self.streams_opened_on.append(threading.current_thread().name)
        return self.rpc_client.channels[endpoints]

    def sync_setting_req(self, _endpoints: Any) -> str:
        return "settings"

    def startup(self) -> None:
        self.started += 1

    def shutdown(self) -> None:
        self.stopped += 1

    def sign(self) -> list[tuple[str, str]]:
        return []

    def queue_of(self, topic: str) -> Any:
        return SimpleNamespace(
            topic=topic,
            endpoints="endpoints",
            accept_message_types=self.kinds,
            is_writable=lambda: len(self.forgotten) >= self.closed_until,
            is_master_broker=lambda: True,
        )

    def route_of(self, topic: str) -> Any:
        return SimpleNamespace(topic=topic, message_queues=[self.queue_of(topic)])


class Held:
    """A session that always has its client; `suspected` counts how often it was doubted."""

    def __init__(self, client: Client) -> None:
        self._client, self.suspected, self.renewed = client, 0, 0
        self.refusal = ""

    def client(self, _within: float) -> Client:
        return self._client

    def anew(self, old: Client, _within: float) -> Client:
        self.renewed += 1
        old.topics = old.topics | {"new"}
        return old

    def suspect(self) -> None:
        self.suspected += 1

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass
