"""A program on RocketMQ's gRPC client for Python alone, of whatever version PYTHONPATH leads to: none of our code.

    python other_client.py WHAT ADDRESS TOPIC [MORE]

It says a line for each thing that it sent, was asked or received, and runs until its stdin ends; `half` dies at once.
"""

from __future__ import annotations  # of versions whose names are no classes

import os
import sys
import threading
import time

from rocketmq import (
    ClientConfiguration,
    Credentials,
    FilterExpression,
    Message,
    Producer,
    SimpleConsumer,
    TransactionChecker,
    TransactionResolution,
)


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def message(topic: str, body: str, **properties: str) -> Message:
    made = Message()
    made.topic, made.body, made.keys = topic, body.encode(), properties.get("tx_id", "key")
    for name, value in properties.items():
        made.add_property(name, value)
    return made


class Commit(TransactionChecker):
    def check(self, asked: Message) -> TransactionResolution:
        say("asked", asked.body.decode(), asked.properties.get("tx_id"))
        return TransactionResolution.COMMIT


def half(configuration: ClientConfiguration, topic: str, tx_id: str) -> None:
    """Leave a half message behind, as a process does that is killed."""
    producer = Producer(configuration, (topic,), checker=Commit())
    producer.startup()
    producer.send(message(topic, "theirs", tx_id=tx_id, deliver_if="aborted"), producer.begin_transaction())
    say("sent")
    os._exit(9)


def answer(configuration: ClientConfiguration, topic: str) -> None:
    """Commit each half message that it is asked about."""
    producer = Producer(configuration, (topic,), checker=Commit())
    producer.startup()
    say("ready")
    sys.stdin.read()


def delay(configuration: ClientConfiguration, topic: str, seconds: str) -> None:
    """Send a delayed message."""
    producer = Producer(configuration, (topic,))
    producer.startup()
    made = message(topic, "theirs, later")
    made.delivery_timestamp = int(time.time()) + int(seconds)
    producer.send(made)
    say("sent", made.delivery_timestamp)
    sys.stdin.read()


def consume(configuration: ClientConfiguration, topic: str, group: str) -> None:
    """Receive and acknowledge as a member of a group."""
    consumer = SimpleConsumer(configuration, group, {topic: FilterExpression()}, await_duration=1)
    consumer.startup()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    say("ready")
    while not ended.is_set():
        try:
            received = consumer.receive(4, 10)
        except Exception as error:  # noqa: BLE001 - it raises when nothing came in time
            if "40401" not in str(error) and "no new message" not in str(error).lower():
                sys.stderr.write(f"{error!r}\n")
            continue
        for one in received or []:
            consumer.ack(one)
            say("received", one.body.decode())


if __name__ == "__main__":
    what, address, *rest = sys.argv[1:]
    {"half": half, "answer": answer, "delay": delay, "consume": consume}[what](
        ClientConfiguration(address, Credentials()), *rest
    )
    os._exit(0)  # a shutdown has nothing to do here, and older clients take their time over it
