"""A service's database file is moved or replaced while it runs: 503 from then on, and no 201 into that file."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lab.drill.sut import sale_terms
from ops.client import Answer
from tests.e2e.shop import Shop, pay, place, placed, slug
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


def _writes(shop: Shop, service: str) -> Callable[[], Answer]:
    """Return a call that has a service write something of its own."""
    user, tea = shop.user(), shop.goods(stock=100)
    sale = shop.admin.post("flash", "/flash-sales", sale_terms(tea, 10))["sale_id"]
    order_id = placed(user, {tea: 1})["order_id"]
    calls: dict[str, Callable[[], Answer]] = {
        "goods": lambda: shop.admin.ask("goods", "PATCH", f"/goods/{tea}", json_body={"name": "Green tea"}),
        "coupon": lambda: shop.admin.ask("coupon", "POST", "/coupons", json_body=_COUPON),
        "pay": lambda: pay(user, order_id),
        "sandbox": lambda: pay(user, order_id),
        "flash": lambda: user.ask("flash", "POST", f"/flash-sales/{sale}/orders", json_body={"quantity": 1}),
        "user": lambda: user.ask("user", "POST", "/users", json_body={"name": shop.name(), "password": _PASSWORD}),
    }
    return calls[service]


_COUPON = {"kind": "amount", "value": 100, "currency": "EUR", "uses": 1}
_PASSWORD = "correct horse battery staple"  # nosec B105 - of a test


@pytest.mark.parametrize("how", [_moved, _replaced])
@pytest.mark.parametrize("service", ["goods", "coupon", "pay", "sandbox", "flash", "user"])
def test_each_service_says_that_its_file_is_not_there(
    shop: Shop, service: str, how: Callable[[Path, Path], None]
) -> None:
    """What it is to write is refused, `/readyz` is red; once the file is put back, it is done."""
    write = _writes(shop, service)
    with _taken(shop.deployment.directory.root / f"{service}.db", shop.deployment.directory.root / "aside", how):
        answer = write()
        assert (answer.status, slug(answer)) in {(503, "unavailable"), (503, "outcome-unknown")}
        eventually(lambda: shop.raw(service, "GET", "/readyz").status == 503)
    eventually(lambda: shop.raw(service, "GET", "/readyz").status == 200, within=30)
    eventually(lambda: shop.raw("order", "GET", "/readyz").status == 200, within=30)
    assert eventually(lambda: write().status < 300, within=30)
    shop.assert_sound()
