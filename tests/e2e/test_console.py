"""The console on a real deployment, by REST and in a real browser."""

import re
from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import update

from common.db import Database
from halfmessage.mq.port import State
from ops.client import Unreachable
from ops.deployment import Deployment, Plan, free_port_base
from pay.model import attempts
from tests.e2e.browser import Visit, chromium, visit
from tests.e2e.conftest import QUICK
from tests.e2e.shop import Raw, Shop, opened_sale, pay, place, running
from tests.support import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.embedded("its pages read the same console of the broker, which has a contract"),
]

HOSTILE = "<script>alert(1)</script><b>"
ADMIN = ["orders", "admin"]
HEAVIEST = 150_000  # bytes of a page with all that it loads, compressed


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    dies_soon = {"max_deliveries": 2}
    plan = Plan(free_port_base(), pay_timeout=3600.0, extra={**QUICK, **dies_soon}, console=True)
    with running(Deployment(tmp_path_factory.mktemp("console"), plan)) as deployment:
        shop = Shop(deployment)
        yield shop
        shop.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def base(shop: Shop) -> str:
    return shop.deployment.plan.urls["console"]


@pytest.fixture
def admin(shop: Shop) -> str:
    return shop.deployment.token("root", ADMIN)


@pytest.fixture
def placed(shop: Shop) -> str:
    """Return an order of ann's, with a receiver full of markup."""
    goods = shop.goods(stock=100)
    body = {
        "items": [{"goods_id": goods, "quantity": 2}],
        "receiver": {"name": HOSTILE, "phone": HOSTILE[:32], "address": HOSTILE},
    }
    order: str = shop.user("ann").post("order", "/orders", body)["order_id"]
    return order


@pytest.fixture
def sale(shop: Shop) -> str:
    """Return a flash sale in which ann has bought."""
    sale_id = opened_sale(shop)
    shop.user("ann").post("flash", f"/flash-sales/{sale_id}/orders")
    return sale_id


@pytest.fixture(scope="module")
def ids(shop: Shop) -> Mapping[str, str]:
    """Return goods, a coupon, and a message of an order of one with the other."""
    goods = shop.goods()
    coupon = shop.admin.post("coupon", "/coupons", {"kind": "percent", "value": 10, "uses": 3})["coupon_id"]
    order_id = place(shop.user(), {goods: 1}, coupon_id=coupon).body["order_id"]
    return {"goods": goods, "coupon": coupon, "message": shop.find(key=order_id)[0].message_id}


def test_another_s_order_is_on_no_page(shop: Shop, placed: str) -> None:
    """Not by its id, in a list, or as a file; its owner and admins see it."""

    def as_(user: str, scopes: list[str], path: str) -> Raw:
        cookie = {"Cookie": f"orders_console={shop.deployment.token(user, scopes)}", "Accept": "text/html"}
        return shop.raw("console", "GET", path, headers=cookie)

    for path in (f"/orders/{placed}", f"/orders/{placed}/story.html", "/orders?user=ann", f"/find?q={placed}", "/"):
        answer = as_("eve", ["orders"], path)
        assert placed.encode() not in answer.data.replace(f'/orders/{placed}"'.encode(), b""), path
        assert answer.status in {200, 404}
    assert as_("eve", ["orders"], f"/orders/{placed}").status == 404
    for user, scopes in (("ann", ["orders"]), ("root", ADMIN)):
        page = as_(user, scopes, f"/orders/{placed}")
        assert page.status == 200
        assert b"&lt;script&gt;alert(1)" in page.data
        assert b"<script>alert" not in page.data
        saved = as_(user, scopes, f"/orders/{placed}/story.html")
        assert saved.headers["content-disposition"] == f'attachment; filename="order-{placed}.html"'


