"""What somebody must do now and then: count missed check-backs, delete what is old, follow a clock set back."""

import sqlite3
import threading
import time
from contextlib import closing
from functools import partial

from halfmessage.chunks import by_weight
from halfmessage.clock import now_ms
from halfmessage.mq.embedded import checkback, clockset
from halfmessage.mq.embedded.store import Store, in_ms
from halfmessage.mq.embedded.wakeup import keep_going

_PURGE_EVERY = 60.0  # seconds, all processes together
_CHUNK = 500  # messages looked at in one transaction
_HEAVIEST = 5000  # rows deleted in one transaction: messages with their keys; one message may have more
_PAGES = 500  # pages given back to the file system in one transaction

_NEXT = """
SELECT id, born_at, CASE WHEN json_valid(keys) THEN json_array_length(keys) ELSE 0 END
FROM messages WHERE id > ? ORDER BY id LIMIT ?
"""
_DELETE = """
DELETE FROM messages WHERE id > :after AND id <= :last AND (
    (stage = 'dropped' AND resolved_at < :before)
    OR (stage = 'visible' AND max(born_at, coalesce(deliver_at, 0), coalesce(resolved_at, 0)) < :before
        AND NOT EXISTS (
            SELECT 1 FROM deliveries AS d
            WHERE d.message_id = messages.id AND (d.state <> 'done' OR d.done_at >= :before)
        ))
)
"""


def purge_chunk(connection: sqlite3.Connection, after: int, before: int, now: int) -> int | None:
    """Delete what ended before `before` among the next messages; return where to go on, None at the end.

    Numbers and birth times rise together, so the walk ends at the first message that is too young; but not at those
    that were sent while the clock was ahead.
    """
    with closing(connection.execute(_NEXT, (after, _CHUNK))) as rows:
        chunk = next(by_weight(rows, lambda row: 1 + int(row[2]), _HEAVIEST), [])
    old = [number for number, born_at, _ in chunk if not before <= born_at <= now]
    if old:
        connection.execute(_DELETE, {"after": after, "last": old[-1], "before": before})
    return old[-1] if old and len(old) == len(chunk) else None


def vacuum_chunk(connection: sqlite3.Connection) -> bool:
    """Give free pages back to the file system; tell whether more are left."""
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()  # each row frees one page
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return bool(free)


def claim_purge(connection: sqlite3.Connection) -> bool:
    """Take the next pass for ourselves, if it is due."""
    now = now_ms()
    cursor = connection.execute(
        "UPDATE housekeeping SET purge_at = ?1 WHERE purge_at NOT BETWEEN ?2 AND ?1",
        (now + in_ms(_PURGE_EVERY), now + 1),
    )
    return cursor.rowcount == 1


class Housekeeper:
    """One thread in each process; the processes share the work."""

    def __init__(self, store: Store) -> None:
        """Start at once."""
        self._store = store
        self._closed = threading.Event()
        self._next_look = 0.0
        self._clock = clockset.watch(store.reader)
        self._thread = threading.Thread(
            target=keep_going, args=(self._step, self._closed, "housekeeping"), name="broker-housekeeper", daemon=True
        )
        self._thread.start()

    def purge(self) -> None:
        """Delete what is older than the retention and needs no attention, and shrink the file."""
        now = now_ms()
        before = now - in_ms(self._store.options.retention)
        position: int | None = 0
        while position is not None and not self._closed.is_set():
            position = self._store.writer.do(partial(purge_chunk, after=position, before=before, now=now))
        while not self._closed.is_set() and self._store.writer.do(vacuum_chunk):
            pass
        self._store.reader.query("PRAGMA wal_checkpoint(PASSIVE)")  # the file itself shrinks only here

    def close(self) -> None:
        """Stop after the transaction in flight."""
        self._closed.set()
        self._thread.join()

    def _bring_near(self) -> None:
        self._store.writer.do(lambda connection: clockset.bring_near(connection, self._store.options))
        self._store.wakeup.ring()

    def _step(self) -> None:
        self._clock.follow(self._bring_near)
        if checkback.missed(self._store.reader, self._store.options):
            self._store.writer.do(lambda connection: checkback.count_missed(connection, self._store.options))
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _PURGE_EVERY
            if self._store.writer.do(claim_purge):
                self.purge()
        self._closed.wait(min(self._store.options.check_interval, _PURGE_EVERY))
