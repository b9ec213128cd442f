"""What is done through the console, over its pages alone: messages sent on, stock, coupons, money, books compared."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from common.db import Database
from halfmessage.mq.port import State
from lab.drill.freezing import frozen
from lab.visitor import Page, Visitor, fields_in
from ops.client import Unreachable
from ops.deployment import Deployment, Plan, free_port_base
from order.model import orders
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Shop, at_once, cancel, opened_sale, pay, place, placed, running
from tests.stack import servers
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

HOSTILE = "<script>alert(1)</script>\"'&<b>"
_SOON = {
    **QUICK,
    "max_deliveries": 2,
    "sweep_interval": 3600.0,
    "check_first_after": 3.0,  # time enough to stop the order process, or it would answer for its message itself
    "check_interval": 1.0,
    "check_max": 2,
    "transaction_deadline": 0.5,
}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Run a deployment with a console; a message dies at its second failure, and nothing sweeps by itself."""
    plan = Plan(free_port_base(), 3600.0, extra=_SOON, servers=servers(), console=True)
    with running(Deployment(tmp_path_factory.mktemp("console"), plan)) as deployment:
        yield deployment


@pytest.fixture
def shop(own: Deployment) -> Iterator[Shop]:
    made = Shop(own)
    yield made
    made.close()


@pytest.fixture
def root(own: Deployment) -> Iterator[Visitor]:
    """Return an administrator at the console."""
    made = Visitor(own.plan.urls["console"], own.token("root", ["orders", "admin"]))
    yield made
    made.close()


def dead_letter(shop: Shop) -> tuple[str, str]:
    """Cancel an order while stock can't release; return its id, and that of its dead message."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 2})["order_id"]
    with shop.unable_to_release():
        cancel(user, order_id)
        (dead,) = eventually(lambda: shop.find(key=order_id, state=State.DEAD), within=90)
    return order_id, dead.message_id


def planned(root: Visitor, message_id: str) -> Page:
    """Go from a message to what would be done to it."""
    page = root.get(f"/messages/{message_id}")
    return root.post("/dead/plan", page.form("/dead/plan"))


def test_a_dead_letter_is_resent_and_its_effect_seen(shop: Shop, root: Visitor) -> None:
    """Dry run, reason, outcome, and the consumer's progress; who, when and why stay with the message."""
    order_id, dead = dead_letter(shop)
    assert dead in root.get("/dead").text
    plan = planned(root, dead)
    assert "Nothing has been done yet." in plan.text
    assert "Given again to stock" in plan.text
    assert shop.find(message_id=dead)[0].state is State.DEAD
    sent = root.send(plan, "/dead/send", why=f"stock is back {HOSTILE}")
    assert "1 done" in sent.text
    eventually(lambda: "seen" in root.get(sent.path).text, within=30)
    eventually(lambda: shop.service.get("stock", f"/reservations/{order_id}")["state"] == "released", within=30)
    story = root.get(f"/messages/{dead}")
    assert f"stock is back {HOSTILE}" in story.text
    assert "root" in story.text
    assert "<script>alert" not in story.html
    again = {**plan.form("/dead/send"), "why": f"stock is back {HOSTILE}"}
    assert root.post("/dead/send", again).path == sent.path  # clicked twice
    assert "sent before for something else" in root.post("/dead/send", {**again, "why": "another one"}).text
    assert "clicked twice" not in root.get(f"/messages/{dead}").text