def test_admins_find_orders_of_all_users(shop: Shop, placed: str) -> None:
    """By id, by user and by the transaction that the timeline names; users have neither list nor box."""
    order = shop.admin.get("order", f"/orders/{placed}")
    user = order["user_id"]
    assert placed in [one["order_id"] for one in shop.admin.get("order", "/admin/orders?limit=100")["items"]]
    page = shop.admin.get("order", f"/admin/orders?user_id={user}&status=created&limit=1")
    assert page["items"][0]["order_id"] == placed
    assert shop.admin.get("order", f"/admin/find?q={placed}")["found"][0]["items"][0] == order
    entries = shop.admin.get("order", f"/orders/{placed}/timeline")["entries"]
    tx_id = next(entry["evidence"]["tx_id"] for entry in entries if "tx_id" in entry["evidence"])
    (found,) = shop.admin.get("order", f"/admin/find?q={tx_id}")["found"]
    assert (found["way"], found["items"][0]["order_id"]) == ("transaction", placed)
    for path in ("/admin/orders", "/admin/find?q=1"):
        assert shop.raw("order", "GET", path, headers=shop.bearer()).status == 403


def test_an_order_is_found_by_the_id_of_its_call(shop: Shop) -> None:
    """The client's own where it sent a sane one, ours where not; a call that gets its answer again has placed none."""
    tea = shop.goods(stock=10)

    def ask(key: str, **headers: str) -> tuple[str, str]:
        body = {"items": [{"goods_id": tea, "quantity": 1}]}
        answer = shop.user("ann").ask(
            "order", "POST", "/orders", json_body=body, headers={"Idempotency-Key": key} | headers
        )
        assert answer.status == 201
        return answer.body["order_id"], answer.headers["x-request-id"]

    def found(call: str) -> list[str]:
        ways = {one["way"]: one["items"] for one in shop.admin.get("order", f"/admin/find?q={call}")["found"]}
        return [order["order_id"] for order in ways.get("x-request-id", [])]

    order, call = ask("call-1", **{"X-Request-Id": "cart.17-a_b"})
    assert (call, found(call)) == ("cart.17-a_b", [order])
    assert ask("call-1", **{"X-Request-Id": "again"}) == (order, "again")
    assert found("again") == []
    order, call = ask("call-2", **{"X-Request-Id": HOSTILE})
    assert found(call) == [order]


def test_pages_of_all_users_orders_follow_each_other(shop: Shop, placed: str) -> None:
    """By their cursors, of one status too."""
    for narrowed in ("", "&status=created"):
        seen, cursor = [], ""
        while cursor is not None:
            page = shop.admin.get("order", f"/admin/orders?limit=1{narrowed}{cursor and f'&cursor={cursor}'}")
            seen += [one["order_id"] for one in page["items"]]
            cursor = page["next_cursor"]
        assert placed in seen
        assert len(seen) == len(set(seen))


def test_by_keyboard_from_the_login_to_an_order(browser: Browser, base: str, admin: str, placed: str) -> None:
    """Tab and Enter alone: log in, skip to the content, find the order, open a step's evidence."""
    with visit(browser, base, None) as seen:
        seen.go(f"/orders/{placed}")
        keys = seen.page.keyboard
        expect(seen.page.get_by_label("Token")).to_be_focused()
        keys.insert_text(admin)
        keys.press("Enter")
        expect(seen.page.get_by_role("heading", level=1)).to_have_text(f"Order {placed}")
        keys.press("Tab")
        expect(seen.page.get_by_text("Skip to the content")).to_be_focused()
        seen.page.get_by_role("searchbox").focus()
        keys.insert_text(placed)
        keys.press("Enter")
        expect(seen.page).to_have_url(re.compile(r"/find\?q="))
        link = seen.page.get_by_role("link", name=placed).first
        link.focus()
        keys.press("Enter")
        summary = seen.page.locator("summary").first
        summary.focus()
        keys.press("Enter")
        evidence = seen.page.locator("dl.evidence").first
        expect(evidence).to_be_visible()
        seen.page.wait_for_event("response", lambda answer: answer.url.endswith(f"/orders/{placed}"))
        expect(evidence).to_be_visible()  # a poll closes nothing
        summary_link = seen.page.locator('svg.story a[href="#step-2"]')
        summary_link.focus()
        keys.press("Enter")
        expect(seen.page.locator("#step-2")).to_be_visible()


