"""What we need of a broker: the port that each adapter implements, in RocketMQ's words.

Source of the words and the rules: https://rocketmq.apache.org/docs/featureBehavior/04transactionmessage/
Times are integers: milliseconds since the epoch, UTC. Every method raises `BrokerError` when the broker can't do
it *for certain*; a send that raised may still have arrived, a send that returned is on disk.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Resolution(StrEnum):
    """How a half message ends."""

    COMMIT = "commit"
    ROLLBACK = "rollback"


class CheckAnswer(StrEnum):
    """What a checker answers when the broker asks how a half message ended; UNKNOWN = ask again."""

    COMMIT = "commit"
    ROLLBACK = "rollback"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What a handler says of one delivery."""

    ACK = "ack"
    RETRY = "retry"


class State(StrEnum):
    """Where a message is: of a message with several groups, the one that needs attention most."""

    HALF = "half"
    READY = "ready"
    DELAYED = "delayed"
    IN_FLIGHT = "in-flight"
    DEAD = "dead"
    PARKED = "parked"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Message:
    """What a producer sends. `keys` find it again later; `properties` travel with it."""

    topic: str
    body: bytes
    tag: str = ""
    keys: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


def nothing_to_keep() -> None:
    """Be the `Delivery.keep` of what no other consumer is given meanwhile."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a consumer gets it; `attempt` counts from 1.

    A handler calls `keep` between the steps of long work: it moves the invisible time on of everything that the
    handler got with it, so that no other consumer is given it meanwhile. Costs nothing if called often; raises nothing.
    """

    message_id: str
    message: Message
    attempt: int
    born_at: int
    keep: Callable[[], None] = field(default=nothing_to_keep, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class HalfMessage:
    """A half message, as its sender holds it and as a checker is asked about it.

    `checks` counts the check-backs so far, this one included; `handle` is the adapter's own.
    """

    message_id: str
    message: Message
    born_at: int
    checks: int = 0
    handle: object = None


Checker = Callable[[HalfMessage], CheckAnswer]
"""Runs on any live producer of the group. What it raises counts as UNKNOWN and is logged."""

Handler = Callable[[Sequence[Delivery]], Sequence[Verdict]]
"""Gets up to `batch` deliveries, answers each in the same order. What it raises is RETRY for all, and logged."""

Ready = Callable[[], bool]
"""Whether messages may be taken. Raises nothing."""

STANDBY_PAUSE = 0.25
"""Seconds until a consumer that is not ready is asked again."""


def always() -> bool:
    """Be `Ready`."""
    return True


class Producer(Protocol):
    """Sends messages in the name of a producer group."""

    def send(self, message: Message) -> str:
        """Send a normal message; return its id. Raise `BrokerError`."""

    def send_at(self, message: Message, deliver_at: int) -> str:
        """Send a message that becomes visible at `deliver_at` (ms since the epoch); return its id."""

    def begin(self, message: Message) -> HalfMessage:
        """Send a half message: stored, invisible until it is resolved. Raise `BrokerError`."""

    def resolve(self, half: HalfMessage, resolution: Resolution) -> None:
        """Commit or roll back a half message. Doing it again, or after a check-back did it, changes nothing."""

    def close(self) -> None:
        """Stop answering check-backs, give everything back."""


class Consumer(Protocol):
    """Runs a handler on its own threads until closed."""

    def close(self) -> None:
        """Take no more messages, wait for the handlers in flight, give unhandled deliveries back."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check-back that took place (`answer` None: no process was there to answer).

    `pid`: the process that answered. RocketMQ does not tell it.
    """

    at: int
    answer: CheckAnswer | None
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class GroupView:
    """How far one consumer group is with a message.

    `pid`: the process that was given it last. RocketMQ does not tell it.
    """

    group: str
    state: State
    attempts: int
    visible_at: int
    done_at: int | None
    pid: int | None = None


Cursor = tuple[int, str]
"""Where a page of messages ended: the time of birth (ms since the epoch) and the id of its last one."""


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as a console shows it. None = not known (yet); times in ms since the epoch.

    `next_check_at`: when a half message is checked next. RocketMQ does not tell it.
    """

    message_id: str
    message: Message
    state: State
    producer_group: str
    born_at: int
    deliver_at: int | None
    resolution: Resolution | None
    resolved_at: int | None
    checks: tuple[Check, ...]
    check_count: int
    groups: tuple[GroupView, ...]
    next_check_at: int | None = None

    @property
    def cursor(self) -> Cursor:
        """What `Console.find` takes as `before`, to go on after this one."""
        return self.born_at, self.message_id


@dataclass(frozen=True, slots=True)
class BrokerStats:
    """What an operator watches; ages in seconds."""

    half: int
    oldest_half_age: float
    parked: int
    dead: int
    pending: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What one consumer group has before it on one topic.

    `waiting`: due, and given to no consumer. `in_flight`: given and not acknowledged, or put off until a retry.
    `oldest_age`: seconds since the oldest of both could first be had, on RocketMQ since it was last stored.
    """

    group: str
    topic: str
    waiting: int
    in_flight: int
    oldest_age: float


class Console(Protocol):
    """Looks at messages, and sends on those that lie still."""

    def find(
        self,
        *,
        topic: str | None = None,
        key: str | None = None,
        message_id: str | None = None,
        state: State | None = None,
        group: str | None = None,
        born_from: int | None = None,
        born_until: int | None = None,
        before: Cursor | None = None,
        limit: int = 100,
    ) -> list[MessageView]:
        """Return matching messages, newest first.

        `group`: given to that consumer group, or due to it. Born from one time (ms since the epoch) to before another.
        `before`: older than where a page ended (`MessageView.cursor`), whether that message is still there or not.
        """

    def stats(self) -> BrokerStats:
        """Count what needs attention."""

    def backlog(self) -> list[Backlog]:
        """Return what each group that ever consumed has before it, by topic and group."""

    def resend(self, message_id: str) -> None:
        """Give a dead message to its group again, attempts counted anew. Raise `MessageNotFound`."""

    def resume(self, message_id: str) -> None:
        """Have a parked half message checked again, counted anew. Raise `MessageNotFound`."""

    def check_now(self, message_id: str) -> None:
        """Have an open half message checked back now and not when it is due, its checks counted anew.

        Nothing else is done: who answers, and what becomes of it, is as in any check-back. Raise `MessageNotFound`, or
        `ConsoleUnavailable` where the broker asks at times of its own.
        """

    def forget(self, group: str) -> None:
        """Keep nothing any more for a consumer group that is gone: what it was due, and that it ever subscribed.

        Raise `GroupNotFound`, `GroupInUse`, or `ConsoleUnavailable` where the broker keeps nothing for its sake.
        """


class Broker(Protocol):
    """One connection to a broker; owns all producers and consumers made from it."""

    def producer(self, group: str, checker: Checker | None = None, *, topics: Iterable[str] = ()) -> Producer:
        """Return a producer of `group`; with a checker it answers the group's check-backs.

        `topics`: what it will begin half messages on. RocketMQ 5 asks by topic, so after a restart it would not ask
        this process before it has sent something there; the others need not know.
        """

    def consumer(
        self,
        group: str,
        topic: str,
        handler: Handler,
        *,
        threads: int = 1,
        batch: int = 32,
        ready: Ready = always,
    ) -> Consumer:
        """Subscribe `group` to `topic` and run `handler`. A new group starts from the oldest message kept.

        While `ready` says no, nothing is handed to the handler; it is asked again within `STANDBY_PAUSE`.
        """

    def console(self) -> Console:
        """Return the console of this broker. Raise `ConsoleUnavailable` where its client can't look at messages."""

    def ping(self, *topics: str) -> None:
        """Raise `BrokerError` unless the broker answers, can store, takes messages for `topics`, and gives ours."""

    def close(self) -> None:
        """Close consumers, then producers, then the connection."""


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """What may be set of a broker; seconds unless said otherwise. Defaults are the embedded broker's."""

    check_first_after: float = 5.0
    check_interval: float = 5.0
    check_max: int = 15
    invisible_for: float = 5.0
    retry_first_after: float = 1.0
    retry_longest: float = 600.0
    max_deliveries: int = 16
    retention: float = 72 * 3600.0
    send_timeout: float = 3.0
