"""The console of the embedded broker: what `orders messages` and the metrics show.

A message's state is the one that needs attention most, in this order: half, parked, dead, in-flight, ready,
delayed, done. Waiting for a retry is `delayed`; in-flight with the invisible time over is `ready`; dropped is
`done` (its resolution tells); visible without any group is `ready`, for a group may come.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from halfmessage.clock import now_ms
from halfmessage.errors import MessageNotFound
from halfmessage.mq.embedded import deliveries
from halfmessage.mq.embedded.messages import COLUMNS, number_of, public_id, show_message
from halfmessage.mq.embedded.reader import Reader
from halfmessage.mq.embedded.store import Store
from halfmessage.mq.port import (
    Backlog,
    BrokerStats,
    Check,
    CheckAnswer,
    Cursor,
    GroupView,
    MessageView,
    Resolution,
    State,
)

_ATTENTION = (State.HALF, State.PARKED, State.DEAD, State.IN_FLIGHT, State.READY, State.DELAYED, State.DONE)
_DELIVERY_RANK = """
CASE d.state WHEN 'dead' THEN 2 WHEN 'done' THEN 6 ELSE
    CASE WHEN d.visible_at <= :now THEN 4 WHEN d.lease IS NULL THEN 5 ELSE 3 END
END
"""
# only constants of this module are put into the statements
_RANK = f"""
CASE m.stage WHEN 'half' THEN 0 WHEN 'parked' THEN 1 WHEN 'dropped' THEN 6 ELSE coalesce(
    (SELECT min({_DELIVERY_RANK}) FROM deliveries AS d WHERE d.message_id = m.id),
    CASE WHEN m.deliver_at > :now THEN 5 ELSE 4 END
) END
"""  # noqa: S608  # nosec B608
_MESSAGE = f"""
SELECT {COLUMNS}, {_RANK} AS rank,
    m.producer_group, m.deliver_at, m.resolution, m.resolved_at, m.check_count, m.next_check_at
FROM"""  # nosec B608
_OF_ANY = "messages AS m WHERE 1"
# of one subscription: from its deliveries, the newest first, which an index has in this order; never from all messages
_OF_GROUP = (
    "deliveries AS g INDEXED BY deliveries_by_subscription CROSS JOIN messages AS m ON m.id = g.message_id"
    " WHERE g.subscription_id + 0 = :subscription"
)
_SUBSCRIPTIONS = """
SELECT id FROM subscriptions WHERE consumer_group = :group AND (:topic IS NULL OR topic = :topic)
"""
_GROUPS = f"""
SELECT d.message_id, s.consumer_group, {_DELIVERY_RANK}, d.attempts, d.visible_at, d.done_at, d.pid
FROM deliveries AS d JOIN subscriptions AS s ON s.id = d.subscription_id
WHERE d.message_id IN (SELECT value FROM json_each(:ids)) ORDER BY s.consumer_group
"""  # noqa: S608  # nosec B608
_CHECKS = """
SELECT message_id, at, answer, pid FROM checks
WHERE message_id IN (SELECT value FROM json_each(:ids)) ORDER BY message_id, number
"""
_PENDING = "SELECT message_id FROM deliveries WHERE state = 'pending'"
# messages that no group has: of the topics without any, found by going from each topic to the next in the index
_UNSUBSCRIBED = """
WITH RECURSIVE topics (topic) AS (
    SELECT min(topic) FROM messages
    UNION ALL
    SELECT (SELECT min(topic) FROM messages WHERE topic > topics.topic) FROM topics WHERE topic IS NOT NULL
)
SELECT id FROM messages WHERE topic IN (SELECT topic FROM topics WHERE topic NOT IN (SELECT topic FROM subscriptions))
"""
_UNDELIVERED = f"SELECT * FROM ({_PENDING}) UNION ALL SELECT * FROM ({_UNSUBSCRIBED})"  # noqa: S608  # nosec B608
# besides the rank, which alone would look at every message: conditions that an index answers
_NARROWED = {
    State.HALF: "m.id IN (SELECT id FROM messages WHERE stage = 'half')",
    State.PARKED: "m.id IN (SELECT id FROM messages WHERE stage = 'parked')",
    State.DEAD: "m.id IN (SELECT message_id FROM deliveries WHERE state = 'dead')",
    State.IN_FLIGHT: f"m.id IN ({_PENDING})",
    State.READY: f"m.id IN ({_UNDELIVERED})",
    State.DELAYED: f"m.id IN ({_UNDELIVERED})",
    State.DONE: "m.stage IN ('visible', 'dropped')",  # most are: newest first finds them at once
}
_WANTED = {
    "topic": "m.topic = :topic",
    "key": "m.id IN (SELECT message_id FROM message_keys WHERE key = :key)",
    "id": "m.id = :id",
    "rank": "rank = :rank",
    "born_from": "{id} >= :born_from",
    "born_until": "{id} < :born_until",
    "before": "{id} < :before",
}
_ALSO_OF_TOPIC = "+m.topic = :topic"  # by no index: what else is asked for leaves fewer than a topic has
_STATS = """
SELECT (SELECT count(*) FROM messages WHERE stage = 'half'),
    (SELECT min(born_at) FROM messages WHERE stage = 'half'),
    (SELECT count(*) FROM messages WHERE stage = 'parked'),
    (SELECT count(DISTINCT message_id) FROM deliveries WHERE state = 'dead'),
    (SELECT count(*) FROM deliveries WHERE state = 'pending')