def test_a_crashed_order_heals_while_one_looks_on(browser: Browser, shop: Shop, base: str, admin: str) -> None:
    """Its process is killed after stock reserved; the page tells what happens next, and then how it ended."""
    goods = shop.goods(stock=5)
    supervisor = shop.deployment.supervisor
    supervisor.restart("order", extra_env={"ORDERS_FAILPOINTS": "order.deducted=kill"})
    supervisor.wait_ready(within=60)
    with pytest.raises(Unreachable):
        shop.user("bob").post("order", "/orders", {"items": [{"goods_id": goods, "quantity": 2}]})
    order_id = shop.newest_order_id()
    supervisor.wait_ready(within=60)
    with visit(browser, base, admin) as seen:
        seen.go(f"/orders/{order_id}")
        ended = seen.page.locator(".sentence.ended")
        expect(ended).to_contain_text("never came to be", timeout=40_000)
        expect(seen.page.locator("#live")).not_to_have_attribute("data-hx-trigger", re.compile("every"))
    eventually(lambda: shop.available(goods) == 5, within=10)


PAGES = (
    *("/", "/orders", "/orders/{order}", "/orders?user=nobody", "/find?q={order}", "/find", "/nowhere"),
    *("/messages", "/dead", "/stock", "/coupons", "/payments", "/payments/{order}", "/reconcile", "/drills"),
    *("/transactions", "/sales", "/sales/{sale}", "/find?q={sale}", "/story-files", "/messages/{message}"),
    *("/stock/{goods}", "/coupons/{coupon}", "/sagas", "/transactions?of=requests", "/transactions?of=purchases"),
)


@pytest.mark.timeout(300)  # axe takes seconds a page on a machine that does something else
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)])
def test_every_page_is_accessible(
    *, browser: Browser, base: str, admin: str, placed: str, sale: str, ids: Mapping[str, str], width: int, dark: bool
) -> None:
    """Axe finds nothing (WCAG 2.2 AA); nothing is wider than a small screen, heavy, or from elsewhere."""
    for path in PAGES:
        with visit(browser, base, admin, width=width, dark=dark) as seen:
            seen.go(path.format(order=placed, sale=sale, **ids))
            if path == "/nowhere":
                seen.complaints.clear()  # the browser notes its status
            expect(seen.page.locator("main h1")).to_be_visible()
            _check(seen, path)
    with visit(browser, base, None, width=width, dark=dark) as seen:
        seen.go("/login")
        _check(seen, "/login")


@pytest.mark.timeout(300)
def test_by_its_buttons_an_order_is_paid_returned_and_cancelled(
    browser: Browser, shop: Shop, base: str, admin: str
) -> None:
    """Each page tells what came of it; stock can't release meanwhile, so what is stuck is seen, and then resent."""
    ann, tea = shop.user(), shop.goods()
    bought, unwanted, owed = (place(ann, {tea: 1}).body["order_id"] for _ in range(3))
    with visit(browser, base, admin, width=360, dark=True) as seen:
        seen.page.emulate_media(reduced_motion="reduce")  # axe would see colours that are still changing
        _pay(seen, bought)
        with shop.unable_to_release():
            _return(seen, bought)
            _cancel(seen, shop, unwanted)
            (dead,) = eventually(lambda: shop.find(key=unwanted, state=State.DEAD), within=60)
            expect(seen.page.locator(".sentence.stuck")).to_be_visible()
            _load_anew(seen)
            _check_by_day_too(seen, "an order that is stuck")
        _resend(seen, dead.message_id)
        seen.go(f"/stock/{tea}")
        seen.page.get_by_label("Pieces that came in").fill("5")
        seen.page.get_by_role("button", name="Add them").click()
        expect(seen.page.locator("main")).to_contain_text(re.compile(r"15 in all = \d+ available"))

        _have_page_to_pay_on(shop, owed)
        seen.go(f"/orders/{owed}")
        seen.page.get_by_role("button", name=re.compile("^Pay ")).click()
        expect(seen.page.get_by_role("heading", level=1)).to_have_text(f"Pay order {owed}")
        _check(seen, "where to pay")

        seen.go(f"/orders/{bought}")
        expect(seen.page.get_by_role("heading", name="Its return is done")).to_be_visible(timeout=60_000)


