"""A clock that is set back: what was to happen soon must not wait until the clock has caught up.

The file holds times of the wall clock, for processes come and go. With the clock an hour back, what was sent, claimed,
put off or to be checked just now would come an hour late. So no such time may lie further ahead than it could have
been set by now. A delayed message is left alone: its time is a time of day, and comes when the clock says so.
"""

import sqlite3

import structlog

from halfmessage.clock import NOTICED, Watch, now_ms
from halfmessage.mq.embedded.reader import Reader
from halfmessage.mq.embedded.store import in_ms
from halfmessage.mq.port import BrokerOptions

_CHECKS = "UPDATE messages SET next_check_at = :now WHERE stage = 'half' AND next_check_at > :now + :check"
_CLAIMED = """
UPDATE deliveries SET visible_at = :now + :invisible
WHERE state = 'pending' AND lease IS NOT NULL AND visible_at > :now + :invisible
"""
_PUT_OFF = """
UPDATE deliveries SET visible_at = :now
WHERE state = 'pending' AND lease IS NULL AND attempts > 0 AND visible_at > :now + :retry
"""
_SENT = """
UPDATE deliveries SET visible_at = :now
WHERE state = 'pending' AND lease IS NULL AND attempts = 0 AND visible_at > :now
AND EXISTS (SELECT 1 FROM messages WHERE id = message_id AND deliver_at IS NULL)
"""


def watch(reader: Reader) -> Watch:
    """Return what sees a clock go back; at the first look, by the newest message in the file."""
    return Watch(lambda: _newest_is_of_the_future(reader))


def _newest_is_of_the_future(reader: Reader) -> bool:
    newest = reader.query("SELECT born_at FROM messages ORDER BY id DESC LIMIT 1")
    return bool(newest) and int(newest[0][0]) > now_ms() + NOTICED


def bring_near(connection: sqlite3.Connection, options: BrokerOptions) -> None:
    """Move what lies too far ahead to where it could have been set by now; under a right clock that is nothing."""
    times = {
        "now": now_ms(),
        "check": in_ms(max(options.check_first_after, options.check_interval)),
        "invisible": in_ms(options.invisible_for),
        "retry": in_ms(options.retry_longest),
    }
    moved = sum(connection.execute(statement, times).rowcount for statement in (_CHECKS, _CLAIMED, _PUT_OFF, _SENT))
    structlog.get_logger().warning("broker.clock_went_back", moved=moved)
