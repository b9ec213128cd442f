"""A deployment of the release before, with orders of every kind, is migrated and goes on; on MySQL or MariaDB."""

from pathlib import Path

import pytest

from tests.databases import Server
from tests.upgrade.keeps import keeps_every_promise

pytestmark = pytest.mark.in_turn


def test_every_promise_is_kept(tmp_path: Path, server: Server) -> None:
    """Open, overdue, paid, closed and half-placed orders of a stored copy end as they would have."""
    keeps_every_promise(tmp_path, server.create(), server.create())