def _pay(seen: Visit, order_id: str) -> None:
    page = seen.page
    seen.go(f"/orders/{order_id}")
    page.get_by_role("button", name=re.compile("^Pay ")).click()
    expect(page.get_by_role("status")).to_have_text("It is paid.")
    _load_anew(seen)
    _check_by_day_too(seen, "a paid order")
    seen.go(f"/payments/{order_id}")
    expect(page.get_by_role("region", name="Where it stands")).to_contain_text("succeeded")
    _check(seen, "a payment")


def _return(seen: Visit, order_id: str) -> None:
    """Send the form; leave at the page of the return, which is under way."""
    page = seen.page
    seen.go(f"/orders/{order_id}")
    form = page.locator("form", has=page.get_by_role("button", name="Return it"))
    form.get_by_label("Why").fill("too small")
    page.once("dialog", lambda asked: asked.accept())
    form.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Return: done")
    _load_anew(seen)
    _check_by_day_too(seen, "an order whose return is under way")
    page.get_by_role("link", name="Retry, skip a step, or give it up").click()
    expect(page.get_by_role("button", name="Retry it")).to_be_visible()
    _load_anew(seen)
    _check_by_day_too(seen, "a return that is under way")


def _cancel(seen: Visit, shop: Shop, order_id: str) -> None:
    """Say no to the question first."""
    page = seen.page
    seen.go(f"/orders/{order_id}")
    button = page.get_by_role("button", name="Cancel")
    page.once("dialog", lambda asked: asked.dismiss())
    button.click()
    assert shop.admin.get("order", f"/orders/{order_id}")["status"] == "created"
    page.once("dialog", lambda asked: asked.accept())
    button.click()
    expect(page.get_by_role("status")).to_contain_text("It is cancelled")


def _resend(seen: Visit, message_id: str) -> None:
    """Choose it among the dead letters; leave at the page of what was done, once its effect is seen."""
    page = seen.page
    seen.go(f"/messages/{message_id}")
    _check_by_day_too(seen, "a dead letter")
    seen.go("/dead")
    page.get_by_label(f"Choose {message_id}").check()
    _check(seen, "dead letters")
    page.get_by_role("button", name="Show what would be done to those chosen").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Resend: what would be done")
    _check_by_day_too(seen, "what would be done")
    page.get_by_label("Why").fill("stock is back")
    page.get_by_role("button", name="Resend 1").click()
    expect(page.locator("#live")).to_contain_text("1 done")
    expect(page.locator("#live .state.good", has_text="seen")).to_be_visible(timeout=30_000)
    _load_anew(seen)
    _check(seen, "what was sent on")


def _have_page_to_pay_on(shop: Shop, order_id: str) -> None:
    """Have a try be open at the sandbox's page, as at a provider that always has one: a console names no scenario."""
    assert pay(shop.admin, order_id, "page").status == 202
    database = Database(shop.deployment.database_url("pay"))
    try:
        database.transact(
            lambda c: c.execute(update(attempts).where(attempts.c.order_id == int(order_id)).values(scenario=None))
        )
    finally:
        database.close()


def _check_by_day_too(seen: Visit, what: str) -> None:
    """Check a page as it is seen, and on a large light screen."""
    _check(seen, what)
    seen.page.emulate_media(color_scheme="light")
    seen.page.set_viewport_size({"width": 1280, "height": 800})
    assert seen.faults() == [], what
    assert not seen.is_too_wide(), what
    seen.page.emulate_media(color_scheme="dark")
    seen.page.set_viewport_size({"width": 360, "height": 800})


