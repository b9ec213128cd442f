"""The newest messages of several topics, read piece by piece for as long as somebody asks for more."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from halfmessage.mq.rocketmq_console.message import StoredMessage
from halfmessage.mq.rocketmq_console.store import Queue, Store
from halfmessage.mq.rocketmq_console.views import age

_FIRST = 16  # messages of each queue that are read first; then twice as many of the one that has the newest, and so on
_NEAR = 32  # messages by which a queue's order of storing may differ from the order of birth, and no page misses one
_FOR_EVER = (2**63, "")


@dataclass(slots=True)
class _Stretch:
    """What of a queue was not read: from `begin` to before `end`; `piece`: how much of it is read next.

    `horizon`: what is older than this may lie in the part that was not read.
    """

    begin: int
    end: int
    piece: int = _FIRST
    horizon: tuple[int, str] = _FOR_EVER

    def cut(self) -> int:
        """Take the next piece off its end; return where that begins."""
        self.end, self.piece = max(self.begin, self.end - self.piece), self.piece * 2
        return self.end


def newest(
    store: Store,
    topics: Collection[str],
    most: int,
    *,
    until: int | None = None,
    floor: Mapping[Queue, int] | None = None,
) -> Iterator[StoredMessage]:
    """Yield messages of some topics, newest birth first, of each queue at most so many. Raise `BrokerError`.

    `until` (ms since the epoch): those born earlier than this. `floor`: from which offset on, for each queue.

    A queue is in the order of storing, which is nearly that of birth. A message that was stored by more than `_NEAR`
    places later than others of its age may come too late, or be left out by `until`.
    """
    queues = store.queues_of(store.holding(topics))
    first, last = store.begins(queues), store.ends(queues)
    if floor is not None:
        first = {queue: max(at, floor[queue]) for queue, at in first.items()}
    if until is not None:
        last = _born_before(store, until, first, last)
    unread = {queue: _Stretch(max(at, last[queue] - most), last[queue]) for queue, at in first.items()}
    unread = {queue: stretch for queue, stretch in unread.items() if stretch.begin < stretch.end}
    read: list[StoredMessage] = []
    asked = dict(unread)
    while asked:
        ends = {queue: stretch.end for queue, stretch in asked.items()}
        pieces = store.between({queue: stretch.cut() for queue, stretch in asked.items()}, ends)
        for queue, piece in pieces.items():
            unread[queue].horizon = max(map(age, piece[: max(1, len(piece) // 4)]), default=_FOR_EVER)
            read += piece
        unread = {queue: stretch for queue, stretch in unread.items() if stretch.begin < stretch.end}
        blocking = max(unread, key=lambda queue: unread[queue].horizon, default=None)
        read.sort(key=age, reverse=True)
        if blocking is None:
            yield from read
            return
        known = list(takewhile(lambda message: age(message) > unread[blocking].horizon, read))  # noqa: B023
        yield from known
        read, asked = read[len(known) :], {blocking: unread[blocking]}


def _born_before(store: Store, until: int, first: Mapping[Queue, int], last: Mapping[Queue, int]) -> dict[Queue, int]:
    """Return where of each queue those end that were born before a time (ms), by halving, all queues at once.

    What was stored before then was born before then. The rest is nearly in the order of birth.
    """
    stored = store.since(first, until)
    left = {queue: (min(max(stored[queue], begin), last[queue]), last[queue]) for queue, begin in first.items()}
    while wide := {queue: (low + high) // 2 for queue, (low, high) in left.items() if high - low > _NEAR}:
        for (queue, middle), message in zip(
            wide.items(), store.at([(*queue, middle) for queue, middle in wide.items()]), strict=True
        ):
            low, high = left[queue]
            earlier = message is None or age(message)[0] < until
            left[queue] = (middle + 1, high) if earlier else (low, middle)
    return {queue: min(high + _NEAR, last[queue]) for queue, (_, high) in left.items()}
