"""A message as a console shows it, from all places where it lies on RocketMQ."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from halfmessage.mq.port import GroupView, Message, MessageView, Resolution, State
from halfmessage.mq.rocketmq_console.lanes import Lane, Spot
from halfmessage.mq.rocketmq_console.message import StoredMessage
from halfmessage.mq.rocketmq_console.progress import Consumption, OpenHalves
from halfmessage.mq.rocketmq_grpc.names import BORN_AT, DELIVER_AT, EMPTY, FIRST_ID, GROUP, ONWARD, PLAIN

_NOT_OURS = re.compile(r"__.*|orders\..*|[A-Z0-9_]+")  # RocketMQ's own (MessageConst.java), and the adapter's
_ATTENTION = (State.DEAD, State.READY, State.DONE)  # of several groups' states, the message's is the first of them


def identity(message: StoredMessage) -> str:
    """Return the id that the sender of a message got."""
    return message.properties.get(FIRST_ID, message.message_id)


def age(message: StoredMessage) -> tuple[int, str]:
    """Return what sorts messages by their birth, as `view` tells it."""
    return int(message.properties.get(BORN_AT) or message.born_at or 0), identity(message)


def at(message: StoredMessage) -> str:
    """Return where a message lies, as the one that goes on for it tells."""
    return f"{message.topic}:{message.queue}:{message.offset}"


@dataclass(frozen=True, slots=True)
class Copies:
    """Every copy of one message, by where it lies, each list in the order of storing; `lanes`: those of its topic."""

    lanes: tuple[Lane, ...]
    by_spot: Mapping[Spot, Sequence[StoredMessage]]

    def all(self, *spots: Spot, lane: Lane | None = None) -> list[StoredMessage]:
        """Return the copies that lie there, or anywhere; with a lane only those that are its group's."""
        lying = (message for spot in spots or Spot for message in self.by_spot.get(spot, ()))
        return [message for message in lying if lane is None or lane.has(message)]

    @property
    def given(self) -> bool:
        """Whether it was committed: to its groups it is neither half nor parked, whatever copies lie there still.

        RocketMQ stores a half message anew with each check. Of two checks close together both may be answered, and the
        copy that neither answer was for is checked on, and parked in the end (seen on 5.2.0).
        """
        return bool(self.all(Spot.VISIBLE, Spot.RETRY, Spot.DEAD))

    def is_left_behind(self, spot: Spot) -> bool:
        """Whether it is dead to any group, or parked."""
        lanes = self.lanes if spot is Spot.DEAD else (None,)
        return any(self.left_behind(spot, lane) is not None for lane in lanes)

    def left_behind(self, spot: Spot, lane: Lane | None = None) -> StoredMessage | None:
        """Return the newest dead letter of a lane's group (or parked half message), unless another copy went on."""
        lying = [] if spot is Spot.PARKED and self.given else self.all(spot, lane=lane)
        gone_on = {message.properties.get(ONWARD) for message in self.all(Spot.HALF, Spot.RETRY)}
        return lying[-1] if lying and at(lying[-1]) not in gone_on else None


def view(copies: Copies, halves: OpenHalves, consumption: Consumption) -> MessageView:
    """Return the message; what RocketMQ does not tell (how check-backs were answered, when) is left out."""
    newest = max(copies.all(), key=lambda message: (message.stored_at or 0, message.checks, message.redeliveries))
    lane = copies.lanes[0]
    own = {name: value for message in copies.all() for name, value in message.properties.items()}
    groups = _groups(copies, consumption, newest.stored_at or 0)
    worst = min((group.state for group in groups), key=_ATTENTION.index, default=None)
    state, dropped_at = _state(copies, halves, worst)
    resolution, resolved_at = _resolution(copies, dropped_at, plain=PLAIN in own)
    shown = {name: value for name, value in newest.properties.items() if not _NOT_OURS.fullmatch(name)}
    body = b"" if EMPTY in own else newest.body
    deliver_at = own.get(DELIVER_AT)
    return MessageView(
        message_id=identity(newest),
        message=Message(lane.topic, body, newest.tag, newest.keys, shown),
        state=state,
        producer_group=own.get(GROUP, "").removeprefix(lane.real_group.removesuffix(lane.group)),
        born_at=int(own.get(BORN_AT) or newest.born_at or 0),
        deliver_at=int(deliver_at) if deliver_at else None,
        resolution=resolution,
        resolved_at=resolved_at,
        checks=(),
        check_count=_checks(copies),
        groups=groups,
    )


