"""Whatever legal path a data directory has: the file that a URL names is the file of that path, and no other."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url

from common.db import Database
from halfmessage.errors import HalfMessageError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions
from halfmessage.paths import EMBEDDED, SQLITE, file_path, file_url, sqlite_uri
from ops.errors import CommandFailed
from ops.places import DataDir

NAMES = st.text(
    st.one_of(
        st.sampled_from("#?%;&'\"\\ \t\n\r+=@:,|*[]{}$`~<>()!2éß😀\u2028-"),
        st.characters(exclude_characters="/\x00", exclude_categories=("Cs",)),
    ),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in {".", ".."})
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: Path("/", *names))


@given(PATHS, st.sampled_from([EMBEDDED, SQLITE]))
@example(Path("/x/run #1/broker.db"), EMBEDDED)
@example(Path("/x/50%20off?/ -a\n"), SQLITE)
def test_a_url_names_the_path_it_was_made_of(path: Path, scheme: str) -> None:
    """What one function writes, the other reads, and SQLAlchemy too; a relative path stays one."""
    for written in (path, path.relative_to("/")):
        url = file_url(scheme, written)
        assert file_path(url) == written
        assert make_url(url).database == str(written)


@settings(max_examples=12, deadline=None)
@given(NAMES)
@example("run #1")
@example("a?b%23c")
def test_databases_and_the_broker_are_made_in_the_directory_and_nowhere_else(name: str) -> None:
    """Beside the directory nothing appears: `run #1` and `run #2` would share it."""
    with TemporaryDirectory() as parent:
        place = DataDir(Path(parent, name))
        place.root.mkdir()
        database = Database(place.database_url("order"))
        database.ping()
        database.close()
        open_broker(place.broker_url, BrokerOptions()).close()
        with closing(sqlite3.connect(sqlite_uri(place.root / "broker.db", "ro"), uri=True)) as connection:
            assert connection.execute("SELECT count(*) FROM messages").fetchone() == (0,)
        assert os.listdir(parent) == [name]  # noqa: PTH208 - the name as it is
        assert {path.name for path in place.root.iterdir()} >= {"order.db", "broker.db"}


@pytest.mark.parametrize(
    "url",
    ["embedded:////x/run #1/broker.db", "embedded:////x/a?b/broker.db", "embedded:////x/broker.db?", "sqlite:///"],
)
def test_a_url_that_would_be_cut_is_refused(url: str) -> None:
    """Where a person wrote a path into a URL as it is, the rest of it is not dropped in silence."""
    with pytest.raises(HalfMessageError, match="URL"):
        file_path(url)


@pytest.mark.parametrize(("root", "why"), [("/tmp/" + "x" * 400, "405 bytes"), (os.fsdecode(b"/tmp/\xff"), "UTF-8")])
def test_a_path_that_can_t_work_is_refused_before_anything_is_written(root: str, why: str) -> None:
    """Too long for SQLite, or not to be written into a variable: one line."""
    with pytest.raises(CommandFailed, match=why):
        DataDir(Path(root))