@pytest.mark.embedded("RocketMQ parks after 60 checks; tests/real/test_console.py has it")
def test_a_parked_half_message_is_resumed(shop: Shop, root: Visitor) -> None:
    """The order process died after the deduction and stayed away: resumed, the message gives the stock back."""
    user, tea = shop.user(), shop.goods()
    supervisor = shop.deployment.supervisor
    supervisor.restart("order", extra_env={"ORDERS_FAILPOINTS": "order.deducted=kill"})
    supervisor.wait_ready("order")
    supervisor.hold("order")
    with pytest.raises(Unreachable):
        place(user, {tea: 4})
    (half,) = eventually(lambda: shop.find(state=State.HALF), within=10)
    parked = half.message_id
    eventually(lambda: shop.find(message_id=parked, state=State.PARKED), within=60)
    supervisor.release("order")
    supervisor.wait_ready("order")
    sent = root.send(planned(root, parked), "/dead/send", why="order is back")
    assert "1 done" in sent.text
    eventually(lambda: shop.available(tea) == 10, within=30)
    eventually(lambda: "seen" in root.get(sent.path).text, within=30)


@pytest.mark.embedded("RocketMQ can't be told to ask, and asks within 3 s; tests/unit/test_console_checking.py has it")
def test_a_half_message_is_asked_about_now(shop: Shop, root: Visitor) -> None:
    """The order process died after the deduction; the check that is due in ten minutes need not be waited for.

    It is kept who asked, and why.
    """
    user, tea = shop.user(), shop.goods()
    supervisor = shop.deployment.supervisor
    late = {"ORDERS_CHECK_FIRST_AFTER": "600", "ORDERS_CHECK_INTERVAL": "600"}
    supervisor.restart("order", extra_env={"ORDERS_FAILPOINTS": "order.deducted=kill", **late})
    supervisor.wait_ready("order")
    with pytest.raises(Unreachable):
        place(user, {tea: 4})
    supervisor.wait_ready("order")
    order_id = shop.newest_order_id()
    eventually(lambda: "Placing has begun but is not decided" in root.get(f"/orders/{order_id}").text, within=30)
    page = root.get(f"/orders/{order_id}")
    asked = root.send(page, f"/orders/{order_id}/check", why=f"she waits {HOSTILE}")
    assert "Check now" in asked.text
    assert f"she waits {HOSTILE}" in asked.text
    assert "<script>alert" not in asked.html
    eventually(lambda: shop.available(tea) == 10, within=30)
    eventually(lambda: "never came to be" in root.get(page.path).text, within=30)


def test_restocked_once_for_each_form(shop: Shop, root: Visitor) -> None:
    """A double click adds once; the total is set; what stock refuses is told in its words; what adds up is shown."""
    user, tea = shop.user(), shop.goods(name=f"Tea {HOSTILE}")
    placed(user, {tea: 3})
    page = root.get(f"/stock/{tea}")
    assert "10 in all = 7 available + 3 reserved" in page.text
    assert "<script>alert" not in page.html
    assert f"Tea {HOSTILE}" in root.get("/stock").text
    action = f"/stock/{tea}/restock"
    at_once([lambda: root.send(page, action, quantity="5", why="delivery")] * 2)
    page = root.get(f"/stock/{tea}")
    assert "15 in all = 12 available + 3 reserved" in page.text
    assert page.text.count("restock 5") == 1
    gone = f"/stock/{tea}/withdraw"
    at_once([lambda: root.send(page, gone, quantity="2", why="broken")] * 2)
    assert root.send(page, gone, quantity="2", why="").status == 400
    page = root.get(f"/stock/{tea}")
    assert "13 in all = 10 available + 3 reserved" in page.text
    assert "refused" in root.send(page, gone, quantity="11", why="all of it").text
    refused = root.send(root.get(f"/stock/{tea}"), f"/stock/{tea}/total", total="2", why=HOSTILE)
    assert "refused" in refused.text
    assert "13 in all" in refused.text
    assert "<script>alert" not in refused.html
    assert "20 in all = 17 available" in root.send(root.get(f"/stock/{tea}"), f"/stock/{tea}/total", total="20").text
    assert root.get("/stock/1").status == 404


