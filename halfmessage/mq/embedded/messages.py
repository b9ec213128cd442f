"""The ledger of messages in SQL: what is sent, begun and resolved."""

import json
import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

from halfmessage.chunks import chunks
from halfmessage.clock import now_ms
from halfmessage.errors import MessageRefused
from halfmessage.mq.port import Message, Resolution

_ID_DIGITS = 16
_LATEST = 2**63 - 1  # SQLite's largest integer, ms: the year 292 million

_INSERT = """
INSERT INTO messages (
    stage, born_at, deliver_at, next_check_at, producer_group, topic, tag, keys, properties, body,
    checksum
) VALUES """
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_RESOLVE = """
UPDATE messages SET stage = ?, resolution = ?, resolved_at = ?, next_check_at = NULL
WHERE id IN (SELECT value FROM json_each(?)) AND stage IN ('half', 'parked')
"""
_INSERTED_TOGETHER = 90  # of eleven values each: SQLite may be built for 999 host variables
MOST_BYTES = 4 * 1024 * 1024
"""Of a message in all. RocketMQ takes as much by default: maxMessageSize of its broker."""
_STAGES = {Resolution.COMMIT: "visible", Resolution.ROLLBACK: "dropped"}

COLUMNS = """
m.id, CAST(m.topic AS BLOB), CAST(m.tag AS BLOB), CAST(m.keys AS BLOB), CAST(m.properties AS BLOB),
CAST(m.body AS BLOB), m.born_at, m.checksum"""
"""What `read_message` reads, in this order. As bytes: damaged text would keep SQLite from going on to the next row."""


def public_id(number: int) -> str:
    """Write a message's number as its id."""
    return f"{number:0{_ID_DIGITS}X}"


def number_of(message_id: str) -> int:
    """Return the number behind an id, 0 (which no message has) for what is no id of ours."""
    if len(message_id) != _ID_DIGITS or not message_id.isalnum():
        return 0
    try:
        number = int(message_id, 16)
    except ValueError:
        return 0
    return number if number <= _LATEST else 0


class Damaged(Exception):
    """What is stored of a message is not what was sent."""


def checksum(text: bytes, body: bytes) -> int:
    """Return the CRC-32 of topic, tag, keys and properties, as stored, with a NUL between them, and the body."""
    return zlib.crc32(body, zlib.crc32(text))


def read_message(row: Sequence[Any]) -> Message:
    """Make a message of a row that begins with `COLUMNS`. Raise `Damaged` unless it is as it was sent.

    One that a build before version 3 sent has no checksum: of that it is only seen whether it can be read.
    """
    known = row[7]
    try:
        if known is not None and checksum(b"\0".join(row[1:5]), row[5]) != known:
            raise Damaged
        _, topic, tag, keys, properties, body, *_ = row
        return Message(
            topic.decode(), body, tag.decode(), tuple(json.loads(keys.decode())), json.loads(properties.decode())
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise Damaged from error


def show_message(row: Sequence[Any]) -> Message:
    """Make a message of a row for people: of a damaged one what can be read, with a property `damaged`."""
    try:
        return read_message(row)
    except Damaged:
        topic, tag, _, properties = (str(part or b"", "utf-8", "replace") for part in row[1:5])
        return Message(topic, row[5] or b"", tag, (), {"damaged": "is not as it was sent", "properties": properties})


class Draft:
    """One message to insert, checked and encoded on its caller's thread, so that it can't fail on the writer's."""

    def __init__(
        self, group: str, message: Message, *, deliver_at: int | None = None, first_check_after: int | None = None
    ) -> None:
        """Prepare a message, delayed until `deliver_at` or half (first checked so many ms after its birth).

        Raise `MessageRefused` for one that can't be stored, or is larger than `MOST_BYTES`.
        """
        self._first_check_after = first_check_after
        self._deliver_at = deliver_at if deliver_at is None else min(deliver_at, _LATEST)
        properties = dict(message.properties)
        text = (group, message.topic, message.tag, *message.keys, *properties, *properties.values())
        try:
            "".join(text).encode()
            body = bytes(message.body)
        except (UnicodeEncodeError, TypeError) as error:
            raise MessageRefused(
                "A message's topic, tag, keys and properties are Unicode text, its body bytes."
            ) from error
        self._rest = (
            group,
            message.topic,
            message.tag,
            json.dumps(message.keys, ensure_ascii=False),
            json.dumps(properties, ensure_ascii=False),
            body,
        )
        self._checksum = checksum("\0".join(self._rest[1:5]).encode(), body)
        self.size = sum(map(len, self._rest))
        if self.size > MOST_BYTES:
            raise MessageRefused(
                f"A message with its keys and properties is at most {MOST_BYTES} bytes; this is {self.size}."
            )

    def row(self, now: int) -> tuple[Any, ...]:
        """Return the values that `_INSERT` names, for a message born `now`."""
        if self._first_check_after is None:
            return ("visible", now, self._deliver_at, None, *self._rest, self._checksum)
        return ("half", now, None, now + self._first_check_after, *self._rest, self._checksum)


def insert(connection: sqlite3.Connection, drafts: Sequence[Draft]) -> list[tuple[int, int]]:
    """Insert messages; return the number and the time of birth of each.

    One statement for many: each statement lets go of the interpreter lock, and in a busy process waits to get it back.
    """
    now = now_ms()
    last = 0
    for part in chunks(drafts, _INSERTED_TOGETHER):
        values = [value for draft in part for value in draft.row(now)]
        last = connection.execute(_INSERT + ", ".join([_ROW] * len(part)), values).lastrowid or 0
    first = last - len(drafts) + 1  # AUTOINCREMENT counts on, and no other process can write now
    return [(number, now) for number in range(first, last + 1)]


def resolve(connection: sqlite3.Connection, endings: Sequence[tuple[int, Resolution]]) -> list[None]:
    """Commit or roll back half (or parked) messages, given by number; leave alone what was resolved before."""
    now = now_ms()
    for resolution, stage in _STAGES.items():
        numbers = [number for number, chosen in endings if chosen is resolution]
        if numbers:
            connection.execute(_RESOLVE, (stage, resolution, now, json.dumps(numbers)))
    return [None] * len(endings)
