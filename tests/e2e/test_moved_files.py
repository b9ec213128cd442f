"""A service's database file is moved or replaced while it runs: 503 from then on, and no 201 into that file."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.shop import Shop, place, placed, slug
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.embedded("a server looks after its own files")]


def _moved(database: Path, aside: Path) -> None:
    """Move the file alone, as `mv` does."""
    database.rename(aside / database.name)


def _replaced(database: Path, aside: Path) -> None:
    """Put a copy in its place, as a restore does."""
    copy = aside / "copy"
    with closing(sqlite3.connect(database)) as there, closing(sqlite3.connect(copy)) as here:
        there.backup(here)
    database.rename(aside / database.name)
    copy.rename(database)


def _log_moved(database: Path, aside: Path) -> None:
    """Move its log, with which the newest rows go."""
    log = database.with_name(f"{database.name}-wal")
    log.rename(aside / log.name)


@contextmanager
def _taken(database: Path, aside: Path, how: Callable[[Path, Path], None]) -> Iterator[None]:
    aside.mkdir()
    how(database, aside)
    try:
        yield
    finally:
        for moved in aside.iterdir():
            moved.rename(database.with_name(moved.name))
        aside.rmdir()


@pytest.mark.parametrize("how", [_moved, _replaced, _log_moved])
@pytest.mark.parametrize("service", ["order", "stock"])
def test_nothing_is_acknowledged_into_a_file_that_is_not_there(
    shop: Shop, tmp_path: Path, service: str, how: Callable[[Path, Path], None]
) -> None:
    """Every order is refused and says so, `/readyz` too; put back, the service goes on, and what it said was true."""
    user, tea = shop.user(), shop.goods(stock=100)
    before = [placed(user, {tea: 1}, key=f"{tmp_path}-{i}")["order_id"] for i in range(3)]
    with _taken(shop.deployment.directory.root / f"{service}.db", shop.deployment.directory.root / "aside", how):
        answers = [place(user, {tea: 1}, key=f"{tmp_path}-away-{i}") for i in range(10)]
        assert {answer.status for answer in answers} == {503}
        assert {slug(answer) for answer in answers} <= {"unavailable", "outcome-unknown"}
        eventually(lambda: shop.raw(service, "GET", "/readyz").status == 503)
    eventually(lambda: shop.raw("order", "GET", "/readyz").status == 200, within=30)
    assert {user.get("order", f"/orders/{order_id}")["status"] for order_id in before} == {"created"}
    assert eventually(lambda: place(user, {tea: 1}).status == 201, within=30)
    shop.assert_sound()
    assert shop.available(tea) == 100 - len(before) - 1