@pytest.mark.timeout(300)
def test_something_is_broken_and_heals_while_one_looks_on(browser: Browser, base: str, admin: str) -> None:
    """A step and a fault are chosen by keyboard; the page tells what happens, then the verdict; the report opens."""
    with visit(browser, base, admin, width=360, dark=True) as seen:
        seen.go("/drills")
        seen.page.get_by_label("At which step, and what").select_option("kill-order.deducted")
        button = seen.page.get_by_role("button", name="Break it")
        button.focus()
        seen.page.keyboard.press("Enter")
        expect(seen.page.get_by_role("heading", level=1)).to_have_text("kill-order.deducted")
        _check(seen, "a drill that runs", idle=False)
        expect(seen.page.locator("#live")).to_contain_text("was killed by SIGKILL at order.deducted", timeout=90_000)
        expect(seen.page.get_by_role("group", name=re.compile("What happened to order"))).to_be_visible(timeout=30_000)
        _load_anew(seen)
        _check(seen, "a drill whose order heals", idle=False)
        verdict = seen.page.locator("section[aria-labelledby=verdict]")
        expect(verdict).to_contain_text("passed", timeout=60_000)
        expect(verdict).to_contain_text("total = available + live reservations")
        expect(seen.page.locator("p.sentence.ended")).to_contain_text("never came to be")
        _load_anew(seen)
        _check(seen, "a drill that ended")
        report = seen.page.get_by_role("link", name="The whole report").get_attribute("href")
        seen.go("/drills")
        expect(seen.page.get_by_role("row", name="kill-order.deducted")).to_contain_text("passed")
        opened = seen.page.goto(f"{base}{report}")  # it runs nothing, which is what playwright would look with
        assert opened is not None
        assert opened.ok
        html = opened.text()
        assert "<h1>Crash-recovery drills</h1>" in html
    _check_file(browser, base, html)


@pytest.mark.timeout(300)
def test_a_saved_story_is_accessible(browser: Browser, shop: Shop, base: str, admin: str, placed: str) -> None:
    """Axe finds nothing in the file, all evidence open, on a small dark screen; nor where the console opens it."""
    cookie = {"Cookie": f"orders_console={admin}", "Accept": "text/html"}
    saved = shop.raw("console", "GET", f"/orders/{placed}/story.html", headers=cookie)
    _check_file(browser, base, saved.data.decode())
    with visit(browser, base, admin, width=360, dark=True) as seen:
        seen.go("/story-files")
        kept = {"name": "story.html", "mimeType": "text/html", "buffer": saved.data}
        seen.page.get_by_label("Story file").set_input_files(kept)
        seen.page.get_by_role("button", name="Open").click()
        expect(seen.page.get_by_role("heading", level=1)).to_have_text(f"Order {placed}, as it was saved")
        expect(seen.page.get_by_role("status")).to_contain_text("The file is intact.")
        _check(seen, "a story file, opened")


def _check_file(browser: Browser, base: str, html: str) -> None:
    """Check a page of ours as it is read from a file, which may not run anything itself."""
    with visit(browser, base, None, width=360, dark=True) as seen:
        seen.page.set_content(html)
        seen.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert seen.faults() == []
        assert not seen.is_too_wide()


def _load_anew(seen: Visit) -> None:
    """Load the page once more: what it weighs is that, and not all that was polled before."""
    seen.loaded.clear()
    seen.page.reload()


def _check(seen: Visit, path: str, *, idle: bool = True) -> None:
    seen.page.wait_for_load_state("networkidle" if idle and path != "/" else "load")
    assert seen.faults() == [], path
    assert not seen.is_too_wide(), path
    assert seen.outside() == [], path
    assert seen.weight() <= HEAVIEST, path
    seen.loaded.clear()  # what comes next is weighed by itself


def test_times_are_shown_in_the_viewer_s_zone_too(browser: Browser, base: str, admin: str) -> None:
    """Beside UTC, also after a poll has brought new ones."""
    with visit(browser, base, admin) as seen:
        seen.go("/")
        as_of = seen.page.locator("#live > p time")
        expect(as_of).to_contain_text("GMT+9")
        before = as_of.get_attribute("datetime")
        expect(as_of).not_to_have_attribute("datetime", before or "")
        expect(as_of).to_contain_text("GMT+9")
        expect(as_of).to_contain_text("UTC")


def test_a_console_that_is_gone_is_said_to_be(browser: Browser, shop: Shop, base: str, admin: str) -> None:
    """The page that is open says since when, and goes on once the console is back."""
    with visit(browser, base, admin) as seen:
        seen.go("/")
        stale = seen.page.locator("#stale")
        expect(stale).to_be_hidden()
        supervisor = shop.deployment.supervisor
        supervisor.hold("console")
        supervisor.kill("console", 9)
        expect(stale).to_be_visible(timeout=30_000)
        supervisor.release("console")
        expect(stale).to_be_hidden(timeout=60_000)
        seen.complaints.clear()  # the browser notes each request that failed meanwhile
