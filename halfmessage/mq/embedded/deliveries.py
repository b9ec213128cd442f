"""The ledger of deliveries in SQL: one row for each message and group.

A row is `pending` until its group is through with it. Claiming it moves `visible_at` on by the invisible time and
leaves a lease token: only its holder may answer, and without an answer the row is simply due again.
"""

import json
import os
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import structlog

from halfmessage.chunks import by_weight
from halfmessage.clock import now_ms
from halfmessage.errors import GroupInUse, GroupNotFound
from halfmessage.mq.embedded.messages import COLUMNS, Damaged, public_id, read_message
from halfmessage.mq.embedded.reader import Reader
from halfmessage.mq.embedded.store import in_ms
from halfmessage.mq.port import BrokerOptions, Delivery, Verdict

_DUE = f"""
SELECT {COLUMNS}, d.attempts
FROM deliveries AS d JOIN messages AS m ON m.id = d.message_id
WHERE d.subscription_id = ? AND d.state = 'pending' AND d.visible_at <= ?
ORDER BY d.visible_at, d.message_id LIMIT ?
"""  # noqa: S608  # nosec B608
_LEASE = """
UPDATE deliveries SET attempts = attempts + 1, visible_at = ?, lease = ?, pid = ?
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
UPDATE deliveries SET attempts = attempts - 1, visible_at = ?, lease = NULL, pid = NULL
WHERE subscription_id = ? AND lease = ? AND state = 'pending' AND message_id IN (SELECT value FROM json_each(?))
"""
_SUBSCRIPTION = "SELECT id FROM subscriptions WHERE topic = ? AND consumer_group = ?"
# the highest number given so far is kept where SQLite keeps those of AUTOINCREMENT, which applications may write
# (https://sqlite.org/autoinc.html): an idle consumer of a forgotten group must not find itself in another's
_HIGHEST = """
SELECT max(coalesce((SELECT max(id) FROM subscriptions), 0),
           coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'subscriptions'), 0))
"""
_SUBSCRIPTIONS = "SELECT id FROM subscriptions WHERE consumer_group = ? ORDER BY id"
_CLAIMED = """
SELECT 1 FROM deliveries AS d JOIN subscriptions AS s ON s.id = d.subscription_id
WHERE s.consumer_group = ? AND d.state = 'pending' AND d.lease IS NOT NULL AND d.visible_at > ? LIMIT 1
"""
_NEXT = "SELECT id FROM messages WHERE id > ? ORDER BY id LIMIT ?"
_FORGET = "DELETE FROM deliveries WHERE subscription_id = ? AND message_id > ? AND message_id <= ?"
_FORGOTTEN = 500  # messages looked at in one transaction

_HEAVIEST = 128 * 1024  # bytes claimed together: the ids of some 3,000 orders; one message may weigh more


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries that are ours until the invisible time is over."""

    lease: int
    numbers: list[int]
    deliveries: list[Delivery]


def subscribe(connection: sqlite3.Connection, group: str, topic: str) -> int:
    """Return the number of `group`'s subscription to `topic`; a new one is due every message kept.

    No number is given twice, also when its group was forgotten.
    """
    row = connection.execute(_SUBSCRIPTION, (topic, group)).fetchone()
    if row is not None:
        return int(row[0])
    number = int(connection.execute(_HIGHEST).fetchone()[0]) + 1
    connection.execute("INSERT INTO subscriptions VALUES (?, ?, ?)", (number, topic, group))
    connection.execute("DELETE FROM sqlite_sequence WHERE name = 'subscriptions'")
    connection.execute("INSERT INTO sqlite_sequence VALUES ('subscriptions', ?)", (number,))
    return number


def next_due(reader: Reader, subscription: int) -> int | None:
    """Return when the next delivery is due, None if none is pending."""
    ((due,),) = reader.query(
        "SELECT min(visible_at) FROM deliveries WHERE subscription_id = ? AND state = 'pending'", (subscription,)
    )
    return None if due is None else int(due)


def claim(connection: sqlite3.Connection, subscription: int, limit: int, options: BrokerOptions) -> Claim:
    """Take up to `limit` due deliveries, oldest first, fewer heavy ones.

    Bury those whose last one ran out of time, and messages that are not as they were sent.
    """
    now = now_ms()
    taken = Claim(secrets.randbits(62), [], [])
    hopeless = []
    with closing(connection.execute(_DUE, (subscription, now, limit))) as due:
        rows = next(by_weight(due, _weight, _HEAVIEST), [])  # the rest is not even read
    for row in rows:
        number, born_at, attempts = row[0], row[6], row[8]
        if attempts >= options.max_deliveries:
            hopeless.append(number)
            continue
        try:
            message = read_message(row)
        except Damaged:
            structlog.get_logger().error("broker.message_damaged", message_id=public_id(number), put="dead letters")
            hopeless.append(number)
            continue
        taken.numbers.append(number)
        taken.deliveries.append(Delivery(public_id(number), message, attempts + 1, born_at))
    if hopeless:
        connection.execute(_BURY, (subscription, json.dumps(hopeless)))
    if taken.numbers:
        until = now + in_ms(options.invisible_for)
        connection.execute(_LEASE, (until, taken.lease, os.getpid(), subscription, json.dumps(taken.numbers)))
    return taken


def _weight(row: Sequence[Any]) -> int:
    """Return the bytes of a message's keys, properties and body."""
    return sum(len(part or b"") for part in row[3:6])


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


def to_forget(connection: sqlite3.Connection, group: str) -> list[int]:
    """Return the numbers of a group's subscriptions. Raise `GroupNotFound`, or `GroupInUse` while one has a claim."""
    numbers = [number for (number,) in connection.execute(_SUBSCRIPTIONS, (group,))]
    if not numbers:
        raise GroupNotFound
    if connection.execute(_CLAIMED, (group, now_ms())).fetchone():
        raise GroupInUse
    return numbers


def forget_chunk(connection: sqlite3.Connection, subscription: int, after: int) -> int | None:
    """Delete the deliveries of the next messages, also what is done; return where to go on.

    None once the subscription is gone too.
    """
    numbers = [int(number) for (number,) in connection.execute(_NEXT, (after, _FORGOTTEN))]
    if numbers:
        connection.execute(_FORGET, (subscription, after, numbers[-1]))
    if len(numbers) == _FORGOTTEN:
        return numbers[-1]
    connection.execute("DELETE FROM subscriptions WHERE id = ?", (subscription,))
    return None


def retry_delay(attempt: int, options: BrokerOptions) -> float:
    """Return how many seconds a message waits after its failed `attempt`: doubled each time, up to the longest."""
    doublings = min(attempt - 1, 62)  # more would overflow a float for nothing
    return float(min(options.retry_first_after * 2**doublings, options.retry_longest))
