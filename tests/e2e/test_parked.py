"""The broker gives up on a half message and parks it: the sweep mends what it left, and it can be resumed."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from halfmessage.mq.port import MessageView, State
from lab.drill import pending
from lab.drill.freezing import frozen
from lab.judge.judge import Judge
from ops.client import Client, Unreachable
from ops.deployment import Deployment, Plan, free_port_base
from ops.stack.settings import SHORT_TIMING
from tests.e2e.shop import Shop, place, placed, running
from tests.stack import REAL, servers
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.in_turn, pytest.mark.timeout(300), pytest.mark.P5]

# A half message is parked within seven seconds when no answer comes for it (a stack's RocketMQ: 30 to 90, after
# 60 checks); nothing sweeps by itself.
_IMPATIENT = {
    "check_first_after": 3.0,  # time enough to stop the order process, or it would answer for its message itself
    "check_interval": 1.0,
    "check_max": 2,
    "transaction_deadline": 0.5,
    "sweep_interval": 3600.0,
}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment of its own, whose broker gives up soon."""
    deployment = Deployment(
        tmp_path_factory.mktemp("impatient"), Plan(free_port_base(), extra=_IMPATIENT, servers=servers())
    )
    with running(deployment):
        yield deployment


@pytest.fixture
def shop(impatient: Deployment) -> Iterator[Shop]:
    """Return that deployment, and what a test wants of it."""
    shop = Shop(impatient)
    yield shop
    shop.close()


def find(shop: Shop, key: str, state: State) -> list[MessageView]:
    with shop.deployment.open_console() as console:
        return console.find(key=key, state=state)


def resume(shop: Shop, message_id: str) -> None:
    """Have a parked half message asked about again."""
    with shop.deployment.open_console() as console:
        console.resume(message_id)


def parked_id(shop: Shop, order_id: str) -> str | None:
    """Return the id of an order's parked half message, None while there is none; no process answered its checks."""
    for parked in find(shop, order_id, State.PARKED):
        if not REAL:  # RocketMQ keeps no answers
            assert [check.answer for check in parked.checks] == [None, None]
        assert parked.check_count == (SHORT_TIMING.broker["transactionCheckMax"] if REAL else 2)
        return parked.message_id
    return None


def abandoned(shop: Shop, user: Client, tea: str) -> tuple[str, str]:
    """Have the order process die after the deduction, and stay away until its half message is parked."""
    supervisor = shop.deployment.supervisor
    supervisor.restart("order", extra_env={"ORDERS_FAILPOINTS": "order.deducted=delay:60"})
    supervisor.wait_ready("order")
    with ThreadPoolExecutor(1) as pool:
        request = pool.submit(place, user, {tea: 4})
        eventually(lambda: shop.available(tea) == 6, within=10)
        with frozen(shop.deployment, "order") as old:  # it neither goes on nor answers, nor is it started again
            try:
                order_id = shop.newest_order_id()
                parked = eventually(lambda: parked_id(shop, order_id), within=150)
            finally:
                supervisor.kill("order", signal.SIGKILL)
        supervisor.wait_gone(old)
        eventually(lambda: supervisor.pid("order") not in {None, old}, within=30)
        with pytest.raises(Unreachable):
            request.result()
    supervisor.wait_ready("order")
    return order_id, parked


def test_a_parked_half_message_is_mended_by_the_sweep_and_settled_by_resuming_it(shop: Shop) -> None:
    """Parked, its stock held: the sweep gives it back; resumed, it is asked for again and changes nothing more."""
    user, tea = shop.user(), shop.goods()
    order_id, parked = abandoned(shop, user, tea)
    with closing(shop.deployment.open_broker()) as broker:
        nobodys = f"order {order_id}: does not exist"
        assert Judge.of(shop.deployment).wrong() == [
            f"{nobodys}, but its stock is reserved",
            f"{nobodys}, and its payment is open",
            f"{nobodys}, its payment's header is deducted",
        ]
        (left,) = pending.unsettled(shop.deployment, broker)
        assert left.endswith(f"order_rollback {parked} of {order_id} is parked")
        eventually(lambda: shop.admin.post("order", "/sweep")["released"] == 2)
        assert shop.available(tea) == 10
        assert Judge.of(shop.deployment).wrong() == []
    resume(shop, parked)
    shop.assert_sound()
    assert shop.available(tea) == 10
    assert user.get("order", "/orders")["items"] == []


def test_a_parked_half_message_that_is_resumed_gives_the_stock_back(shop: Shop) -> None:
    """Resumed without any sweep: the check-back fences the transaction, and the rollback is delivered."""
    user, tea = shop.user(), shop.goods()
    order_id, parked = abandoned(shop, user, tea)
    resume(shop, parked)
    shop.assert_sound()
    assert shop.available(tea) == 10
    (view,) = find(shop, order_id, State.DONE)
    assert view.resolution is not None
    assert view.resolution.value == "commit"
    events = [e["event"] for e in shop.admin.get("order", f"/orders/{order_id}/timeline")["entries"]]
    assert "stock released" in events
    assert "local transaction aborted" in events
    placed(user, {tea: 10})