"""

_BACKLOG = """
SELECT s.consumer_group, s.topic, coalesce(sum(d.visible_at <= :now), 0),
    coalesce(sum(d.visible_at > :now AND d.attempts > 0), 0),
    min(CASE WHEN d.visible_at <= :now OR d.attempts > 0 THEN coalesce(m.deliver_at, m.resolved_at, m.born_at) END)
FROM subscriptions AS s
LEFT JOIN deliveries AS d ON d.subscription_id = s.id AND d.state = 'pending'
LEFT JOIN messages AS m ON m.id = d.message_id
GROUP BY s.id ORDER BY s.topic, s.consumer_group
"""


# the first number, and the one after the last; each alone, for only then SQLite takes them from the ends of the table
_NUMBERS = "SELECT coalesce((SELECT min(id) FROM messages), 1), coalesce((SELECT max(id) FROM messages), 0) + 1"
_NEXT = "SELECT id, born_at FROM messages WHERE id >= ? ORDER BY id LIMIT 1"


class EmbeddedConsole:
    """Implements `halfmessage.mq.port.Console`, on a read connection of its own."""

    def __init__(self, store: Store, reader: Reader) -> None:
        """Read through `reader`, write through `store`."""
        self._store = store
        self._reader = reader

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

        Numbers grow with time, and times are looked up by that: of a time that a clock which was set back passed
        twice, messages may be left out.
        """
        wanted: dict[str, Any] = {
            "topic": topic,
            "key": key,
            "id": None if message_id is None else number_of(message_id),
            "rank": None if state is None else _ATTENTION.index(state),
            "born_from": born_from,
            "born_until": born_until,
            "before": None if before is None else number_of(before[1]),
        }
        conditions = [_WANTED[name] for name, value in wanted.items() if value is not None]
        if topic is not None and (key is not None or state not in {None, State.DONE}):
            conditions[0] = _ALSO_OF_TOPIC
        if state is not None:
            conditions.append(_NARROWED[state])
        now = now_ms()
        with self._reader.snapshot() as connection:
            for time in ("born_from", "born_until"):
                if wanted[time] is not None:
                    wanted[time] = _first_since(connection, wanted[time])
            given = {**wanted, "now": now, "limit": limit}
            if group is None:
                rows = connection.execute(_query(_OF_ANY, "m.id", conditions), given).fetchall()
            else:
                rows = _of_group(connection, group, conditions, given)
            return _views(connection, rows, now)

    def stats(self) -> BrokerStats:
        """Count half, parked and dead messages, and pending deliveries."""
        ((half, oldest, parked, dead, pending),) = self._reader.query(_STATS)
        age = 0.0 if oldest is None else max(0.0, (now_ms() - oldest) / 1000)
        return BrokerStats(half=half, oldest_half_age=age, parked=parked, dead=dead, pending=pending)

    def backlog(self) -> list[Backlog]:
        """Return what each group has before it."""
        now = now_ms()
        return [
            Backlog(group, topic, waiting, in_flight, 0.0 if since is None else max(0.0, (now - since) / 1000))
            for group, topic, waiting, in_flight, since in self._reader.query(_BACKLOG, {"now": now})
        ]

    def resend(self, message_id: str) -> None:
        """Give a dead message again to the groups where it is dead, and to no other."""
        self._change(
            "UPDATE deliveries SET state = 'pending', attempts = 0, lease = NULL, visible_at = :now"
            " WHERE message_id = :id AND state = 'dead'",
            message_id,
        )

    def resume(self, message_id: str) -> None:
        """Have a parked half message checked again, at once."""
        self._change(
            "UPDATE messages SET stage = 'half', check_count = 0, next_check_at = :now"
            " WHERE id = :id AND stage = 'parked'",
            message_id,
        )

    def check_now(self, message_id: str) -> None:
        """Have an open half message checked by the first process of its group that looks; what is overdue stays so.

        Counted anew, as no number of these may have it parked.
        """
        self._change(
            "UPDATE messages SET check_count = 0, next_check_at = min(next_check_at, :now)"
            " WHERE id = :id AND stage = 'half'",
            message_id,
        )

    def forget(self, group: str) -> None:
        """Unsubscribe a group, so many messages at a time; done again, it goes on where it was."""
        subscriptions = self._store.writer.do(lambda connection: deliveries.to_forget(connection, group))
        for subscription in subscriptions:
            position: int | None = 0
            while position is not None:
                position = self._store.writer.do(
                    partial(deliveries.forget_chunk, subscription=subscription, after=position)
                )

    def _change(self, statement: str, message_id: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            changed = connection.execute(statement, {"now": now_ms(), "id": number_of(message_id)}).rowcount
            if not changed:
                raise MessageNotFound

        self._store.writer.do(work)
        self._store.wakeup.ring()


def _query(of: str, number: str, conditions: Sequence[str]) -> str:
    """Write a search, newest first; `number` is the column of messages' numbers that it is in the order of."""
    words = " AND ".join((of, *conditions)).format(id=number)
    return f"{_MESSAGE} {words} ORDER BY {number} DESC LIMIT :limit"  # nosec B608 - all ours


def _of_group(
    connection: sqlite3.Connection, group: str, conditions: Sequence[str], given: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """Return what was found among the deliveries of each subscription of a group: a message is in one of them."""
    query = _query(_OF_GROUP, "g.message_id", conditions)
    found: list[tuple[Any, ...]] = []
    for (subscription,) in connection.execute(_SUBSCRIPTIONS, {"group": group, "topic": given["topic"]}).fetchall():
        found += connection.execute(query, {**given, "subscription": subscription})
    return sorted(found, key=itemgetter(0), reverse=True)[: given["limit"]]


def _first_since(connection: sqlite3.Connection, born_at: int) -> int:
    """Return the number from which on messages were born then or later; no index knows times."""
    low, high = connection.execute(_NUMBERS).fetchone()
    while low < high:
        number, born = connection.execute(_NEXT, ((low + high) // 2,)).fetchone()
        if born < born_at:
            low = number + 1
        else:
            high = (low + high) // 2
    return int(low)


def _views(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], now: int) -> list[MessageView]:
    ids = {"ids": json.dumps([row[0] for row in rows]), "now": now}
    groups: dict[int, list[GroupView]] = {row[0]: [] for row in rows}
    for number, group, rank, attempts, visible_at, done_at, pid in connection.execute(_GROUPS, ids):
        groups[number].append(GroupView(group, _ATTENTION[rank], attempts, visible_at, done_at, pid))
    checks: dict[int, list[Check]] = {row[0]: [] for row in rows}
    for number, at, answer, pid in connection.execute(_CHECKS, {"ids": ids["ids"]}):
        checks[number].append(Check(at, None if answer is None else CheckAnswer(answer), pid))
    return [_view(row, tuple(groups[row[0]]), tuple(checks[row[0]])) for row in rows]


def _view(row: tuple[Any, ...], groups: tuple[GroupView, ...], checks: tuple[Check, ...]) -> MessageView:
    number, born_at = row[0], row[6]
    rank, producer_group, deliver_at, resolution, resolved_at, check_count, next_check_at = row[8:]
    return MessageView(
        message_id=public_id(number),
        message=show_message(row),
        state=_ATTENTION[rank],
        producer_group=producer_group,
        born_at=born_at,
        deliver_at=deliver_at,
        resolution=None if resolution is None else Resolution(resolution),
        resolved_at=resolved_at,
        checks=checks,
        check_count=check_count,
        groups=groups,
        next_check_at=next_check_at,
    )
