"""What all tests share."""

import argparse
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import Phase, settings
from sqlalchemy import Engine, event

from halfmessage.mq.embedded.file import BrokerFile
from tests.databases import USE_CASES
from tests.promises import PROMISES
from tests.stack import REAL
from tests.support import SetClock

# A property that fails says at once with what, whatever an example costs. Hypothesis makes examples smaller for up to
# five minutes (https://github.com/HypothesisWorks/hypothesis/issues/2340), which is longer than a test may take, and a
# test that is ended by its time limit prints none. `--hypothesis-profile=smallest --timeout=0` does it when asked to.
settings.register_profile("smallest", settings(), deadline=None, print_blob=True)
settings.register_profile(
    "at-once",
    settings.get_profile("smallest"),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    report_multiple_bugs=False,
)
settings.load_profile("at-once")

UNMEASURED = frozenset({"model", "e2e", "drills"})
"""Directories of tests that run models, or processes of their own, which are not measured: that would take their own
process a third more of the processor."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take which part of the tests that are marked `in_turn` is to run."""
    help_ = "2/4: of the tests marked in_turn each fourth, from the second; .ci/run has others of them run each time"
    parser.addoption("--in-turn", default="1/1", metavar="K/N", type=_part, help=help_)


def _part(text: str) -> tuple[int, int]:
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part of a whole: give 1/4, 2/4, 3/4 or 4/4")
    return int(number), int(of)


def pytest_configure(config: pytest.Config) -> None:
    """Know the promises' markers."""
    for number, promise in PROMISES.items():
        config.addinivalue_line("markers", f"{number}: {promise}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip on real servers what has nothing to say of them; measure lines only where they run in this process.

    Leave out those whose turn it is not.
    """
    number, of = config.getoption("--in-turn")
    waiting = [item for item in items if item.get_closest_marker("in_turn")]
    left_out = set(waiting) - set(waiting[number - 1 :: of])
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if item.path.relative_to(item.config.rootpath).parts[1] in UNMEASURED:
            item.add_marker("no_cover")
        if REAL and (marker := item.get_closest_marker("embedded")):
            item.add_marker(pytest.mark.skip(reason=f"on the embedded broker and SQLite only: {marker.args[0]}"))


@pytest.fixture(scope="session", autouse=True)
def _databases() -> Iterator[None]:
    """Drop what the tests of use cases made on a real server."""
    yield
    USE_CASES.close()


@pytest.fixture(scope="session", autouse=True)
def _sqlite_of_the_fewest_variables() -> Iterator[None]:
    """Have every SQLite connection refuse what one that is built for 999 host variables would."""

    def limit(connection: Any, _record: object = None) -> Any:
        if isinstance(connection, sqlite3.Connection):
            connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        return connection

    connect = BrokerFile._connect
    event.listen(Engine, "connect", limit)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BrokerFile, "_connect", lambda *args, **named: limit(connect(*args, **named)))
        yield
    event.remove(Engine, "connect", limit)


@pytest.fixture(scope="session", autouse=True)
def _plain_tracebacks() -> None:
    """Write an exception as Python does: structlog has Rich, where that is installed, draw each frame's variables.

    That takes a busy machine seconds, in the thread that is to go on; services write JSON, without them.
    """
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*structlog.get_config()["processors"][:-1], renderer])


@pytest.fixture(autouse=True)
def _no_context() -> None:
    """Begin each test without what requests of another one bound to its log lines."""
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Return what sets the wall clock, by seconds from the right time."""
    true, shift = time.time_ns, [0]

    def set_by(seconds: float) -> None:
        shift[0] = int(seconds * 1e9)

    monkeypatch.setattr(time, "time_ns", lambda: true() + shift[0])
    return set_by
