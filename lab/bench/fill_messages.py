"""Fills the broker of a system under test with the messages that a filled series of settled orders would have left.

Into the embedded broker's file as rows: placing rolled its half message back, and every tenth order, which was closed,
sent a message that was consumed. To real brokers what was consumed is sent, for a half message can't be backdated.
"""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from common.registry import ROLLBACK_TOPIC, TIMEOUT_TOPIC
from halfmessage.chunks import chunks
from halfmessage.clock import now_ms
from halfmessage.mq.port import Message
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import DELIVER_IF
from halfmessage.tx.record import Outcome
from lab.bench.fill import Series
from lab.bench.messages import send_all
from ops.deployment import Deployment
from ops.waiting import wait_for

DEAD, PARKED, DELAYED = (
    200,
    200,
    2000,
)  # of the newest messages, at most a tenth of all: what pages list beside the rest
_CHUNK = 2000  # in a transaction, for which other writers wait
_LOCKED = 60.0  # seconds to wait for other writers of the file
_DELAY = 6 * 3_600_000  # ms
_CONSUMED_WITHIN = 600.0  # seconds
_GROUP = "order"
_INSERT = """
INSERT INTO messages (stage, born_at, deliver_at, resolution, resolved_at, producer_group, topic, tag, keys, properties,
    body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CONSUMED = """
UPDATE deliveries SET state = ?, attempts = 1, done_at = ? WHERE state = 'pending' AND message_id IN
    (SELECT id FROM messages WHERE id > ? AND topic = ?)
"""
_LAST = "SELECT coalesce(max(id), 0) FROM messages"

Row = tuple[object, ...]
Tell = Callable[[int], None]


def fill_embedded(file: Path, series: Series, number: int, tell: Tell) -> None:
    """Write a message for each of `number` orders, then `DEAD`, `PARKED` and `DELAYED` ones; `tell` of each chunk.

    Other processes write meanwhile; no consumer sees what is written as consumed. Raise `sqlite3.Error`.
    """
    with closing(sqlite3.connect(file, timeout=_LOCKED, isolation_level=None)) as connection:
        done = 0
        for numbers in chunks(range(number), _CHUNK):
            _write(connection, [_settled(series, one) for one in numbers], "done")
            done += len(numbers)
            tell(done)
        tenth = max(1, number // 10)
        newest = range(number - 1, -1, -1)
        _write(connection, [_sent(series, one) for one in newest[: min(DEAD, tenth)]], "dead")
        _write(connection, [_parked(series, one) for one in newest[: min(PARKED, tenth)]], "done")
        _write(connection, [_delayed(series, one) for one in newest[: min(DELAYED, tenth)]], None)


def send_consumed(deployment: Deployment, series: Series, number: int, tell: Tell) -> int:
    """Send messages of closed orders, and return once they are consumed; `number` orders, so many sent.

    Raise `BrokerError`, `NotInTime`.
    """
    closed = (one for one in range(number) if not series.is_live(one))
    sent = send_all(deployment, (_event(series, one) for one in closed), tell=tell)
    with deployment.open_console() as console:
        wait_for(
            "the messages to be consumed",
            lambda: not any(group.waiting for group in console.backlog()),
            within=_CONSUMED_WITHIN,
            every=1.0,
        )
    return sent


def _write(connection: sqlite3.Connection, rows: list[Row], became: str | None) -> None:
    """Insert messages in one transaction; what is to be consumed of them `became` done, or dead; None: not yet."""
    connection.execute("BEGIN IMMEDIATE")
    ((last,),) = connection.execute(_LAST).fetchall()
    connection.executemany(_INSERT, rows)
    if became is not None:
        connection.execute(_CONSUMED, (became, now_ms(), last, ROLLBACK_TOPIC))
    connection.execute("COMMIT")


def _event(series: Series, number: int, topic: str = ROLLBACK_TOPIC) -> Message:
    return OrderEvent(tx_id=series.tx_id(number), order_ids=(series.order_id(number),)).to_message(topic)


def _settled(series: Series, number: int) -> Row:
    if not series.is_live(number):
        return _sent(series, number)
    return _row(_event(series, number), "dropped", series.born_at(number), resolution="rollback")


def _sent(series: Series, number: int) -> Row:
    return _row(_event(series, number), "visible", series.born_at(number), resolution="commit")


def _parked(series: Series, number: int) -> Row:
    return _row(_event(series, number), "parked", series.born_at(number))


def _delayed(series: Series, number: int) -> Row:
    message = _event(series, number, TIMEOUT_TOPIC)
    return _row(message, "visible", series.born_at(number), deliver_at=now_ms() + _DELAY)


def _row(
    message: Message, stage: str, born_at: int, *, resolution: str | None = None, deliver_at: int | None = None
) -> Row:
    """Return what `_INSERT` names: as a transaction's message is where it does not wait for a time."""
    properties = {**message.properties} if deliver_at else {**message.properties, DELIVER_IF: Outcome.ABORTED.value}
    resolved_at = None if resolution is None else born_at + 5
    words = (message.topic, message.tag, json.dumps(message.keys), json.dumps(properties), message.body)
    return (stage, born_at, deliver_at, resolution, resolved_at, _GROUP, *words)
