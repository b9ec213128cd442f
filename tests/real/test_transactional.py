"""The library's messages, inbox and outbox on PostgreSQL, and on MySQL or MariaDB with any default character set."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from halfmessage import failpoints
from halfmessage.contrib.migrations import VERSION_TABLE, upgrade
from halfmessage.transactional.tables import METADATA
from tests import postgresql
from tests.databases import Databases
from tests.library.shop import Base, Shop
from tests.support import eventually

pytestmark = pytest.mark.in_turn


@pytest.fixture(params=["mysql", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    server: Databases = request.getfixturevalue("server") if request.param == "mysql" else postgresql.server()
    yield server.create()
    if request.param == "postgresql":
        server.close()


@pytest.fixture(params=["embedded", "table://"])
def shop(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Shop]:
    broker = request.param if request.param == "table://" else f"embedded:///{tmp_path}/broker.db"
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    upgrade(engine)
    engine.dispose()
    made = Shop(url, broker)
    yield made
    made.close()


def test_each_order_that_stands_has_one_mail(shop: Shop) -> None:
    """Whatever fails, comes twice or is refused."""
    shop.fails = 2
    shop.tx.start()
    for order_id in range(1, 20):
        shop.pay(order_id)
    with pytest.raises(IntegrityError):
        shop.pay(7)
    with shop.tx.message("order_paid", key=7) as m, Session(shop.engine) as s, m.begin(s):
        m.body = {"order_id": 7, "note": "付款"}
    eventually(lambda: shop.tx.status().is_quiet, within=30)
    assert shop.mails() == shop.paid() == list(range(1, 20))


def test_the_tables_are_those_that_are_declared(url: str) -> None:
    """What migrations lead to, and what the code reads and writes."""
    engine = create_engine(url)
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


@pytest.mark.parametrize("point", ["before_commit", "committed"])
def test_a_crash_leaves_both_or_neither(shop: Shop, point: str) -> None:
    """Rows and message, decided by the one COMMIT."""
    shop.tx.start()
    failpoints.arm(f"order_paid.{point}=crash", [f"order_paid.{point}"])
    with pytest.raises(failpoints.Crashed):
        shop.pay(7)
    failpoints.arm("", [])
    eventually(lambda: shop.tx.status().is_quiet, within=30)
    assert shop.mails() == shop.paid() == ([7] if point == "committed" else [])
