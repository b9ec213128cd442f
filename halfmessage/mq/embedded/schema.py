"""The tables of the broker's file. Times are ms since the epoch, UTC.

A message's `stage` says how far its sender is with it; each group's progress with it is a row of `deliveries`.
Triggers do the fan-out, so a send, a begin and a resolve are one statement each, and no code path can forget it.
"""

import sqlite3
from contextlib import suppress

from halfmessage.errors import BrokerError

APPLICATION_ID = 0x4F524251  # "ORBQ"; see the registry's rules in https://sqlite.org/pragma.html#pragma_application_id
VERSION = 4
OLDEST_SQLITE = (3, 35, 0)  # RETURNING

_TABLES = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused, also not after retention deleted the newest
    stage TEXT NOT NULL CHECK (stage IN ('half', 'parked', 'visible', 'dropped')),
    born_at INTEGER NOT NULL,
    deliver_at INTEGER,        -- of a delayed message
    resolution TEXT CHECK (resolution IN ('commit', 'rollback')),
    resolved_at INTEGER,
    next_check_at INTEGER,     -- of a half message
    check_count INTEGER NOT NULL DEFAULT 0,
    producer_group TEXT NOT NULL,
    topic TEXT NOT NULL,
    tag TEXT NOT NULL,
    keys TEXT NOT NULL,        -- JSON array, in the sender's order
    properties TEXT NOT NULL,  -- JSON object
    checksum INTEGER,          -- see `messages.checksum`; NULL: of a build before version 3
    body BLOB NOT NULL         -- last: what comes before it is read without its overflow pages
);
CREATE INDEX messages_unresolved ON messages (producer_group, next_check_at) WHERE stage = 'half';
CREATE INDEX messages_parked ON messages (id) WHERE stage = 'parked';

CREATE TABLE message_keys (
    key TEXT NOT NULL,
    message_id INTEGER NOT NULL,
    PRIMARY KEY (key, message_id)
) WITHOUT ROWID;

CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    UNIQUE (topic, consumer_group)
);

CREATE TABLE deliveries (
    message_id INTEGER NOT NULL,
    subscription_id INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'dead')),
    visible_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    lease INTEGER,             -- the holder of this token may answer; a new claim makes a new token
    done_at INTEGER,
    pid INTEGER,               -- the process that claimed it last
    PRIMARY KEY (message_id, subscription_id)
) WITHOUT ROWID;
CREATE INDEX deliveries_pending ON deliveries (subscription_id, visible_at) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (subscription_id) WHERE state = 'dead';

CREATE TABLE checks (
    message_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    answer TEXT,               -- NULL: no answer came
    pid INTEGER,               -- the process that asked its checker
    PRIMARY KEY (message_id, number)
) WITHOUT ROWID;

CREATE TABLE housekeeping (
    purge_at INTEGER NOT NULL, -- when the next pass is due; the process that moves it on makes the pass
    pinged_at INTEGER NOT NULL
);
INSERT INTO housekeeping VALUES (0, 0);

CREATE TRIGGER messages_index_keys AFTER INSERT ON messages BEGIN
    INSERT OR IGNORE INTO message_keys (key, message_id) SELECT value, NEW.id FROM json_each(NEW.keys);
END;
CREATE TRIGGER messages_sent AFTER INSERT ON messages WHEN NEW.stage = 'visible' BEGIN
    INSERT INTO deliveries (message_id, subscription_id, visible_at)
    SELECT NEW.id, id, coalesce(NEW.deliver_at, NEW.born_at) FROM subscriptions WHERE topic = NEW.topic;
END;
CREATE TRIGGER messages_committed AFTER UPDATE OF stage ON messages
WHEN NEW.stage = 'visible' AND OLD.stage <> 'visible' BEGIN
    INSERT INTO deliveries (message_id, subscription_id, visible_at)
    SELECT NEW.id, id, NEW.resolved_at FROM subscriptions WHERE topic = NEW.topic;
END;
CREATE TRIGGER subscriptions_start AFTER INSERT ON subscriptions BEGIN
    INSERT INTO deliveries (message_id, subscription_id, visible_at)
    SELECT id, NEW.id, coalesce(deliver_at, resolved_at, born_at)
    FROM messages WHERE topic = NEW.topic AND stage = 'visible';
END;
"""
_DELETED = """
CREATE TRIGGER messages_deleted AFTER DELETE ON messages BEGIN
    DELETE FROM message_keys WHERE message_id = OLD.id AND key IN (
        SELECT value FROM json_each(CASE WHEN json_valid(OLD.keys) THEN OLD.keys ELSE '[]' END)  -- damage can't stop it
    );
    DELETE FROM deliveries WHERE message_id = OLD.id;
    DELETE FROM checks WHERE message_id = OLD.id;
END;
"""

# what the console looks by: messages of a topic, and of a group, the newest first. No other statement has the sum:
# without it SQLite took this index for those of consumers, which others serve better
_LOOKED_BY = (
    "CREATE INDEX messages_by_topic ON messages (topic)",  # and by number: an index ends with it
    "CREATE INDEX deliveries_by_subscription ON deliveries (subscription_id + 0, message_id)",
)

# to each version from the one before; processes of the older build go on meanwhile, and write no pid, and no checksum
_UPGRADES: dict[int, tuple[str, ...]] = {
    2: ("ALTER TABLE deliveries ADD COLUMN pid INTEGER", "ALTER TABLE checks ADD COLUMN pid INTEGER"),
    3: ("ALTER TABLE messages ADD COLUMN checksum INTEGER", "DROP TRIGGER messages_deleted", _DELETED),
    4: _LOOKED_BY,
}


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty file, or bring ours to this version. Raise `BrokerError`, `sqlite3.Error`."""
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # has an effect only before the first page is written
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(connection):
            _create(connection)
        _upgrade(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite did it by itself, after some errors
            connection.execute("ROLLBACK")
        raise


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(tables == 0)


def _create(connection: sqlite3.Connection) -> None:
    # not executescript: it would commit the transaction that keeps two creators apart
    statement = ""
    for line in (_TABLES + _DELETED).splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    for statement in _LOOKED_BY:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={VERSION}")


def _upgrade(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
        raise BrokerError("The broker's file is another program's database; name a file of its own.")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if 0 < version < VERSION:
        for number in range(version + 1, VERSION + 1):
            for statement in _UPGRADES[number]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={VERSION}")
    elif version != VERSION:
        raise BrokerError(
            f"The broker's file has schema version {version}, this build knows {VERSION}; use the build that made it."
        )
