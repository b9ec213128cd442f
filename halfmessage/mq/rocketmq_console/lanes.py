"""Where the messages of one deployment lie on its RocketMQ: a message moves through several topics in its life."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from halfmessage.mq.prefixed import prefixed
from halfmessage.mq.rocketmq_console.message import StoredMessage

# TransactionalMessageUtil.java and TimerMessageStore.java of RocketMQ 5.2.0
HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC"
RESOLVED_TOPIC = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
PARKED_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC"
TIMER_TOPIC = "rmq_sys_wheel_timer"
CHECKING_GROUP = "CID_RMQ_SYS_TRANS"


class Spot(Enum):
    """What it means that a message lies somewhere."""

    HALF = auto()
    PARKED = auto()
    TIMER = auto()
    VISIBLE = auto()
    RETRY = auto()
    DEAD = auto()


_SHARED = {HALF_TOPIC: Spot.HALF, PARKED_TOPIC: Spot.PARKED, TIMER_TOPIC: Spot.TIMER}


@dataclass(frozen=True, slots=True)
class Lane:
    """One topic with a group that consumes it; `topic` and `group` as we call them, the others as RocketMQ does."""

    topic: str
    group: str
    real_topic: str
    real_group: str

    @property
    def retries(self) -> tuple[str, ...]:
        """Where redeliveries lie: those of gRPC clients (KeyBuilder.buildPopRetryTopic), and of remoting ones."""
        return f"%RETRY%{self.real_group}_{self.real_topic}", f"%RETRY%{self.real_group}"

    @property
    def dead(self) -> str:
        """Where its dead letters lie."""
        return f"%DLQ%{self.real_group}"

    @property
    def consumed(self) -> tuple[str, ...]:
        """What the group consumes."""
        return self.real_topic, *self.retries

    @property
    def shown(self) -> tuple[str, ...]:
        """Where what was given to the group lies, or will be, or died with it: it is no half message any more."""
        return *self.consumed, self.dead

    def has(self, message: StoredMessage) -> bool:
        """Whether a copy is one of the group's: copies of other groups are not its."""
        return message.topic in self.shown


@dataclass(frozen=True, slots=True)
class Lanes:
    """All lanes of a deployment; `prefix` begins the names of its topics and groups.

    `by_topic`: whose messages lie in a topic of RocketMQ's (all lanes of one topic of ours), and what that means.
    """

    prefix: str
    subscriptions: tuple[tuple[str, str], ...]
    by_topic: Mapping[str, tuple[tuple[Lane, ...], Spot]] = field(init=False)

    def __post_init__(self) -> None:
        """Note what lies in which topic."""
        found = {}
        for lane in self:
            siblings = tuple(other for other in self if other.topic == lane.topic)
            found[lane.real_topic] = (siblings, Spot.VISIBLE)
            found[lane.dead] = (siblings, Spot.DEAD)
            found |= dict.fromkeys(lane.retries, (siblings, Spot.RETRY))
        object.__setattr__(self, "by_topic", found)

    def __iter__(self) -> Iterator[Lane]:
        """Yield each."""
        for topic, group in self.subscriptions:
            yield Lane(topic, group, prefixed(self.prefix, topic), prefixed(self.prefix, group))

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that a message of ours may lie in."""
        return (*_SHARED, *self.by_topic)

    @staticmethod
    def topics_of(lanes: Sequence[Lane]) -> list[str]:
        """Return every topic that a message of some lanes of one topic may lie in."""
        return list(dict.fromkeys((*_SHARED, *(topic for lane in lanes for topic in lane.shown))))

    def of(self, message: StoredMessage) -> tuple[tuple[Lane, ...], Spot] | None:
        """Return the lanes of a message's topic and what it means that it lies there; None: not ours."""
        if message.topic in _SHARED:
            found = self.by_topic.get(message.real_topic)
            return found and (found[0], _SHARED[message.topic])
        return self.by_topic.get(message.topic)