def _checks(copies: Copies) -> int:
    """Return how often a half message was checked back since it was sent, or resumed."""
    sent = sorted(copies.all(Spot.HALF, Spot.PARKED, Spot.VISIBLE), key=lambda message: message.stored_at or 0)
    if not sent:
        return 0
    resumed = sent[-1].properties.get(ONWARD)
    return max(message.checks for message in sent if message.properties.get(ONWARD) == resumed)


def _groups(copies: Copies, consumption: Consumption, visible_at: int) -> tuple[GroupView, ...]:
    """Return how far each consumer group is that has something of it; `visible_at` in ms since the epoch."""
    found = ((lane.group, _group(copies, lane, consumption)) for lane in copies.lanes)
    return tuple(GroupView(name, of[0], of[1], visible_at, None) for name, of in found if of is not None)


def _group(copies: Copies, lane: Lane, consumption: Consumption) -> tuple[State, int] | None:
    """Return how far a consumer group is and how often it was given the message; None where it has nothing yet.

    Every copy that it was given is one delivery: a message that was committed twice lies twice in its topic, and each
    redelivery is a copy of its own. A resent message is counted anew.
    """
    lying = copies.all(Spot.VISIBLE, Spot.RETRY, Spot.DEAD, lane=lane)
    if not lying:
        return None
    last = _round(max(lying, key=lambda message: (message.stored_at or 0, message.redeliveries)))
    given = [message for message in copies.all(Spot.VISIBLE, Spot.RETRY, lane=lane) if _round(message) == last]
    passed = sum(consumption.passed(lane, message) for message in given)
    if copies.left_behind(Spot.DEAD, lane) is not None:  # what it was given may be deleted by age already
        tried = sum(message.redeliveries for message in copies.all(Spot.DEAD, lane=lane) if _round(message) == last)
        return State.DEAD, max(passed, tried)
    return (State.DONE if passed == len(given) else State.READY), passed


def _round(message: StoredMessage) -> str:
    """Return which dead letter a copy was resent for; empty for a copy from before, one that was resumed too."""
    onward = message.properties.get(ONWARD, "")
    return onward if onward.startswith("%DLQ%") else ""


def _state(copies: Copies, halves: OpenHalves, group: State | None) -> tuple[State, int | None]:
    """Return the state; of a half message that was rolled back also when."""
    sent = copies.all(Spot.HALF)
    if group is not None:
        return group, None
    if halves.has(sent):
        return State.HALF, None
    if copies.left_behind(Spot.PARKED) is not None:
        return State.PARKED, None
    if copies.all(Spot.TIMER):
        return State.DELAYED, None
    dropped_at = halves.resolved_at(sent) if sent else None
    return (State.HALF if sent and dropped_at is None else State.DONE), dropped_at


def _resolution(copies: Copies, dropped_at: int | None, *, plain: bool) -> tuple[Resolution | None, int | None]:
    """Return how a half message ended and when."""
    if plain or not (copies.all(Spot.HALF, Spot.PARKED) or "TRAN_MSG" in copies.all()[0].properties):
        return None, None
    visible = copies.all(Spot.VISIBLE, Spot.RETRY, Spot.DEAD)
    if visible:
        return Resolution.COMMIT, min(message.stored_at or 0 for message in visible) or None
    return (None, None) if dropped_at is None else (Resolution.ROLLBACK, dropped_at)