def test_a_coupon_is_withdrawn(shop: Shop, root: Visitor) -> None:
    """What is held stays; free, held and used add up to its uses."""
    user, tea = shop.user(), shop.goods()
    made = shop.admin.post("coupon", "/coupons", {"kind": "percent", "value": 10, "uses": 3})
    coupon_id = made["coupon_id"]
    placed(user, {tea: 1}, coupon_id=coupon_id)
    assert made["code"] in root.get("/coupons").text
    page = root.get(f"/coupons/{coupon_id}")
    assert "2 free + 1 held by open orders + 0 used by paid ones = 3" in page.text
    done = root.send(page, f"/coupons/{coupon_id}/withdraw", why="misprinted")
    assert "It is withdrawn" in done.text
    assert "misprinted" in done.text
    assert place(user, {tea: 1}, coupon_id=coupon_id).status == 409


def test_a_sale_is_looked_at_found_and_closed(shop: Shop, root: Visitor) -> None:
    """What is left, held and owned, by whom it was bought; closed, the rest is back at stock, and it is done."""
    sale_id, user = opened_sale(shop), shop.user()
    purchase_id = user.post("flash", f"/flash-sales/{sale_id}/orders")["request_id"]
    where = f"/order-requests/{purchase_id}"
    eventually(lambda: user.get("order", where)["state"] == "created", within=60.0)
    order_id = user.get("order", where)["order_id"]
    assert sale_id in root.get("/sales?open=true").text
    page = root.get(f"/sales/{sale_id}")
    assert "4 left to buy; 1 held by orders, of 5 that it owns at stock" in page.text
    assert "it goes on until its end" in page.text
    assert "The flash sale of this id" in root.get(f"/find?q={sale_id}").text
    found = root.get(f"/find?q={purchase_id}").text
    assert f"1 pieces of flash sale {sale_id} by " in found
    assert order_id in found
    assert f"by purchase {purchase_id}" in root.get(f"/orders/{order_id}").text
    done = root.send(page, f"/sales/{sale_id}/close", why="sold enough")
    assert "sold enough" in done.text
    eventually(lambda: "of 1 that it owns at stock, of 5 at its opening" in root.get(f"/sales/{sale_id}").text)
    eventually(lambda: "done, ended" in root.get(f"/sales/{sale_id}").text)
    assert "Why it is not done" not in root.get(f"/sales/{sale_id}").text
    assert root.get("/sales/1").status == 404
    assert root.get("/sales?open=x").status == 400


