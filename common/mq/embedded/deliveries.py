"""The ledger of deliveries in SQL: one row for each message and group.

A row is `pending` until its group is through with it. Claiming it moves `visible_at` on by the invisible time and
leaves a lease token: only its holder may answer, and if nobody does, the row is simply due again.
"""

import json
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from common.chunks import by_weight
from common.clock import now_ms
from common.mq.embedded.messages import public_id, read_message
from common.mq.embedded.reader import Reader
from common.mq.embedded.store import in_ms
from common.mq.port import BrokerOptions, Delivery, Verdict

_DUE = """
SELECT m.id, m.topic, m.tag, m.keys, m.properties, m.body, m.born_at, d.attempts
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.subscription_id = ? AND d.state = 'pending' AND d.visible_at <= ?
ORDER BY d.visible_at, d.message_id LIMIT ?
"""
_LEASE = """
UPDATE deliveries SET attempts = attempts + 1, visible_at = ?, lease = ?
WHERE subscription_id = ? AND message_id IN (SELECT value FROM json_each(?))
"""
_BURY = """
UPDATE deliveries SET state = 'dead', lease = NULL
WHERE subscription_id = ? AND message_id IN (SELECT value FROM json_each(?))
"""
_ACKNOWLEDGE = """
UPDATE deliveries SET state = 'done', done_at = ?, lease = NULL
WHERE subscription_id = ? AND lease = ? AND state = 'pending' AND message_id IN (SELECT value FROM json_each(?))
"""
_RETRY = """
UPDATE deliveries SET state = ?, visible_at = ?, lease = NULL
WHERE subscription_id = ? AND lease = ? AND state = 'pending' AND message_id = ?
"""
_EXTEND = """
UPDATE deliveries SET visible_at = ?
WHERE subscription_id = ? AND lease = ? AND state = 'pending' AND message_id IN (SELECT value FROM json_each(?))
"""
_GIVE_BACK = """
UPDATE deliveries SET attempts = attempts - 1, visible_at = ?, lease = NULL
WHERE subscription_id = ? AND lease = ? AND state = 'pending' AND message_id IN (SELECT value FROM json_each(?))
"""

_HEAVIEST = 128 * 1024  # bytes claimed together: the ids of some 3,000 orders; one message may weigh more


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries that are ours until the invisible time is over."""

    lease: int
    numbers: list[int]
    deliveries: list[Delivery]


def subscribe(connection: sqlite3.Connection, group: str, topic: str) -> int:
    """Return the number of `group`'s subscription to `topic`; a new one is due every message kept."""
    connection.execute(
        "INSERT INTO subscriptions (topic, consumer_group) VALUES (?, ?) ON CONFLICT DO NOTHING", (topic, group)
    )
    row = connection.execute(
        "SELECT id FROM subscriptions WHERE topic = ? AND consumer_group = ?", (topic, group)
    ).fetchone()
    return int(row[0])


def next_due(reader: Reader, subscription: int) -> int | None:
    """Return when the next delivery is due, None if none is pending."""
    ((due,),) = reader.query(
        "SELECT min(visible_at) FROM deliveries WHERE subscription_id = ? AND state = 'pending'", (subscription,)
    )
    return None if due is None else int(due)


def claim(connection: sqlite3.Connection, subscription: int, limit: int, options: BrokerOptions) -> Claim:
    """Take up to `limit` due deliveries, oldest first, fewer heavy ones; bury those whose last one ran out of time."""
    now = now_ms()
    taken = Claim(secrets.randbits(62), [], [])
    exhausted = []
    with closing(connection.execute(_DUE, (subscription, now, limit))) as due:
        rows = next(by_weight(due, _weight, _HEAVIEST), [])  # the rest is not even read
    for row in rows:
        number, born_at, attempts = row[0], row[6], row[7]
        if attempts >= options.max_deliveries:
            exhausted.append(number)
            continue
        taken.numbers.append(number)
        taken.deliveries.append(Delivery(public_id(number), read_message(row), attempts + 1, born_at))
    if exhausted:
        connection.execute(_BURY, (subscription, json.dumps(exhausted)))
    if taken.numbers:
        until = now + in_ms(options.invisible_for)
        connection.execute(_LEASE, (until, taken.lease, subscription, json.dumps(taken.numbers)))
    return taken


def _weight(row: Sequence[Any]) -> int:
    """Return the bytes of a message's keys, properties and body."""
    return sum(map(len, row[3:6]))


def extend(connection: sqlite3.Connection, subscription: int, taken: Claim, options: BrokerOptions) -> None:
    """Begin the invisible time of a claim anew; what was claimed by somebody else meanwhile is left to them."""
    until = now_ms() + in_ms(options.invisible_for)
    connection.execute(_EXTEND, (until, subscription, taken.lease, json.dumps(taken.numbers)))


def settle(
    connection: sqlite3.Connection,
    subscription: int,
    taken: Claim,
    verdicts: Sequence[Verdict],
    options: BrokerOptions,
) -> None:
    """Write down what the handler said; what was claimed by somebody else meanwhile is left to them."""
    now = now_ms()
    handled = []
    for number, delivery, verdict in zip(taken.numbers, taken.deliveries, verdicts, strict=True):
        if verdict is Verdict.ACK:
            handled.append(number)
            continue
        state = "dead" if delivery.attempt >= options.max_deliveries else "pending"
        again = now + in_ms(retry_delay(delivery.attempt, options))
        connection.execute(_RETRY, (state, again, subscription, taken.lease, number))
    if handled:
        connection.execute(_ACKNOWLEDGE, (now, subscription, taken.lease, json.dumps(handled)))


def give_back(connection: sqlite3.Connection, subscription: int, taken: Claim) -> None:
    """Undo a claim that no handler saw."""
    connection.execute(_GIVE_BACK, (now_ms(), subscription, taken.lease, json.dumps(taken.numbers)))


def retry_delay(attempt: int, options: BrokerOptions) -> float:
    """Return how many seconds a message waits after its failed `attempt`: doubled each time, up to the longest."""
    doublings = min(attempt - 1, 62)  # more would overflow a float for nothing
    return float(min(options.retry_first_after * 2**doublings, options.retry_longest))
