"""What a search of the embedded broker's console looks at: a page's worth, however many messages there are."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from halfmessage.clock import now_ms
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.embedded.console import EmbeddedConsole
from halfmessage.mq.port import BrokerOptions, MessageView, State

MANY = 5000
PAGE = 5
STEPS = 100  # of SQLite's machine, at each of which it is counted
MOST = 10_000  # of its steps for a page: to look at every message takes several times as many
AT = now_ms() - 1000

_INSERT = (
    "INSERT INTO messages (stage, born_at, deliver_at, producer_group, topic, tag, keys, properties, body)"
    " VALUES (?, ?, ?, 'order', ?, '', '[\"7\"]', '{}', x'00')"
)


def steps_of(console: EmbeddedConsole, look: Callable[[], object]) -> int:
    """Look; return how many steps SQLite's machine made for that."""
    console.stats()  # connects
    connection, counted = console._reader._connection, [0]
    assert connection is not None

    def count() -> int:
        counted[0] += STEPS
        return 0

    connection.set_progress_handler(count, STEPS)
    try:
        look()
    finally:
        connection.set_progress_handler(None, 0)
    return counted[0]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """Return a broker with old ones of each kind, and very many newer messages that were rolled back or are done."""
    path: Path = tmp_path_factory.mktemp("broker") / "broker.db"
    with closing(EmbeddedBroker(path, BrokerOptions())) as made:
        with closing(sqlite3.connect(path)) as raw:
            groups = [("many", "stock"), ("few", "rare"), ("few", "stock"), ("none", "never")]
            raw.executemany("INSERT INTO subscriptions (topic, consumer_group) VALUES (?, ?)", groups)
            raw.executemany(_INSERT, [("visible", AT, None, "few")] * 3 + [("parked", AT, None, "many")] * 3)
            raw.executemany(_INSERT, [("visible", AT, None, "unheard")] * 3)
            raw.executemany(_INSERT, [("visible", AT, AT * 2, "many")] * 3)
            raw.execute("UPDATE deliveries SET state = 'done' WHERE message_id <= 2")
            before = raw.execute("SELECT max(id) FROM messages").fetchone()[0]
            raw.executemany(_INSERT, [("dropped", AT, None, "many")] * MANY)
            raw.executemany(_INSERT, [("visible", AT, None, "many")] * MANY)
            raw.execute("UPDATE deliveries SET state = 'done' WHERE message_id > ?", (before,))
            raw.commit()
        yield made


def test_what_groups_have_before_them_is_counted_without_what_is_done(broker: EmbeddedBroker) -> None:
    """Deliveries that are done, nearly all, are none of it: a process of each service asks, again and again."""
    console = broker.console()
    assert steps_of(console, console.backlog) <= MOST


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, PAGE),
        ({"topic": "few"}, 3),
        ({"topic": "nothing"}, 0),
        ({"topic": "few", "state": State.DONE}, 2),
        ({"topic": "many", "state": State.PARKED}, 3),
        ({"topic": "many", "state": State.HALF}, 0),
        ({"topic": "many", "key": "nothing"}, 0),
        ({"group": "rare"}, 3),
        ({"group": "rare", "state": State.DONE}, 2),
        ({"group": "rare", "topic": "many"}, 0),
        ({"group": "stock"}, PAGE),
        ({"group": "stock", "topic": "few"}, 3),
        ({"group": "never"}, 0),
        ({"group": "nobody"}, 0),
        ({"state": State.READY}, 4),
        ({"state": State.DELAYED}, 3),
        ({"state": State.IN_FLIGHT}, 0),
        ({"state": State.DEAD}, 0),
        ({"state": State.DONE}, PAGE),
        ({"born_from": AT - 5, "group": "rare"}, 3),
        ({"before": (AT, f"{MANY // 2:016X}"), "group": "stock"}, PAGE),
    ],
)
def test_a_search_looks_at_no_more_than_a_page(broker: EmbeddedBroker, asked: dict[str, Any], found: int) -> None:
    """Of what is rare too: it is not looked for among all that is newer."""
    console, seen = broker.console(), list[MessageView]()
    assert steps_of(console, lambda: seen.extend(console.find(limit=PAGE, **asked))) <= MOST
    assert len(seen) == found
    numbers = [view.message_id for view in seen]
    assert numbers == sorted(numbers, reverse=True)
