"""Flash sales over the wire: exactly what there is is sold, once to each, and comes back where it is not paid for."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from sqlalchemy import delete, update

from common.db import Database
from flash.model import pieces, sales
from halfmessage.clock import now_ms, rfc3339
from ops.cli import main
from ops.client import Answer, Client
from ops.commands.reconcile import compare
from ops.findings import REPAIR
from tests.e2e.shop import Shop, at_once, pay, slug
from tests.support import eventually

pytestmark = pytest.mark.e2e

HOUR = 3_600_000  # ms


def terms(goods_id: str, quantity: int, **fields: Any) -> dict[str, Any]:
    """Return the body of a call that opens a sale that goes on."""
    now = now_ms()
    times = {"starts_at": rfc3339(now - HOUR), "ends_at": rfc3339(now + HOUR)}
    return {"goods_id": goods_id, "quantity": quantity, "unit_price": 99, **times, **fields}


def opened(shop: Shop, quantity: int, *, stock: int = 20, **fields: Any) -> tuple[str, str]:
    """Open a sale of new goods; return its id and theirs."""
    goods_id = shop.goods(stock=stock, market_price=300)
    sale = shop.admin.post("flash", "/flash-sales", terms(goods_id, quantity, **fields))
    return sale["sale_id"], goods_id


def buy(user: Client, sale_id: str, quantity: int | None = None) -> Answer:
    """Try to buy."""
    body = None if quantity is None else {"quantity": quantity}
    return user.ask("flash", "POST", f"/flash-sales/{sale_id}/orders", json_body=body)


def bought(user: Client, sale_id: str, quantity: int | None = None) -> str:
    """Buy, which must be taken in; return where its state is told."""
    answer = buy(user, sale_id, quantity)
    assert answer.status == 202, answer
    assert answer.headers["location"] == f"/order-requests/{answer.body['request_id']}"
    assert answer.body["state"] == "queued"
    return answer.headers["location"]


def decided(user: Client, where: str) -> Any:
    """Wait until a purchase is decided; return how it is told then. It is known from the first moment."""
    found: list[Any] = []
    eventually(lambda: found.append(user.get("order", where)) or found[-1]["state"] != "queued", within=120.0)
    return found[-1]


def sale_of(shop: Shop, sale_id: str) -> Any:
    return shop.admin.get("flash", f"/flash-sales/{sale_id}")


def owned(shop: Shop, sale_id: str) -> int:
    """Return how many pieces a sale owns at stock."""
    quantity: int = shop.service.get("stock", f"/internal/allotments/{sale_id}")["quantity"]
    return quantity


@contextmanager
def stopped(shop: Shop, service: str) -> Iterator[None]:
    """Have a service be down."""
    supervisor = shop.deployment.supervisor
    pid = supervisor.pid(service)
    assert pid is not None
    supervisor.hold(service)
    supervisor.kill(service, signal.SIGKILL)
    supervisor.wait_gone(pid)
    try:
        yield
    finally:
        supervisor.release(service)
        supervisor.wait_ready()


def test_a_sale_from_its_opening_to_its_end(shop: Shop) -> None:
    """It owns its pieces, sells them at its price, and gives back what it did not sell."""
    sale_id, tea = opened(shop, 5, per_user=2)
    assert (shop.available(tea), owned(shop, sale_id)) == (15, 5)
    assert {"left": 5, "phase": "on", "state": "open", "quantity": 5, "name": "Tea"}.items() <= sale_of(
        shop, sale_id
    ).items()
    user = shop.user()
    told = decided(user, bought(user, sale_id, 2))
    assert told["state"] == "created", told
    order = user.get("order", f"/orders/{told['order_id']}")
    assert (order["status"], order["total_amount"], order["currency"]) == ("created", 198, "EUR")
    assert [(item["goods_id"], item["quantity"], item["unit_price"]) for item in order["items"]] == [(tea, 2, 99)]
    assert sale_of(shop, sale_id)["left"] == 3
    assert pay(user, told["order_id"]).body["status"] == "paid"

    closed = shop.admin.post("flash", f"/flash-sales/{sale_id}/close")
    assert (closed["state"], closed["phase"], closed["left"]) == ("closed", "ended", 0)
    eventually(lambda: (owned(shop, sale_id), shop.available(tea)) == (2, 18))
    assert shop.admin.post("flash", f"/flash-sales/{sale_id}/close") == closed
    assert slug(buy(shop.user(), sale_id)) == "ended"
    shop.assert_sound()


def test_it_sells_exactly_what_there_is(shop: Shop) -> None:
    """To sixteen at the same moment: as many as there are pieces get one each, the others are told that it is over."""
    sale_id, _ = opened(shop, 10)
    users = [shop.user() for _ in range(16)]
    answers = at_once([lambda user=user: buy(user, sale_id) for user in users])
    assert Counter(answer.status for answer in answers) == {202: 10, 409: 6}
    assert {slug(answer) for answer in answers if answer.status == 409} == {"sold-out"}
    for user, answer in zip(users, answers, strict=True):
        if answer.status == 202:
            assert decided(user, answer.headers["location"])["state"] == "created"
        else:
            assert user.get("order", "/orders")["items"] == []
    assert sale_of(shop, sale_id)["left"] == 0
    assert slug(buy(shop.user(), sale_id)) == "sold-out"
    shop.assert_sound()


def test_one_user_buys_once(shop: Shop) -> None:
    """Again, they are told where their first purchase is, also once the sale is sold out."""
    sale_id, _ = opened(shop, 1)
    user = shop.user()
    answers = at_once([lambda: buy(user, sale_id)] * 4)
    assert sorted(answer.status for answer in answers) == [202, 409, 409, 409]
    (where,) = [answer.headers["location"] for answer in answers if answer.status == 202]
    again = buy(user, sale_id)
    assert (slug(again), again.body["location"]) == ("already-bought", where)
    assert decided(user, where)["state"] == "created"
    assert len(user.get("order", "/orders")["items"]) == 1
    assert slug(buy(user, sale_id, 2)) == "invalid"


def test_before_and_after_its_time(shop: Shop) -> None:
    """No user buys; once its time is over, its pieces go back by themselves."""
    early, _ = opened(shop, 3, starts_at=rfc3339(now_ms() + HOUR), ends_at=rfc3339(now_ms() + 2 * HOUR))
    assert slug(buy(shop.user(), early)) == "not-started"
    assert sale_of(shop, early)["phase"] == "not-started"
    short, tea = opened(shop, 3, ends_at=rfc3339(now_ms() + 1500))
    eventually(lambda: sale_of(shop, short)["state"] == "closed")
    assert slug(buy(shop.user(), short)) == "ended"
    eventually(lambda: shop.available(tea) == 20 - owned(shop, short))
    over = shop.admin.ask("flash", "POST", "/flash-sales", json_body=terms(tea, 1, ends_at=rfc3339(now_ms() - 1)))
    assert (over.status, over.body["errors"][0]["pointer"]) == (422, "/ends_at")


def test_buyers_queue(shop: Shop) -> None:
    """By ticket, one each, at the stated rate; asked for again it has the same place; others' tickets are no help."""
    with shop.settings("flash", flash_queue_rate=1):
        sale_id, _ = opened(shop, 5)
        first, second, third = shop.user(), shop.user(), shop.user()
        where = f"/flash-sales/{sale_id}/tickets"
        tickets = [user.post("flash", where) for user in (first, second, third)]
        assert [ticket["place"] for ticket in tickets] == [0, 1, 2]
        again = third.post("flash", where)
        assert (again["place"], again["turn_at"]) == (2, tickets[2]["turn_at"])

        def buy_with(user: Client, ticket: dict[str, Any]) -> Answer:
            body = {"ticket": ticket["ticket"]}
            return user.ask("flash", "POST", f"/flash-sales/{sale_id}/orders", json_body=body)

        assert buy_with(first, tickets[0]).status == 202
        waiting = buy_with(third, again)
        assert (waiting.status, slug(waiting)) == (429, "not-your-turn")
        assert waiting.headers["retry-after"] in {"1", "2"}
        assert (slug(buy(third, sale_id)), slug(buy_with(third, tickets[0]))) == ("ticket-refused", "ticket-refused")
        eventually(lambda: buy_with(second, tickets[1]).status == 202, within=10.0)
        eventually(lambda: buy_with(third, tickets[2]).status == 202, within=10.0)
    assert slug(first.ask("flash", "POST", where)) == "no-queue"


