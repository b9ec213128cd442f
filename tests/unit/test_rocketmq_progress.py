"""How far groups are, as RocketMQ's console reads it from a store that changes meanwhile."""

from collections.abc import Iterable

from halfmessage.mq.rocketmq_console.lanes import Lane
from halfmessage.mq.rocketmq_console.progress import Consumption
from halfmessage.mq.rocketmq_console.store import Queue, Store

_LANE = Lane("order_rollback", "stock", "order_rollback", "stock")


class _Growing(Store):
    """One queue of a topic, and one more of its group's retries each time it is asked."""

    def __init__(self) -> None:
        """Know nothing of a server."""
        self.looks = 0

    def queues_of(self, topics: Iterable[str]) -> list[Queue]:
        """Tell what there is by now."""
        self.looks += 1
        retries = next(topic for topic in topics if topic.startswith("%RETRY%"))
        return [("order_rollback", 0), *((retries, number) for number in range(self.looks - 1))]

    def consumed_by(self, asked: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str, int], int]:
        """All are at their beginning."""
        return dict.fromkeys(asked, 0)

    def ends(self, queues: Iterable[Queue]) -> dict[Queue, int]:
        """Each has one message."""
        return dict.fromkeys(queues, 1)


def test_a_queue_that_appears_while_groups_are_counted_is_left_to_the_next_look() -> None:
    """The first retry of a group makes a topic; a page that is being counted then is not refused for it."""
    store = _Growing()
    behind = Consumption(store).behind([_LANE])
    assert behind == {_LANE: {("order_rollback", 0): range(1)}}
    assert len(Consumption(store).behind([_LANE])[_LANE]) == 2
