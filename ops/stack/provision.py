"""What must be on a RocketMQ before its clients start: topics with their kinds, consumer groups, a topic beside each.

- On RocketMQ 5.5.0 a consumer whose group does not exist gets nothing, whatever `autoCreateSubscriptionGroup` says:
  its proxy looks the group up when the consumer's settings arrive, and ends its stream with "group not found".
- `consumerProgress` of the admin tool, and RocketMQ's dashboard, ask for the route of `%RETRY%<group>`, which clients
  of the remoting protocol make. Without one the former fails, and the latter shows every group as quantity 0 and delay
  -1. Redeliveries of gRPC clients lie in `%RETRY%<group>_<topic>` all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common import registry
from halfmessage.mq.prefixed import prefixed
from halfmessage.mq.rocketmq_console import remoting
from halfmessage.mq.rocketmq_console.defaults import CLUSTER, QUEUES, Kind
from halfmessage.mq.rocketmq_console.lanes import Lanes
from halfmessage.mq.rocketmq_console.remoting import Address
from ops.errors import CommandFailed
from ops.stack.settings import GROUPS, TOPICS

_ANY_KIND = "MIXED"  # RocketMQ before 5.3 takes it for a topic's kind; newer ones refuse to make such a topic


@dataclass(frozen=True, slots=True)
class Supplies:
    """Topics with their kinds, and groups, as a broker calls them."""

    topics: Mapping[str, Kind]
    groups: tuple[str, ...]

    @classmethod
    def of_stack(cls) -> "Supplies":
        """Return what every stack has: those of a deployment without a prefix, and what tests and probes use."""
        return cls(TOPICS, GROUPS)

    @classmethod
    def of_deployment(cls, prefix: str = "") -> "Supplies":
        """Return what a deployment with that prefix needs."""
        topics = {prefixed(prefix, topic): TOPICS[topic] for topic in registry.TOPICS}
        groups = dict.fromkeys(group for _, group in registry.SUBSCRIPTIONS)
        return cls(topics, tuple(prefixed(prefix, group) for group in groups))

    @property
    def all_topics(self) -> Mapping[str, Kind]:
        """The topics, and that beside each group."""
        return {**self.topics, **{retries(group): Kind.NORMAL for group in self.groups}}


@dataclass(frozen=True, slots=True)
class Missing:
    """What a broker has not; `in_words` names it."""

    topics: Mapping[str, Kind]
    groups: tuple[str, ...]

    @property
    def in_words(self) -> list[str]:
        """Each, for people."""
        topics = [f"topic {topic} ({kind})" for topic, kind in self.topics.items()]
        return topics + [f"group {group}" for group in self.groups]


def retries(group: str) -> str:
    """Return the topic beside a group."""
    return f"%RETRY%{group}"


def missing(supplies: Supplies, broker: Address) -> Missing:
    """Return what a broker lacks of it. Raise `BrokerError`; `CommandFailed` for a topic of another kind."""
    there, groups = remoting.topics(broker), remoting.groups(broker)
    for topic, kind in supplies.topics.items():
        if there.get(topic, kind) not in {kind, _ANY_KIND}:
            raise CommandFailed(
                f"Topic {topic} is there and carries {there[topic] or 'no kind'}, which can't be changed; it must "
                f"carry {kind}: delete it (mqadmin deleteTopic), or choose a prefix."
            )
    return Missing(
        {topic: kind for topic, kind in supplies.all_topics.items() if topic not in there},
        tuple(group for group in supplies.groups if group not in groups),
    )


def make(supplies: Supplies, broker: Address) -> Missing:
    """Make what a broker lacks, and return it; what is there stays as it is. Raise as `missing`.

    Groups come last: who waits for one finds the rest there.
    """
    made = missing(supplies, broker)
    for topic, kind in made.topics.items():
        remoting.create_topic(broker, topic, kind, queues=QUEUES if topic in supplies.topics else 1)
    for group in made.groups:
        remoting.create_group(broker, group)
    return made


def remove(prefix: str, broker: Address, namesrv: Address) -> None:
    """Delete what a deployment with that prefix has, with all its messages; again: nothing. Raise `BrokerError`."""
    supplies = Supplies.of_deployment(prefix)
    others = {topic for lane in Lanes(prefix, registry.SUBSCRIPTIONS) for topic in (*lane.retries, lane.dead)}
    for topic in sorted(supplies.all_topics.keys() | others):
        remoting.delete_topic(broker, namesrv, topic, CLUSTER)
    for group in supplies.groups:
        remoting.delete_group(broker, group)
