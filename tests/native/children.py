"""What needs a process of its own, run as `python -m tests.native.children WHAT URL`; says on stdout how it went."""

import os
import sys
from collections.abc import Sequence

from halfmessage.errors import BrokerError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, CheckAnswer, Delivery, Message, Resolution, Verdict

MESSAGE = Message("order_rollback", b"{}")


def ignore(deliveries: Sequence[Delivery]) -> list[Verdict]:
    return [Verdict.ACK] * len(deliveries)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def leave(url: str) -> None:
    """End without closing anything, with a half message and a consumer open."""
    broker = open_broker(url, BrokerOptions(send_timeout=1.0))
    producer = broker.producer("order", lambda _: CheckAnswer.UNKNOWN)
    producer.send(MESSAGE)
    producer.begin(MESSAGE)
    broker.consumer("stock", "order_timeout", ignore)
    say("left")


def fork(url: str) -> None:
    """Send before a fork, in the child and in the parent after it."""
    broker = open_broker(url, BrokerOptions(send_timeout=2.0))
    producer = broker.producer("order", lambda _: CheckAnswer.UNKNOWN)
    broker.consumer("stock", "order_timeout", ignore)
    producer.send(MESSAGE)
    half = producer.begin(MESSAGE)
    child = os.fork()
    producer.send(MESSAGE)
    if child == 0:
        try:
            producer.resolve(half, Resolution.COMMIT)
        except BrokerError as error:
            say(error.detail)
        producer.resolve(producer.begin(MESSAGE), Resolution.ROLLBACK)
        say("child sent")
        sys.exit(0)  # with all that belongs to its parent open
    _, status = os.waitpid(child, 0)
    producer.resolve(half, Resolution.COMMIT)
    broker.close()
    say("parent sent, child", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    {"leave": leave, "fork": fork}[sys.argv[1]](sys.argv[2])
