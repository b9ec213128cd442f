"""A service of several processes on one port."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.deployment import Deployment, Plan, free_port_base
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Shop, at_once, placed, running
from tests.support import eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment of two processes a service."""
    deployment = Deployment(tmp_path_factory.mktemp("pair"), Plan(free_port_base(), extra={**QUICK, "workers": 2}))
    with running(deployment):
        yield deployment


@pytest.fixture
def shop(pair: Deployment) -> Iterator[Shop]:
    """Return that deployment, and what a test wants of it."""
    shop = Shop(pair)
    yield shop
    shop.close()


def workers(shop: Shop) -> list[int]:
    """Return the processes of the order service."""
    first = shop.deployment.supervisor.pid("order")
    assert first is not None
    found: list[int] = []
    for thread in Path(f"/proc/{first}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return [first, *found]


def listening(shop: Shop) -> int:
    """Return how many sockets listen on the order service's port."""
    wanted = f"{shop.deployment.plan.ports['order']:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{wanted}") and row[3] == "0A" for row in rows)


def counted(shop: Shop) -> float:
    """Return how many orders the service says it placed."""
    answer = shop.raw("order", "GET", "/metrics", headers=shop.bearer("admin", ["admin"]))
    lines = answer.data.decode().splitlines()
    return float(next(line for line in lines if line.startswith('orders_placed_total{outcome="created"}')).split()[-1])


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at Linux's list of sockets")
def test_one_of_them_dies(shop: Shop) -> None:
    """Both serve, what they count is one sum; one that is killed costs no order, and is started again."""
    eventually(lambda: listening(shop) == 2, within=20)
    user, tea = shop.user(), shop.goods(60)
    placed(user, {tea: 1})
    before = counted(shop)
    at_once([lambda: placed(user, {tea: 1})] * 30)
    assert counted(shop) == before + 30
    first, second = workers(shop)
    os.kill(second, signal.SIGKILL)
    eventually(lambda: len(now := workers(shop)) == 2 and second not in now and listening(shop) == 2, within=20)
    assert workers(shop)[0] == first
    at_once([lambda: placed(user, {tea: 1})] * 10)
    shop.assert_sound()
    assert shop.available(tea) == 60 - 41


def test_they_end_together(shop: Shop) -> None:
    """The first is killed: the others end by themselves, and the successor has the port."""
    eventually(lambda: listening(shop) == 2, within=20)
    first, second = workers(shop)
    shop.deployment.supervisor.kill("order", signal.SIGKILL)
    shop.deployment.supervisor.wait_gone(second)
    eventually(lambda: shop.deployment.supervisor.pid("order") not in {None, first}, within=20)
    shop.deployment.supervisor.wait_ready("order")
    eventually(lambda: listening(shop) == 2, within=20)
    user, tea = shop.user(), shop.goods(5)
    placed(user, {tea: 1})
    shop.assert_sound()
