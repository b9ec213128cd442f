"""Which queues a topic has, asked of RocketMQ."""

import random
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from rocketmq.grpc_protocol import Code, Permission, QueryRouteRequest

from halfmessage.errors import BrokerError
from halfmessage.mq.rocketmq_grpc import faults


def find(client: Any, topic: str, timeout: float) -> Any:
    """Return a topic's route, from the client's memory if it is there. Raise `BrokerError`."""
    try:
        with faults.translated():
            return client.route_manager.retrieve_topic_route_data(topic)
    except BrokerError:  # the client keeps the reason for itself
        query(client, topic, timeout)
        raise


class Routes:
    """The routes to send by. The client asks for them every 30 s; a failure does at once, once a second for a topic."""

    _EVERY = 1.0  # seconds

    def __init__(self, timeout: float) -> None:
        """Give up after `timeout` seconds."""
        self._timeout = timeout
        self._asked_at: dict[str, float] = {}

    def queue(self, client: Any, topic: str) -> Any:
        """Return a queue that takes messages. Raise `BrokerError` where there is none, as RocketMQ says now."""
        route = find(client, topic, self._timeout)
        writable = _writable(route.message_queues)
        if not writable and self.forget(client, topic):
            writable = _writable(find(client, topic, self._timeout).message_queues)
        if not writable:
            raise BrokerError(_closed(topic))
        return random.choice(writable)  # noqa: S311 # nosec B311 - guessing it gains nothing

    def forget(self, client: Any, topic: str) -> bool:
        """Have RocketMQ asked anew, unless it was within the last second; tell whether it will be."""
        now = time.monotonic()
        if now - self._asked_at.get(topic, float("-inf")) < self._EVERY:
            return False
        self._asked_at[topic] = now
        client.route_manager.remove_topic_route_data(topic)
        return True


def _writable(queues: Iterable[Any]) -> list[Any]:
    return [queue for queue in queues if queue.is_writable() and queue.is_master_broker()]


def _closed(topic: str) -> str:
    return f"Topic {topic} has no queue that takes messages; check the permission of its brokers: it is tried again."


def ask_writable(client: Any, topic: str, timeout: float) -> None:
    """Raise `BrokerError` unless RocketMQ says now that a topic has a queue that takes messages."""
    writable = {Permission.WRITE, Permission.READ_WRITE}
    if not any(queue.permission in writable for queue in query(client, topic, timeout).message_queues):
        raise BrokerError(_closed(topic))


def pin(client: Any) -> None:
    """Have a client that is not started yet reach every queue at the address where it asks for routes.

    RocketMQ's client offers no setting for that, so the answers are changed on their way to it.
    """
    ask_rocketmq = client.rpc_client.query_topic_route_async
    here = client.client_configuration.rpc_endpoints.endpoints

    def asked(*arguments: Any, **named: Any) -> "Future[Any]":
        pinned: Future[Any] = Future()

        def answered(coming: "Future[Any]") -> None:
            if coming.cancelled():
                pinned.cancel()
            elif (error := coming.exception()) is not None:
                pinned.set_exception(error)
            else:
                route = coming.result()
                for queue in route.message_queues:
                    queue.broker.endpoints.CopyFrom(here)
                pinned.set_result(route)

        ask_rocketmq(*arguments, **named).add_done_callback(answered)
        return pinned

    client.rpc_client.query_topic_route_async = asked


def ask(client: Any, topic: str, timeout: float) -> None:
    """Raise `BrokerError` unless RocketMQ answers, be it that there is no such topic."""
    try:
        query(client, topic, timeout)
    except faults.Refused as error:
        if error.code != Code.TOPIC_NOT_FOUND:
            raise


def query(client: Any, topic: str, timeout: float) -> Any:
    """Ask where a topic is; return RocketMQ's answer. Raise `BrokerError`, `Refused` if there is none."""
    configuration = client.client_configuration
    request = QueryRouteRequest()
    request.topic.name, request.topic.resource_namespace = topic, configuration.namespace
    request.endpoints.CopyFrom(configuration.rpc_endpoints.endpoints)
    with faults.translated():
        future = client.rpc_client.query_topic_route_async(
            configuration.rpc_endpoints, request, metadata=client.sign(), timeout=timeout
        )
        answer = future.result(timeout + 1)
        faults.check(answer.status)
        return answer
