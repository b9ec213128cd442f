"""Transactional messages in an `AsyncSession`: what the ordinary ones promise, and what happens to cancelled tasks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, insert, make_url, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from halfmessage import failpoints
from halfmessage.db import prepare
from halfmessage.errors import CommitOutcomeUnknown, FailpointRaised, Misconfigured
from halfmessage.mq.port import BrokerOptions
from halfmessage.transactional import Options, TransactionalMessages
from tests import postgresql
from tests.contract.rocketmq import required
from tests.databases import Databases, Server
from tests.library.shop import FAST, Paid, Shop
from tests.support import eventually

pytestmark = pytest.mark.embedded("the broker port has contract tests on real servers; this is what stands on it")

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+aiomysql"}
NEVER_ASKED = Options(broker=BrokerOptions(check_first_after=3600))


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return where an empty database is."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shop.db"
        return
    server: Databases = Server(required("ORDERS_TEST_MYSQL")) if request.param == "mysql" else postgresql.server()
    yield server.create()
    server.close()


@pytest.fixture
def unasked(tmp_path: Path) -> Iterator[Shop]:
    """Return a shop whose broker asks about no half message."""
    made = Shop.new(tmp_path, "embedded", NEVER_ASKED)
    yield made
    made.close()


@asynccontextmanager
async def engine_of(shop: Shop) -> AsyncIterator[AsyncEngine]:
    """Open an engine of asyncio on the shop's database."""
    url = make_url(shop.engine.url)
    engine = create_async_engine(url.set(drivername=_DRIVERS[url.get_backend_name()]))
    prepare(engine.sync_engine)
    try:
        yield engine
    finally:
        await engine.dispose()


async def pay(tx: TransactionalMessages, engine: AsyncEngine, order_id: int, last: Any = None) -> None:
    """Mark an order as paid, and tell; `last` is awaited at the end of the transaction."""
    async with tx.async_message("order_paid", key=order_id) as m, AsyncSession(engine) as s, m.begin(s):
        s.add(Paid(order_id=order_id))
        m.body = {"order_id": order_id}
        if last is not None:
            await last(s)


def run(shop: Shop, work: Callable[[AsyncEngine], Any]) -> None:
    """Run `work` in an event loop of its own, on an engine of the shop's."""

    async def main() -> None:
        async with engine_of(shop) as engine:
            await work(engine)

    asyncio.run(main())


def test_what_is_committed_is_told_once(shop: Shop) -> None:
    """Many at once, in one event loop."""
    shop.tx.start()

    async def work(engine: AsyncEngine) -> None:
        await asyncio.gather(*(pay(shop.tx, engine, order_id) for order_id in range(20)))

    run(shop, work)
    eventually(lambda: shop.mails() == list(range(20)), within=30)
    eventually(lambda: shop.tx.status().is_quiet)
    assert shop.paid() == shop.mails() == list(range(20))


def test_what_fails_is_not_told(shop: Shop) -> None:
    """What the block raises, what the database refuses, and a commit in the middle."""
    shop.tx.start()

    async def fail(_: AsyncSession) -> None:
        raise ZeroDivisionError

    async def work(engine: AsyncEngine) -> None:
        await pay(shop.tx, engine, 1)
        with pytest.raises(ZeroDivisionError):
            await pay(shop.tx, engine, 2, fail)
        with pytest.raises(IntegrityError):
            await pay(shop.tx, engine, 1)
        with pytest.raises(Misconfigured, match="don't commit"):
            await pay(shop.tx, engine, 3, AsyncSession.commit)
        with pytest.raises(Misconfigured, match="don't commit"):
            await pay(shop.tx, engine, 4, AsyncSession.rollback)

    run(shop, work)
    eventually(lambda: shop.mails() == [1])
    eventually(lambda: shop.tx.status().is_quiet)
    assert (shop.paid(), shop.mails()) == ([1], [1])


