"""Several instances of each service: killing any one of them loses nothing, the others take over."""

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from common.events import ROLLBACK_TOPIC
from common.mq.port import Resolution
from ops.client import Answer
from tests.drills.conftest import running_site
from tests.drills.site import STOCK, Site
from tests.drills.test_random_kills import drill

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]

AT_ONCE = 50


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Start two order and two stock processes; stop them after the module's tests."""
    with running_site(tmp_path_factory.mktemp("instances"), {"order": 2, "stock": 2}) as site:
        yield site


@pytest.fixture(autouse=True)
def _whole(site: Site) -> Iterator[None]:
    """Bring back what a test held down."""
    yield
    for name in site.deployment.plan.processes:
        site.supervisor.release(name)
    site.supervisor.wait_ready(within=60)


def test_another_instance_answers_the_check_back(site: Site) -> None:
    """An order process dies right after the deduction and stays dead: the other one settles its half message."""
    goods_id, user = site.new_goods(), site.user()
    site.supervisor.hold("order-2")
    pid = site.arm("order-2", "order.deducted=kill")
    assert site.place(user, goods_id, at="order-2") is None
    site.supervisor.wait_gone(pid)
    site.settle()
    assert site.supervisor.pid("order-2") is None, "it was to stay dead"
    (half,) = site.broker.console().find(topic=ROLLBACK_TOPIC, limit=1)
    assert half.resolution is Resolution.COMMIT
    assert half.check_count >= 1
    assert site.orders(user) == []
    assert site.available(goods_id) == STOCK


def test_another_instance_takes_over_a_delivery(site: Site) -> None:
    """A stock process dies over a rollback and stays dead: the message comes again, to the other one."""
    goods_id, user = site.new_goods(), site.user()
    placed = site.place(user, goods_id)
    assert placed is not None
    site.supervisor.hold("stock-2")
    pid = site.arm("stock-2", "stock.rollback_received=kill")
    site.supervisor.kill("stock", signal.SIGSTOP)  # so that the one that is to die gets it
    try:
        cancelled = site.call(user, f"/orders/{placed.body['order_id']}/cancel")
        assert cancelled is not None
        assert cancelled.status == 200
        site.supervisor.wait_gone(pid)
    finally:
        site.supervisor.kill("stock", signal.SIGCONT)
    site.settle()
    assert site.supervisor.pid("stock-2") is None, "it was to stay dead"
    assert site.available(goods_id) == STOCK


@pytest.mark.parametrize("gone", ["stock", "stock-2"])
def test_orders_go_on_without_one_stock_instance(site: Site, gone: str) -> None:
    """Whichever stock process is gone, no order is refused for it: its calls go to the other one."""
    goods_id = site.new_goods()
    site.supervisor.hold(gone)
    site.supervisor.wait_gone(site.kill(gone) or 0)
    answers = [site.place(site.user(), goods_id, at=at) for at in ("order", "order-2") * 4]
    assert [answer.status if answer else None for answer in answers] == [201] * 8
    site.supervisor.release(gone)
    site.supervisor.wait_ready(gone)
    assert site.available(goods_id) == STOCK - 16
    site.settle()


def test_orders_go_on_without_one_order_instance(site: Site) -> None:
    """What one instance created, another one shows, cancels and pays."""
    goods_id, user = site.new_goods(), site.user()
    first, second = (site.place(user, goods_id, at="order-2") for _ in range(2))
    assert first is not None
    assert second is not None
    site.supervisor.hold("order-2")
    site.supervisor.wait_gone(site.kill("order-2") or 0)
    assert len(site.orders(user)) == 2
    for answer, action in ((first, "pay"), (second, "cancel")):
        changed = site.call(user, f"/orders/{answer.body['order_id']}/{action}")
        assert changed is not None
        assert changed.status == 200
    site.settle()
    assert site.available(goods_id) == STOCK - 2


def test_one_key_at_two_instances_at_once(site: Site) -> None:
    """The same Idempotency-Key 50 times at once, at both instances: one order, and everybody is told of it."""
    goods_id, user, barrier = site.new_goods(), site.user(), Barrier(AT_ONCE)
    body = {"items": [{"goods_id": goods_id, "quantity": 2}]}
    with site.deployment.client(user, ["orders"]) as client, ThreadPoolExecutor(AT_ONCE) as pool:

        def place(number: int) -> Answer:
            barrier.wait()
            at = ("order", "order-2")[number % 2]
            return client.ask(at, "POST", "/orders", json_body=body, headers={"Idempotency-Key": "one"})

        answers = list(pool.map(place, range(AT_ONCE)))
    assert Counter(answer.status for answer in answers) == {201: AT_ONCE}
    assert len({answer.body["order_id"] for answer in answers}) == 1
    site.settle()
    assert len(site.orders(user)) == 1
    assert site.available(goods_id) == STOCK - 2


def test_instances_lease_different_worker_ids(site: Site) -> None:
    """Ids of two instances can't collide: each is made under a worker id of its own."""
    goods_id = site.new_goods()
    placed = [site.place(site.user(), goods_id, at=at) for at in ("order", "order-2")]
    workers = {int(answer.body["order_id"]) >> 12 & 1023 for answer in placed if answer is not None}
    assert len(workers) == 2


def test_random_kills_of_several_instances(site: Site) -> None:
    """As with one instance of each: a 201 is never lost, a refusal is true, the ledger is exact."""
    drill(site)
