"""Zipkin, as far as it needs no Java."""

from pathlib import Path

import pytest

from ops.errors import CommandFailed
from ops.stack import zipkin
from ops.stack.zipkin import Zipkin


def test_a_jar_that_is_not_the_known_one_is_refused(tmp_path: Path) -> None:
    """Whatever a registry serves: what runs is what was looked at."""
    jar = tmp_path / "zipkin.jar"
    jar.write_bytes(b"something else")
    with pytest.raises(CommandFailed, match="is not what we know"):
        zipkin.verify(jar)


def test_where_none_runs_nothing_is_told_and_nothing_stopped(tmp_path: Path) -> None:
    """`orders down` asks in any data directory."""
    (tmp_path / "run").mkdir()
    none = Zipkin(tmp_path)
    none.down()
    assert none.url is None
