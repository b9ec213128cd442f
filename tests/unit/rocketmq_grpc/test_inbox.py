"""Settling what was received: acknowledged together, put off with growing delay, buried after the last time."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rocketmq.grpc_protocol", reason="the gRPC client is an extra: .[rocketmq]")

from rocketmq.grpc_protocol import Code

from halfmessage.errors import BrokerError
from halfmessage.mq.port import BrokerOptions, Message, Verdict
from halfmessage.mq.rocketmq_grpc.inbox import Batch, Inbox
from halfmessage.mq.rocketmq_grpc.place import Place
from halfmessage.mq.rocketmq_grpc.wire import Received
from tests.unit.rocketmq_grpc.kit import OK, Client, future

OPTIONS = BrokerOptions(retry_first_after=0.2, retry_longest=1.0, max_deliveries=5, invisible_for=0.5)


def received(number: int, attempt: int = 1) -> Received:
    return Received(f"m{number}", Message("t", b"x"), 1, attempt, f"receipt-{number}", {}, f"raw-{number}")


def settle(client: Client, *pairs: tuple[Received, Verdict]) -> None:
    inbox = Inbox(Place("127.0.0.1", 1, min_invisible=1.0), OPTIONS, "stock", "t", 100)
    inbox.settle(client, "endpoints", [one for one, _ in pairs], [verdict for _, verdict in pairs])


def test_what_was_handled_is_acknowledged_in_one_call() -> None:
    """By the ids and receipts it came with, whatever id its sender knows."""
    client = Client()
    settle(client, (received(1), Verdict.ACK), (received(2, 9), Verdict.RETRY), (received(3), Verdict.ACK))
    (ack,) = client.rpc_client.asked("ack_message")
    assert [(e.message_id, e.receipt_handle) for e in ack.entries] == [("raw-1", "receipt-1"), ("raw-3", "receipt-3")]
    assert (ack.group.name, ack.topic.name) == ("stock", "t")


@pytest.mark.parametrize(("attempt", "delay"), [(1, 200), (2, 400), (3, 800), (4, 1000)])
def test_a_retry_is_put_off_for_longer_each_time(attempt: int, delay: int) -> None:
    """Doubled up to the longest."""
    client = Client()
    settle(client, (received(1, attempt), Verdict.RETRY))
    (put_off,) = client.rpc_client.asked("change_invisible_duration")
    assert put_off.invisible_duration.ToMilliseconds() == delay
    assert client.rpc_client.asked("ack_message") == []


@pytest.mark.parametrize("attempt", [5, 6])
def test_after_the_last_delivery_it_is_buried(attempt: int) -> None:
    """In the group's dead-letter queue, not dropped."""
    client = Client()
    settle(client, (received(1, attempt), Verdict.RETRY))
    (buried,) = client.rpc_client.asked("forward_message_to_dead_letter_queue")
    assert (buried.message_id, buried.delivery_attempt, buried.max_delivery_attempts) == ("raw-1", attempt, 5)


def test_what_can_not_be_read_is_buried_at_once() -> None:
    """It is as unreadable the next time."""
    client = Client()
    settle(client, (replace(received(1), damage="no gzip"), Verdict.RETRY), (received(2), Verdict.RETRY))
    (buried,) = client.rpc_client.asked("forward_message_to_dead_letter_queue")
    (put_off,) = client.rpc_client.asked("change_invisible_duration")
    assert (buried.message_id, put_off.message_id) == ("raw-1", "raw-2")


def test_too_late_is_no_error() -> None:
    """Its invisible time was over: it comes again, to be handled again."""
    client = Client()
    entry = SimpleNamespace(status=SimpleNamespace(code=Code.INVALID_RECEIPT_HANDLE, message=""))
    client.rpc_client.answers["ack_message_async"] = lambda: SimpleNamespace(status=OK, entries=[entry])
    settle(client, (received(1), Verdict.ACK))


def test_other_failures_are_errors() -> None:
    """Of one entry, and of the call; what was not told comes again."""
    client = Client()
    entry = SimpleNamespace(status=SimpleNamespace(code=Code.FORBIDDEN, message=""))
    client.rpc_client.answers["ack_message_async"] = lambda: SimpleNamespace(status=OK, entries=[entry])
    with pytest.raises(BrokerError, match="access control"):
        settle(client, (received(1), Verdict.ACK))
    inbox = Inbox(Place("127.0.0.1", 1), OPTIONS, "stock", "t", 1)
    with pytest.raises(BrokerError, match="in time"):
        inbox.got(future(error=TimeoutError()))
    batch = Batch("endpoints", [])
    assert inbox.got(future(batch)) is batch


def test_extending_begins_the_invisible_time_anew() -> None:
    """Each message has a new receipt then; one that could not be told keeps the one that it has."""
    client = Client()
    answers = iter(
        [SimpleNamespace(status=OK, receipt_handle="new-1"), None, SimpleNamespace(status=OK, receipt_handle="")]
    )

    def answer() -> Any:
        found = next(answers)
        if found is None:
            raise TimeoutError
        return found

    client.rpc_client.answers["change_invisible_duration_async"] = answer
    inbox = Inbox(Place("127.0.0.1", 1, min_invisible=1.0), OPTIONS, "stock", "t", 100)
    extended = inbox.extend(client, "endpoints", [received(1), received(2), received(3)])
    assert [one.receipt for one in extended] == ["new-1", "receipt-2", "receipt-3"]
    asked = client.rpc_client.asked("change_invisible_duration")
    assert [(one.message_id, one.receipt_handle) for one in asked] == [(f"raw-{n}", f"receipt-{n}") for n in (1, 2, 3)]
    assert {one.invisible_duration.ToMilliseconds() for one in asked} == {1000}


def test_one_receive_for_each_broker() -> None:
    """Of queues that can be read, one of each master: a receive has the messages of all queues of its broker."""
    client = Client()
    inbox = Inbox(Place("127.0.0.1", 1), OPTIONS, "stock", "t", 1)
    queues = [Queue("a.t.0"), Queue("a.t.1"), Queue("b.t.0"), Queue("c.t.0", master=False), Queue("d.t.0", reads=False)]
    client.route_manager.retrieve_topic_route_data = lambda _: SimpleNamespace(message_queues=queues)
    assert sorted(inbox.brokers(client)) == ["a", "b"]


def test_a_topic_that_can_not_be_read_is_asked_about_anew() -> None:
    """A consumer whose topic lost its queues says so, and finds those that it gets."""
    client = Client()
    inbox = Inbox(Place("127.0.0.1", 1), OPTIONS, "stock", "t", 1)
    client.route_manager.retrieve_topic_route_data = lambda _: SimpleNamespace(message_queues=[])
    with pytest.raises(BrokerError, match="no queue that can be read"):
        inbox.brokers(client)
    assert client.forgotten == ["t"]


class Queue:
    def __init__(self, name: str, *, master: bool = True, reads: bool = True) -> None:
        self._name, self._master, self._reads = name, master, reads

    def __str__(self) -> str:
        return self._name

    def is_readable(self) -> bool:
        return self._reads

    def is_master_broker(self) -> Any:
        return self._master