def test_a_message_has_one_transaction(unasked: Shop) -> None:
    """One that has none is an error, and so is a second one."""

    async def work(engine: AsyncEngine) -> None:
        with pytest.raises(Misconfigured, match="Nothing was sent"):
            async with unasked.tx.async_message("order_paid", key=1):
                pass
        async with unasked.tx.async_message("order_paid", key=1, body={"order_id": 1}) as m:
            async with AsyncSession(engine) as s, m.begin(s):
                assert await s.scalar(select(func.count()).select_from(Paid)) == 0
                with pytest.raises(Misconfigured):
                    m.body = {"order_id": 2}
            with pytest.raises(Misconfigured, match="one transaction"):
                async with AsyncSession(engine) as s, m.begin(s):
                    pass

    run(unasked, work)


def test_an_engine_that_was_not_prepared_is_refused(unasked: Shop) -> None:
    """SQLite's would read, then fail to write, wherever two write at once."""

    async def main() -> None:
        engine = create_async_engine(unasked.engine.url.set(drivername="sqlite+aiosqlite"))
        with pytest.raises(Misconfigured, match="prepare"):
            await pay(unasked.tx, engine, 1)
        await engine.dispose()

    asyncio.run(main())
    assert unasked.paid() == []


def test_a_task_that_is_cancelled_rolls_back_and_drops(unasked: Shop) -> None:
    """As the client of a web request went away: the broker is told at once."""

    async def work(engine: AsyncEngine) -> None:
        inside = asyncio.Event()

        async def cancelled() -> None:
            message = unasked.tx.async_message("order_paid", key=7, body={"order_id": 7})
            async with message as m, AsyncSession(engine) as s, m.begin(s):
                await s.execute(insert(Paid), {"order_id": 7})
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(cancelled())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(unasked, work)
    assert (unasked.paid(), unasked.tx.status().stats.half) == ([], 0)


def test_a_task_that_is_cancelled_in_commit_ends_it_first(unasked: Shop) -> None:
    """Also if it is cancelled twice: what was committed goes out, by the task itself."""
    unasked.tx.start()

    async def work(engine: AsyncEngine) -> None:
        task: asyncio.Task[None]

        def cancel(_: Any) -> None:
            asyncio.get_running_loop().call_soon(task.cancel)
            asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(task.cancel))

        event.listen(engine.sync_engine, "commit", cancel)
        task = asyncio.create_task(pay(unasked.tx, engine, 7))
        with pytest.raises(asyncio.CancelledError):
            await task

    run(unasked, work)
    assert unasked.paid() == [7]
    eventually(lambda: unasked.mails() == [7])


@pytest.mark.usefixtures("disarmed")
def test_what_was_committed_before_a_crash_is_told(tmp_path: Path) -> None:
    """The check-back finds the record that the session of asyncio wrote."""
    shop = Shop.new(tmp_path, "embedded", FAST)
    shop.tx.start()

    async def work(engine: AsyncEngine) -> None:
        failpoints.arm("order_paid.committed=raise", ["order_paid.committed"])
        with pytest.raises(CommitOutcomeUnknown):
            await pay(shop.tx, engine, 7)
        failpoints.arm("order_paid.before_commit=raise", ["order_paid.before_commit"])
        with pytest.raises(FailpointRaised):
            await pay(shop.tx, engine, 8)

    run(shop, work)
    eventually(lambda: shop.mails() == [7])
    eventually(lambda: shop.tx.status().is_quiet)
    assert shop.paid() == [7]
    shop.close()


def test_a_consumer_that_is_a_coroutine_function_is_refused(unasked: Shop) -> None:
    """It would never be awaited, and its message be acknowledged."""

    async def send(_body: Any, _session: Any) -> None:
        """Do nothing."""

    with pytest.raises(Misconfigured, match="async def"):
        unasked.tx.consumer("order_paid", group="letters")(send)