def test_one_sale_has_a_queue_and_another_has_none(shop: Shop) -> None:
    """As each says when it is opened; it is told to who looks at it."""
    queued, _ = opened(shop, 5, queue_rate=50)
    plain, _ = opened(shop, 5)
    assert [sale_of(shop, sale_id)["queue_rate"] for sale_id in (queued, plain)] == [50, 0]
    user = shop.user()
    assert (slug(buy(user, queued)), buy(user, plain).status) == ("ticket-refused", 202)
    ticket = user.post("flash", f"/flash-sales/{queued}/tickets")["ticket"]
    body = {"ticket": ticket}
    eventually(lambda: user.ask("flash", "POST", f"/flash-sales/{queued}/orders", json_body=body).status == 202)
    assert slug(user.ask("flash", "POST", f"/flash-sales/{plain}/tickets")) == "no-queue"
    refused = shop.admin.ask("flash", "POST", "/flash-sales", json_body=terms(shop.goods(stock=5), 1, queue_rate=-1))
    assert (refused.status, refused.body["errors"][0]["pointer"]) == (422, "/queue_rate")


def test_tries_are_limited_for_each_user_and_each_sale(shop: Shop) -> None:
    """What is too much is told at once, with when to come again; another sale is not touched by it."""
    with shop.settings("flash", flash_rate_limit="2/hour", flash_sale_rate_limit="3/hour"):
        sale_id, _ = opened(shop, 5)
        other_id, _ = opened(shop, 5)
        eager, calm, late = shop.user(), shop.user(), shop.user()
        assert [buy(eager, sale_id).status for _ in range(4)] == [202, 409, 429, 429]
        refused = buy(eager, other_id)
        assert (refused.status, slug(refused)) == (429, "too-many-requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 1800
        assert [buy(calm, sale_id).status, buy(late, sale_id).status] == [202, 429]
        assert buy(late, other_id).status == 202


def test_what_can_t_be_opened(shop: Shop) -> None:
    """More than there is in stock, or goods that are not known: nothing is owned by any sale."""
    tea = shop.goods(stock=5)
    short = shop.admin.ask("flash", "POST", "/flash-sales", json_body=terms(tea, 6))
    assert (short.status, slug(short)) == (409, "insufficient-stock")
    unknown = shop.admin.ask("flash", "POST", "/flash-sales", json_body=terms("1", 1))
    assert (unknown.status, slug(unknown)) == (422, "unknown-goods")
    assert shop.available(tea) == 5
    with stopped(shop, "stock"):
        down = shop.admin.ask("flash", "POST", "/flash-sales", json_body=terms(tea, 2))
        assert (down.status, slug(down)) == (503, "unavailable")
    assert shop.available(tea) == 5
    answers: list[Answer] = []

    def opens() -> bool:
        answers.append(shop.admin.ask("flash", "POST", "/flash-sales", json_body=terms(tea, 5)))
        return answers[-1].status == 201

    eventually(opens)  # flash may have given stock up for a moment
    assert answers[-1].body["left"] == 5
    assert shop.available(tea) == 0


def test_the_same_key_opens_one_sale(shop: Shop) -> None:
    """At once and later: the same sale, and its pieces once."""
    tea = shop.goods(stock=20)
    body = terms(tea, 4)
    headers = {"Idempotency-Key": f"sale-{tea}"}

    def ask(**changed: Any) -> Answer:
        return shop.admin.ask("flash", "POST", "/flash-sales", json_body=body | changed, headers=headers)

    answers = [*at_once([ask] * 3), ask()]
    assert [answer.status for answer in answers] == [201] * 4
    assert len({answer.body["sale_id"] for answer in answers}) == 1
    assert answers[-1].headers["idempotency-replayed"] == "true"
    assert slug(ask(quantity=5)) == "idempotency-mismatch"
    eventually(lambda: shop.available(tea) == 16)


def test_a_cancelled_order_s_pieces_come_back_to_the_sale(shop: Shop) -> None:
    """Once, and can be bought again, by another user and by the same one."""
    sale_id, tea = opened(shop, 1)
    first, second = shop.user(), shop.user()
    told = decided(first, bought(first, sale_id))
    assert slug(buy(second, sale_id)) == "sold-out"
    first.post("order", f"/orders/{told['order_id']}/cancel")
    eventually(lambda: sale_of(shop, sale_id)["left"] == 1)
    assert owned(shop, sale_id) == 1
    told = decided(second, bought(second, sale_id))
    second.post("order", f"/orders/{told['order_id']}/cancel")
    eventually(lambda: sale_of(shop, sale_id)["left"] == 1)
    assert decided(first, bought(first, sale_id))["state"] == "created"
    assert shop.available(tea) == 19
    shop.assert_sound()


def test_its_order_tells_of_the_sale(shop: Shop) -> None:
    """The order names it; the timeline, the story and the messages tell how it was bought, and what it has of it."""
    sale_id, _ = opened(shop, 2)
    user = shop.user()
    where = bought(user, sale_id)
    order_id, purchase_id = decided(user, where)["order_id"], where.rsplit("/", 1)[1]
    order = user.get("order", f"/orders/{order_id}")
    assert (order["sale_id"], order["purchase_id"]) == (sale_id, purchase_id)
    entries = user.get("order", f"/orders/{order_id}/timeline")["entries"]
    told = [entry["event"] for entry in entries]
    bought_by = ["purchase begun", "half message sent", "purchase taken", "half message resolved: commit"]
    assert told[:4] == bought_by
    assert {"purchase answered", "purchase handled", "purchase placed", "flash deducted"} <= set(told)
    assert "order submitted" not in told
    about = next(entry["evidence"] for entry in entries if entry["event"] == "purchase taken")
    assert (about["sale_id"], about["purchase_id"], about["quantity"]) == (sale_id, purchase_id, 1)
    data = str(shop.deployment.directory.root)
    shown = CliRunner().invoke(main, ["story", "show", order_id, "--data-dir", data], env={"COLUMNS": "200"})
    assert f"purchase_id={purchase_id}" in shown.output
    asked = ["messages", "--key", order_id, "--json", "--data-dir", data]
    found = {one["topic"]: one for one in json.loads(CliRunner().invoke(main, asked).output)}
    assert found.keys() == {"order_rollback", "order_timeout", "flash_purchase"}
    assert purchase_id in found["flash_purchase"]["keys"]


def test_after_the_sale_they_go_back_to_stock(shop: Shop) -> None:
    """Once it is closed, a cancelled order's pieces are what any order can have."""
    sale_id, tea = opened(shop, 4)
    user, other = shop.user(), shop.user()
    told = decided(user, bought(user, sale_id))
    decided(other, bought(other, sale_id))
    shop.admin.post("flash", f"/flash-sales/{sale_id}/close")
    eventually(lambda: (owned(shop, sale_id), shop.available(tea)) == (2, 18))
    user.post("order", f"/orders/{told['order_id']}/cancel")
    eventually(lambda: (owned(shop, sale_id), shop.available(tea)) == (1, 19))
    shop.assert_sound()


def test_whose_a_purchase_is(shop: Shop) -> None:
    """Another user's is a 404 from its first moment on, before its order is placed too."""
    sale_id, _ = opened(shop, 2)
    user = shop.user()
    with stopped(shop, "order"):
        where = bought(user, sale_id)
    assert slug(shop.user().ask("order", "GET", where)) == "not-found"
    assert decided(user, where)["state"] == "created"
    assert shop.admin.get("order", where)["state"] == "created"


def test_bought_while_orders_can_t_be_placed(shop: Shop) -> None:
    """What is taken in is an order once order and stock are back; other buyers see what is left all the time."""
    sale_id, _ = opened(shop, 3)
    users = [shop.user() for _ in range(3)]
    with stopped(shop, "order"):
        places = [bought(user, sale_id) for user in users]
        assert sale_of(shop, sale_id)["left"] == 0
    for user, where in zip(users, places, strict=True):
        assert decided(user, where)["state"] == "created"
    shop.assert_sound()


@pytest.mark.parametrize(
    "point",
    [
        *(f"purchase.{step}" for step in ("half_sent", "before_commit", "committed", "before_resolve", "resolved")),
        *("flash.before_commit", "flash.deducted"),
    ],
)
def test_killed_while_it_sells(shop: Shop, point: str) -> None:
    """Before the pieces are taken nothing was bought; after, it becomes an order. What is left is right in the end."""
    sale_id, _ = opened(shop, 2)
    user = shop.user()
    with shop.settings("flash", failpoints=f"{point}=kill"):
        pid = shop.deployment.supervisor.pid("flash")
        answer = _tried(user, sale_id)
        eventually(lambda: shop.deployment.supervisor.pid("flash") not in {None, pid}, within=120.0)
    if answer is not None:
        assert decided(user, answer.headers["location"])["state"] == "created"
    shop.assert_sound()
    orders = user.get("order", "/orders")["items"]
    assert len(orders) == (0 if point in {"purchase.half_sent", "purchase.before_commit"} else 1)
    assert sale_of(shop, sale_id)["left"] == 2 - len(orders)
    rest = [shop.user() for _ in range(3)]
    assert Counter(buy(one, sale_id).status for one in rest)[202] == 2 - len(orders)


def _tried(user: Client, sale_id: str) -> Answer | None:
    """Try to buy; None where no answer came."""
    try:
        answer = buy(user, sale_id)
    except Exception:  # noqa: BLE001 - whatever a client makes of a connection that was cut
        return None
    return answer if answer.status == 202 else None


def findings(shop: Shop, sale_id: str, *purchase_ids: str) -> list[tuple[str, str]]:
    """Return what the comparison finds of one sale and its purchases: what, and the remedy."""
    found = compare(shop.deployment, grace=30.0, out=Console(quiet=True)).findings
    return [(one.what, one.remedy) for one in found if one.id in {sale_id, *purchase_ids}]


def command(shop: Shop, *words: str, code: int = 0) -> str:
    """Run `orders flash`, in this process; return what it said."""
    done = CliRunner().invoke(main, ["flash", *words, "--data-dir", str(shop.deployment.directory.root)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.timeout(180)  # several looks at everything: on a busy machine they take minutes
def test_reconcile_compares_sales(shop: Shop) -> None:
    """One with orders paid, open and cancelled agrees; a row that was changed by hand is named, with its remedy."""
    sale_id, _ = opened(shop, 5)
    users = [shop.user() for _ in range(3)]
    places = [bought(user, sale_id) for user in users]
    told = [decided(user, where) for user, where in zip(users, places, strict=True)]
    pay(users[0], told[0]["order_id"])
    users[1].post("order", f"/orders/{told[1]['order_id']}/cancel")
    shop.assert_sound()
    purchase_ids = [where.rpartition("/")[2] for where in places]
    assert findings(shop, sale_id, *purchase_ids) == []
    with closing(Database(shop.deployment.database_url("flash"))) as flash:
        of_sale = update(sales).where(sales.c.sale_id == int(sale_id))

        def change(by: int) -> None:
            flash.transact(lambda connection: connection.execute(of_sale.values(held=sales.c.held + by)))

        change(1)
        try:
            ((what, remedy),) = findings(shop, sale_id, *purchase_ids)
        finally:
            change(-1)
    assert what == "the sale does not add up: 5 pieces, 5 owned, 3 counted as held; 2 are"
    assert f"SET held = 2 WHERE sale_id = {sale_id}" in remedy
    assert findings(shop, sale_id, *purchase_ids) == []


@pytest.mark.timeout(180)
@pytest.mark.embedded("tests/unit/test_flash_commands.py has Redis forget a sale")
def test_a_store_that_forgot_a_sale_is_told_it_anew(shop: Shop) -> None:
    """By the command line, beside the services: what was bought is not sold again, and the rest is."""
    sale_id, _ = opened(shop, 2)
    user = shop.user()
    where = bought(user, sale_id)
    assert decided(user, where)["state"] == "created"
    shop.assert_sound()
    with closing(Database(shop.deployment.database_url("flash"))) as flash:
        for table in (pieces.sales, pieces.purchases, pieces.buyers):
            forget = delete(table).where(table.c.sale_id == int(sale_id))
            flash.transact(lambda connection, one=forget: connection.execute(one))  # type: ignore[misc]
    assert {remedy for _, remedy in findings(shop, sale_id, where.rpartition("/")[2])} == {REPAIR}
    assert command(shop, "rebuild", sale_id).endswith("it had 1 purchases wrong.\n")
    assert findings(shop, sale_id, where.rpartition("/")[2]) == []
    assert sale_of(shop, sale_id)["left"] == 1
    assert slug(buy(user, sale_id)) == "already-bought"
    assert decided(other := shop.user(), bought(other, sale_id))["state"] == "created"
    shop.assert_sound()


@pytest.mark.timeout(180)  # several looks at everything: on a busy machine they take minutes
def test_a_sale_is_closed_by_the_command_line(shop: Shop) -> None:
    """As by the interface; one that there is not is told so, with what lists them."""
    sale_id, tea = opened(shop, 4)
    assert json.loads(command(shop, "list", "--limit", "1", "--json"))[0]["sale_id"] == sale_id
    assert f"Sale {sale_id} is closed." in command(shop, "close", sale_id)
    eventually(lambda: (owned(shop, sale_id), shop.available(tea)) == (0, 20))
    assert "state: done" in command(shop, "show", sale_id)
    assert "flash list" in command(shop, "close", "1", code=1)
