"""`orders messages backlog`: as a table and as JSON."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from halfmessage.mq.port import Backlog
from ops.commands import messages
from ops.deployment import Deployment

FOUND = [Backlog("stock", "order_rollback", 3, 2, 12.34), Backlog("order", "order_timeout", 0, 0, 0.0)]


@pytest.fixture(autouse=True)
def _console(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def console() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(backlog=lambda: FOUND)

    monkeypatch.setattr(Deployment, "find", lambda _: SimpleNamespace(open_console=console))


def test_for_people(tmp_path: Path) -> None:
    """A line a group; nothing before it has no age."""
    lines = CliRunner().invoke(messages.command, ["--data-dir", str(tmp_path), "backlog"]).output.splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert cells == [["stock", "order_rollback", "3", "2", "12.3 s"], ["order", "order_timeout", "0", "0", "-"]]


def test_for_programs(tmp_path: Path) -> None:
    """With the names of the port."""
    done = CliRunner().invoke(messages.command, ["--data-dir", str(tmp_path), "backlog", "--json"])
    assert [Backlog(**one) for one in json.loads(done.output)] == FOUND
