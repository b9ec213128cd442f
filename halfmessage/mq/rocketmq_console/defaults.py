"""What topics and groups of RocketMQ are made with, and the name of a broker without one of its own."""

from enum import StrEnum

CLUSTER = "DefaultCluster"
QUEUES = 8  # of a topic
MAX_REDELIVERIES = 16  # then %DLQ%<group>; RocketMQ's default


class Kind(StrEnum):
    """What a topic carries (its `message.type`): the gRPC client and the proxy refuse any other message."""

    NORMAL = "NORMAL"
    DELAY = "DELAY"
    TRANSACTION = "TRANSACTION"
