"""Sends the messages that a filled series would have sent."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from common.registry import ROLLBACK_TOPIC
from halfmessage.mq.port import CheckAnswer, HalfMessage, Message, Producer
from halfmessage.participant.event import OrderEvent
from lab.bench.fill import Series
from ops.deployment import Deployment

_GROUP = "bench"
_THREADS = 16  # a send waits for the broker's disk: many wait together
_AT_ONCE = 512  # sends handed to the threads before the first is asked how it went


def events(series: Series, number: int, topic: str) -> Iterator[Message]:
    """Return a message for each transaction of the orders 0 to `number` - 1."""
    for begin in range(0, number, series.group):
        ids = tuple(map(series.order_id, range(begin, min(begin + series.group, number))))
        yield OrderEvent(tx_id=series.tx_id(begin), order_ids=ids).to_message(topic)


def send_all(
    deployment: Deployment, messages: Iterator[Message], *, deliver_at: int | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> int:  # fmt: skip
    """Send messages, at once or for a time (ms since the epoch); return how many. Raise `BrokerError`."""
    broker = deployment.open_broker()
    sent = 0
    try:
        producer = broker.producer(_GROUP, _never_asked, topics=[ROLLBACK_TOPIC])
        with ThreadPoolExecutor(_THREADS) as pool:
            while some := list(islice(messages, _AT_ONCE)):
                _send(pool, producer, some, deliver_at)
                sent += len(some)
                tell(sent)
    finally:
        broker.close()
    return sent


def _send(pool: ThreadPoolExecutor, producer: Producer, messages: Sequence[Message], deliver_at: int | None) -> None:
    def send(message: Message) -> None:
        if deliver_at is None:
            producer.send(message)
        else:
            producer.send_at(message, deliver_at)

    for _ in pool.map(send, messages):
        pass  # it raises what a thread raised


def _never_asked(_: HalfMessage) -> CheckAnswer:
    return CheckAnswer.UNKNOWN