def test_money_is_sent_back_once_with_a_reason(shop: Shop, root: Visitor) -> None:
    """A payment is found by its order; refunded, it says so, whatever is clicked twice."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 2})["order_id"]
    assert pay(user, order_id).status == 200
    page = root.get(f"/payments?order_id={order_id}")
    assert "succeeded" in page.text
    action = f"/payments/{order_id}/refund"
    assert root.send(page, action, why="").status == 400
    at_once([lambda: root.send(page, action, why="came broken")] * 2)
    eventually(lambda: "refunded" in root.get(f"/payments/{order_id}").text, within=30)
    assert root.get(f"/payments/{order_id}").text.count("came broken") >= 1
    charges = shop.admin.get("pay", f"/payments/{order_id}")["charges"]
    assert [charge["status"] for charge in charges] == ["refunded"]


def test_a_return_that_does_not_get_on_is_seen_to(shop: Shop, root: Visitor) -> None:
    """Listed with its tries and its last error, a step is skipped with a reason, and then it is done."""
    user, tea = shop.user(), shop.goods()
    order_id = placed(user, {tea: 2})["order_id"]
    assert pay(user, order_id).status == 200
    with frozen(shop.deployment, "stock"):
        user.post("order", f"/orders/{order_id}/return", {"reason": "too small"})
        run_id = user.get("order", f"/orders/{order_id}/return")["run_id"]
        assert run_id in root.get("/sagas").text
        eventually(lambda: "PeerUnavailable" in root.get(f"/sagas/{run_id}").text, within=60)
        eventually(lambda: "refunded" in root.get(f"/payments/{order_id}").text, within=60)
        page = root.get(f"/sagas/{run_id}")
        root.send(page, f"/sagas/{run_id}/retry")
        page = root.get(f"/sagas/{run_id}")
        done = root.send(page, f"/sagas/{run_id}/skip", step="restock", why="counted by hand")
        assert "counted by hand" in done.text
        eventually(lambda: "It is done" in root.get(f"/sagas/{run_id}").text, within=60)
    assert "Its return is done" in root.get(f"/orders/{order_id}").text
    with shop.deployment.client("test", ["admin"]) as admin:
        admin.post("order", "/sweep")  # a returned order holds nothing, also where the step was skipped
    eventually(lambda: shop.available(tea) == 10, within=30)


def test_payments_are_listed_by_state(shop: Shop, root: Visitor) -> None:
    """Newest first and page by page, each with links to itself and its order; of another state, none of them."""
    user, tea = shop.user(), shop.goods(stock=100)
    paid = [placed(user, {tea: 1})["order_id"] for _ in range(53)]
    for order_id in paid:
        assert pay(user, order_id).status == 200
    first = root.get("/payments?status=succeeded")
    (older,) = re.findall(r'name="cursor" value="([^"]+)"', first.html)
    then = root.get(f"/payments?status=succeeded&cursor={older}")
    shown = [re.findall(r'<th scope="row"><a href="/payments/(\d+)">', page.html) for page in (first, then)]
    assert (shown[0] + shown[1])[:53] == paid[::-1]
    assert len(shown[0]) == 50
    assert f'<a href="/orders/{paid[-1]}">' in first.html
    assert not {*paid} & {*re.findall(r"/payments/(\d+)", root.get("/payments?status=refunded").html)}


def test_all_books_are_compared_and_repaired(shop: Shop, root: Visitor) -> None:
    """In a process of its own; findings lead to their orders, and the overview tells which participants hold."""
    order_id, dead = dead_letter(shop)
    long_ago(shop, order_id)

    compared = run_of(root, {"what": "compare"})
    assert f'<a href="/messages/{dead}">' in compared.html
    assert "is still reserved" in compared.text
    for path in ("/reconcile", "/"):
        assert "stock: 1 found" in root.get(path).text
        assert "coupon: holds" in root.get(path).text
    assert root.post("/reconcile/run", {**proof(root), "what": "repair", "why": "x"}).status == 400
    repaired = run_of(root, {"what": "repair", "why": "mend it", "sure": "yes"})
    assert "stock: holds" in repaired.text
    assert "mend it" in repaired.text
    root.send(planned(root, dead), "/dead/send", why="tidied")
    eventually(lambda: shop.find(message_id=dead)[0].state is State.DONE, within=30)
    assert "Everything agrees" in run_of(root, {"what": "compare"}).text


def long_ago(shop: Shop, order_id: str) -> None:
    """Have an order been closed so long ago that nothing of it can be on its way."""
    database = Database(shop.deployment.database_url("order"))
    try:
        database.transact(
            lambda c: c.execute(update(orders).where(orders.c.order_id == int(order_id)).values(closed_at=1))
        )
    finally:
        database.close()


def proof(root: Visitor) -> dict[str, list[str]]:
    """Return the hidden fields of the first form of the page, whichever it is for."""
    page = root.get("/reconcile")
    return fields_in(page.html[page.html.index('action="/reconcile/run"') :].partition("</form>")[0])


def run_of(root: Visitor, fields: dict[str, str]) -> Page:
    """Have the books compared; return the page once that has ended."""
    root.post("/reconcile/run", {**proof(root), **fields})

    def ended() -> Page | None:
        page = root.get("/reconcile")
        return None if "It ends within" in page.text else page

    return eventually(ended, within=90)


def test_pages_of_what_is_up_wait_for_no_other(shop: Shop, root: Visitor) -> None:
    """Stock is away: its pages say so, and the others are there."""
    shop.goods()
    with frozen(shop.deployment, "stock"):
        assert "not known" in root.get("/stock").text
        for path in ("/messages", "/coupons", "/dead", "/reconcile"):
            assert root.get(path).status == 200, path
