#!/usr/bin/env bash
# RocketMQ 5.5.0: a group that the broker would make by itself is not made, and its consumer gets nothing for good.
#
# autoCreateSubscriptionGroup is true by default: a consumer of a new group makes that group, and with 5.4.0 we saw it do so for
# this client too. In 5.5.0 the proxy (local mode) looks the group up when its consumer's settings arrive, does not find it and
# ends the stream, which rocketmq-python-client 5.1.2 tells its own log file only: startup() returns. Each receive() is then an
# internal error, 50001, about settings that are null; it says nothing of a group. A group that was made beforehand
# (mqadmin updateSubGroup) works, with the same client at the same broker.
#
# Seen: group "made" gets the message; the consumer of group "fresh" starts, and all of some 40 receives within 40 s fail with 50001.
# Fails if that changes. Takes some 2 minutes and 100 MB of downloads.
. "$(dirname -- "${BASH_SOURCE[0]}")/_rocketmq.sh"
client
fetch 5.5.0
start 5.5.0
topic 5.5.0 paid NORMAL
for _ in $(seq 30); do
    admin 5.5.0 updateSubGroup -c DefaultCluster -g made | grep -q success && break
    sleep 1
done
python "$grpc" <<'PY'
import sys
import time
from rocketmq import ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer


def configuration():
    return ClientConfiguration(f"127.0.0.1:{sys.argv[1]}", Credentials(), request_timeout=20)


def received(group):
    consumer = SimpleConsumer(configuration(), group, {"paid": FilterExpression()}, await_duration=5)
    consumer.startup()
    told, until = [], time.monotonic() + 40
    while time.monotonic() < until:
        try:
            if messages := consumer.receive(1, 10):
                told = [messages[0].body.decode()]
                break
        except Exception as error:
            told.append(f"{type(error).__name__}: {error}")
        time.sleep(1)
    consumer.shutdown()
    return told


producer = Producer(configuration(), ["paid"])
producer.startup()
message = Message()
message.topic, message.body = "paid", b"order-1"
producer.send(message)
producer.shutdown()
made, fresh = received("made"), received("fresh")
print(f"group made beforehand: {made}")
print(f"group that is new: {len(fresh)} times in 40 s, at last {fresh[-1] if fresh else None!r}")
if made != ["order-1"] or not fresh or not all("50001" in one for one in fresh):
    raise SystemExit("This has changed.")
PY
