"""Check-back: asking the live producers of a group how a half message ended."""

import os
import sqlite3
import threading
from collections.abc import Sequence

import structlog

from halfmessage.clock import now_ms
from halfmessage.mq.embedded import messages
from halfmessage.mq.embedded.messages import COLUMNS
from halfmessage.mq.embedded.reader import Reader
from halfmessage.mq.embedded.store import Store, in_ms
from halfmessage.mq.embedded.wakeup import keep_going
from halfmessage.mq.port import BrokerOptions, CheckAnswer, Checker, HalfMessage, Resolution

_AT_ONCE = 8  # half messages claimed together: few, so that a slow checker does not sit on many
_RESOLUTIONS = {CheckAnswer.COMMIT: Resolution.COMMIT, CheckAnswer.ROLLBACK: Resolution.ROLLBACK}

_DUE = f"""
SELECT {COLUMNS}, m.check_count
FROM messages AS m
WHERE m.stage = 'half' AND m.producer_group = ? AND m.next_check_at <= ?
ORDER BY m.next_check_at LIMIT ?
"""  # noqa: S608  # nosec B608
_COUNT = "UPDATE messages SET check_count = check_count + 1, next_check_at = ? WHERE id = ?"
_RECORD = """
INSERT INTO checks (message_id, number, at)
SELECT ?1, 1 + coalesce(max(number), 0), ?2 FROM checks WHERE message_id = ?1 RETURNING number
"""
_UNCOUNT = "UPDATE messages SET check_count = check_count - 1, next_check_at = ? WHERE id = ? AND stage = 'half'"
_UNRECORD = "DELETE FROM checks WHERE message_id = ? AND number = ?"
_ANSWER = "UPDATE checks SET answer = ?, pid = ? WHERE message_id = ? AND number = ?"
_PARK = "UPDATE messages SET stage = 'parked', next_check_at = NULL WHERE id = ? AND stage = 'half'"
_MISSED = "SELECT id, check_count FROM messages WHERE stage = 'half' AND next_check_at <= ? LIMIT 500"

Asked = tuple[HalfMessage, int]
"""A half message, and the number of the check in its list of checks."""


def claim(connection: sqlite3.Connection, group: str, options: BrokerOptions) -> list[Asked]:
    """Take a few half messages that are due: count the check, and park those that had their last one.

    One that is not as it was sent is parked at once: its answer would be about another transaction.
    """
    now = now_ms()
    asked = []
    for row in connection.execute(_DUE, (group, now, _AT_ONCE)).fetchall():
        number, born_at, checks = row[0], row[6], row[8]
        try:
            message = messages.read_message(row)
        except messages.Damaged:
            structlog.get_logger().error("broker.message_damaged", message_id=messages.public_id(number), put="parked")
            connection.execute(_PARK, (number,))
            continue
        check = _count_or_park(connection, number, checks, options, now, now + in_ms(options.check_interval))
        if check is not None:
            half = HalfMessage(messages.public_id(number), message, born_at, checks + 1, number)
            asked.append((half, check))
    return asked


def answer(connection: sqlite3.Connection, asked: Asked, said: CheckAnswer) -> None:
    """Write the answer down, and resolve the message if it says how."""
    half, check = asked
    number = messages.number_of(half.message_id)
    connection.execute(_ANSWER, (said, os.getpid(), number, check))
    if said in _RESOLUTIONS:
        messages.resolve(connection, [(number, _RESOLUTIONS[said])])


def give_back(connection: sqlite3.Connection, unasked: Sequence[Asked]) -> None:
    """Undo claims that no checker saw: who closes must not bring a message nearer to being parked."""
    now = now_ms()
    for half, check in unasked:
        number = messages.number_of(half.message_id)
        connection.execute(_UNCOUNT, (now, number))
        connection.execute(_UNRECORD, (number, check))


def count_missed(connection: sqlite3.Connection, options: BrokerOptions) -> None:
    """Count a check for each half message that no process of its group asked about for a whole interval.

    As RocketMQ does, or a group that never comes back would leave its half messages open for ever. One check a
    pass, however long ago the last one was: a machine that was off for an hour must not park everything as it starts.
    """
    now = now_ms()
    for number, checks in connection.execute(_MISSED, (now - in_ms(options.check_interval),)).fetchall():
        _count_or_park(connection, number, checks, options, now, now)


def missed(reader: Reader, options: BrokerOptions) -> bool:
    """Tell whether `count_missed` would find any."""
    overdue = now_ms() - in_ms(options.check_interval)
    return bool(reader.query("SELECT 1 FROM messages WHERE stage = 'half' AND next_check_at <= ? LIMIT 1", (overdue,)))


def _count_or_park(
    connection: sqlite3.Connection, number: int, checks: int, options: BrokerOptions, now: int, next_at: int
) -> int | None:
    if checks >= options.check_max:
        connection.execute(_PARK, (number,))
        return None
    connection.execute(_COUNT, (next_at, number))
    (check,) = connection.execute(_RECORD, (number, now)).fetchone()
    return int(check)


class CheckBack:
    """The thread of a producer that asks its checker."""

    def __init__(self, store: Store, group: str, checker: Checker) -> None:
        """Ask `checker` about the half messages of `group`, of every sender, until closed."""
        self._store = store
        self._group = group
        self._checker = checker
        self._closed = threading.Event()
        store.wakeup.start()
        self._thread = threading.Thread(
            target=keep_going, args=(self._step, self._closed, f"check-back of {group}"), name="broker-check-back"
        )
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Finish the check in flight, then stop."""
        self._closed.set()
        self._store.wakeup.ring()
        self._thread.join()

    def _step(self) -> None:
        if not self._store.wakeup.until_due(self._next_due, self._closed):
            return
        claimed = self._store.writer.do(lambda connection: claim(connection, self._group, self._store.options))
        while claimed and not self._closed.is_set():
            self._ask(claimed.pop(0))
        if claimed:  # the next asker takes them up
            self._store.writer.do(lambda connection: give_back(connection, claimed))

    def _next_due(self) -> int | None:
        ((due,),) = self._store.reader.query(
            "SELECT min(next_check_at) FROM messages WHERE stage = 'half' AND producer_group = ?", (self._group,)
        )
        return None if due is None else int(due)

    def _ask(self, asked: Asked) -> None:
        try:
            said = CheckAnswer(self._checker(asked[0]))
        except Exception:  # noqa: BLE001 (a checker is foreign code; what it raises is an answer too)
            structlog.get_logger().exception("broker.check_failed", message_id=asked[0].message_id)
            said = CheckAnswer.UNKNOWN
        self._store.writer.do(lambda connection: answer(connection, asked, said))
        if said is CheckAnswer.COMMIT:
            self._store.wakeup.ring()
