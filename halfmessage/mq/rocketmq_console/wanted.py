"""Which messages a search is for: told by a copy as far as a copy can tell it, and by the message for certain."""

from dataclasses import dataclass

from halfmessage.mq.port import Cursor, MessageView, State
from halfmessage.mq.rocketmq_console.lanes import Lane, Spot
from halfmessage.mq.rocketmq_console.message import StoredMessage
from halfmessage.mq.rocketmq_console.views import age


@dataclass(frozen=True, slots=True)
class Wanted:
    """The conditions of `halfmessage.mq.port.Console.find` that hold together; None: any."""

    topic: str | None
    message_id: str | None
    state: State | None
    group: str | None
    born_from: int | None
    born_until: int | None
    before: Cursor | None

    @property
    def until(self) -> int | None:
        """Before when all of them were born (ms since the epoch); None: there is no such time."""
        before = [time for time in (self.born_until, self.before and self.before[0] + 1) if time is not None]
        return min(before, default=None)

    def may_be_of(self, lane: Lane) -> bool:
        """Whether one may be of a lane."""
        return self.topic in {None, lane.topic} and self.group in {None, lane.group}

    def is_copy(self, message: StoredMessage, known: tuple[tuple[Lane, ...], Spot] | None) -> bool:
        """Whether a copy may be of one; `known`: the lanes of its topic, and what it means that it lies there."""
        if known is None:
            return False
        lanes, _ = known
        return (
            self.topic in {None, lanes[0].topic}
            and (self.group is None or any(lane.group == self.group and lane.has(message) for lane in lanes))
            and self._was_born(age(message))
        )

    def is_view(self, view: MessageView) -> bool:
        """Whether a message is one."""
        return (
            self.topic in {None, view.message.topic}
            and self.state in {None, view.state}
            and self.message_id in {None, view.message_id}
            and (self.group is None or any(group.group == self.group for group in view.groups))
            and self._was_born(view.cursor)
        )

    def _was_born(self, cursor: Cursor) -> bool:
        return (
            (self.born_from is None or cursor[0] >= self.born_from)
            and (self.born_until is None or cursor[0] < self.born_until)
            and (self.before is None or cursor < self.before)
        )
