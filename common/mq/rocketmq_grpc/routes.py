"""Which queues a topic has, asked of RocketMQ."""

from concurrent.futures import Future
from typing import Any

from rocketmq.grpc_protocol import Code, QueryRouteRequest

from common.errors import BrokerError
from common.mq.rocketmq_grpc import faults


def find(client: Any, topic: str, timeout: float) -> Any:
    """Return a topic's route, from the client's memory if it is there. Raise `BrokerError`."""
    try:
        with faults.translated():
            return client.route_manager.retrieve_topic_route_data(topic)
    except BrokerError:  # the client keeps the reason for itself
        query(client, topic, timeout)
        raise


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


def query(client: Any, topic: str, timeout: float) -> None:
    """Ask where a topic is. Raise `BrokerError`, `Refused` if there is none."""
    configuration = client.client_configuration
    request = QueryRouteRequest()
    request.topic.name, request.topic.resource_namespace = topic, configuration.namespace
    request.endpoints.CopyFrom(configuration.rpc_endpoints.endpoints)
    with faults.translated():
        future = client.rpc_client.query_topic_route_async(
            configuration.rpc_endpoints, request, metadata=client.sign(), timeout=timeout
        )
        faults.check(future.result(timeout + 1).status)
