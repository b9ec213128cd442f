"""Pages of orders: what they show of what the services tell, and that they ask with the viewer's own token."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jwt import decode

from common.errors import PeerUnavailable
from common.process import Service
from console.clients.services import Refused, Services
from console.service.orders import OneOrder
from console.story import tell
from console.story.model import Mood
from halfmessage.errors import NotFound
from halfmessage.saga.model import RunState
from tests.unit.console_site import Browser, running, token

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ORDER: Mapping[str, Any] = {
    "order_id": "7",
    "user_id": "alice",
    "status": "created",
    "close_reason": None,
    "items": [
        {"goods_id": "1", "name": HOSTILE, "brief": HOSTILE, "image": None, "quantity": 2, "unit_price": 350,
         "market_price": None}
    ],
    "receiver": {"name": HOSTILE, "phone": HOSTILE, "address": HOSTILE},
    "coupon_id": None,
    "goods_amount": 700,
    "discount_amount": 0,
    "total_amount": 700,
    "currency": "EUR",
    "payment": None,
    "created_at": "2026-11-28T10:00:00.000Z",
    "expires_at": "2026-11-28T10:15:00.000Z",
    "paid_at": None,
    "closed_at": None,
}  # fmt: skip
HALF: Mapping[str, Any] = {
    "at": "2026-11-28T10:00:00.000Z",
    "event": "half message",
    "source": "broker",
    "known": True,
    "evidence": {"topic": "order_rollback", "message_id": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}},
}
Answer = Mapping[str, Any] | Exception
Asked = list[tuple[str, str, str]]
CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Neighbours:
    """The services, played: what each path answers, and who asked for what with which token."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {
            "/orders": {"items": [ORDER], "next_cursor": "c2"},
            "/admin/orders": {"items": [ORDER], "next_cursor": None},
            "/orders/7": ORDER,
            "/orders/7/timeline": {"entries": [HALF]},
        }
        self.asked: Asked = []

    def answer(self, service: str, path: str, token: str, *body: Any, **query: Any) -> Mapping[str, Any]:
        self.asked.append((service, path, token))
        self.body = body[0] if body else None
        self.query = {name: value for name, value in query.items() if value is not None}
        found = self.answers.get(path, NotFound("There is no such order."))
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("console")) as service:
        service.start[1]()  # ids
        yield service


@pytest.fixture(autouse=True)
def neighbours(monkeypatch: pytest.MonkeyPatch) -> Neighbours:
    played = Neighbours()
    for method in ("get", "post"):
        monkeypatch.setattr(Services, method, played.answer)
    return played


@pytest.fixture
def alice(console: Service) -> Browser:
    return Browser(console, token("alice", ("orders",)))


@pytest.fixture
def root(console: Service) -> Browser:
    return Browser(console, token())


def csrf(browser: Browser) -> str:
    return str(CSRF.findall(browser.get("/orders/7").text)[0])


def test_a_user_asks_for_their_own_orders_with_their_own_token(alice: Browser, neighbours: Neighbours) -> None:
    """Whatever user an address names: what the services let them see is what is shown."""
    page = alice.get("/orders?user=bob&status=paid&cursor=c1")
    assert page.status_code == 200
    assert [asked[:2] for asked in neighbours.asked] == [("order", "/orders")]
    assert decode(neighbours.asked[0][2], options={"verify_signature": False})["sub"] == "alice"
    assert "user_id" not in neighbours.query
    assert neighbours.query.items() >= {"status": "paid", "cursor": "c1"}.items()
    assert "/orders?user=bob&amp;status=paid&amp;cursor=c2" in page.text


def test_another_s_order_is_not_there(alice: Browser, neighbours: Neighbours) -> None:
    """The service says so of the order and of its timeline, and the page says nothing else."""
    del neighbours.answers["/orders/7"], neighbours.answers["/orders/7/timeline"]
    page = alice.get("/orders/7")
    assert page.status_code == 404
    assert "alice" not in page.text.replace('<span title="orders">alice</span>', "")


def test_an_admin_sees_all_users_orders(root: Browser, neighbours: Neighbours) -> None:
    """Or one user's."""
    assert root.get("/orders?user=alice").status_code == 200
    assert neighbours.asked[0][:2] == ("order", "/admin/orders")
    assert neighbours.query["user_id"] == "alice"


def test_an_order_is_looked_at_until_its_return_has_ended() -> None:
    """All is given back before the return is written down as done: a page that stopped there would never tell so."""
    story = replace(tell(ORDER, [], order_id="7", now_ms=0), mood=Mood.ENDED)
    over = {state: OneOrder(ORDER, story, [], {"state": state}).is_over for state in RunState}
    assert {state for state, is_over in over.items() if not is_over} == {RunState.RUNNING, RunState.UNDOING}
    assert OneOrder(ORDER, story, []).is_over


def test_a_returned_order_shows_its_return(root: Browser, alice: Browser, neighbours: Neighbours) -> None:
    """Its steps, how often they failed and with which words; where to go on is told to admins. Silent, it is said."""
    steps = [{"name": "restock", "state": "waiting", "tries": 3, "last_error": HOSTILE, "next_try_at": None}]
    told = {"run_id": "9", "state": "running", "reason": HOSTILE, "why": None, "steps": steps, "ended_at": None,
            "begun_at": "2026-11-28T10:00:00.000Z"}  # fmt: skip
    neighbours.answers["/orders/7"] = {**ORDER, "status": "returned"}
    neighbours.answers["/orders/7/return"] = told
    html = root.get("/orders/7").text
    assert "Its return is running" in html
    assert "Its return does not get on: restock failed 3 times (&lt;script&gt;" in html
    assert "and is tried again as soon as a process of order has time" in html
    assert '<th scope="row">restock</th>' in html
    assert '<td class="figure">3</td>' in html
    assert '<a href="/sagas/9">' in html
    assert HOSTILE not in html
    assert '<a href="/sagas/9">' not in alice.get("/orders/7").text
    neighbours.answers["/orders/7/return"] = {
        **told, "steps": [{**steps[0], "tries": 0, "next_try_at": "2026-11-28T10:00:07.000Z"}]
    }  # fmt: skip
    assert "Its return goes on: restock comes next, at 2026-11-28 10:00:07 UTC." in alice.get("/orders/7").text
    neighbours.answers["/orders/7/return"] = {**told, "state": "given-up", "why": "settled by hand"}
    assert "Its return was given up (settled by hand)" in alice.get("/orders/7").text
    neighbours.answers["/orders/7/return"] = {**told, "state": "done"}
    assert 'class="sentence stuck"' not in alice.get("/orders/7").text
    neighbours.answers["/orders/7/return"] = PeerUnavailable("It did not answer.")
    assert "Its return: It did not answer." in root.get("/orders/7").text


@pytest.mark.parametrize("path", ["/orders", "/orders/7", "/find?q=7"])
def test_hostile_names_stay_text(root: Browser, neighbours: Neighbours, path: str) -> None:
    """Of goods, of receivers, in evidence: nothing that others wrote is markup on any page."""
    found = {"way": "order", "items": [{**ORDER, "user_id": HOSTILE}], "more": False}
    coupon = {"code": HOSTILE, "coupon_id": "7", "uses": 1, "free": 1, "held": 0, "used": 0, "withdrawn": False}
    neighbours.answers |= {"/admin/find": {"found": [found]}, "/coupons/7": coupon}
    page = root.get(path).text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "<img" not in page


def test_a_part_that_is_silent_is_said_to_be(root: Browser, neighbours: Neighbours) -> None:
    """The rest shows: the order without its story, and a list that can't be had is no empty list."""
    neighbours.answers["/orders/7/timeline"] = PeerUnavailable("The order service did not answer.")
    page = root.get("/orders/7")
    assert page.status_code == 200
    assert "What happened to it: The order service did not answer." in page.text
    assert "7.00 EUR" in page.text
    neighbours.answers["/admin/orders"] = PeerUnavailable("The order service did not answer.")
    page = root.get("/orders")
    assert page.status_code == 503
    assert "be shown now: The order service did not answer." in page.text
    assert "No order" not in page.text


def test_what_is_left_of_an_order_that_never_was_is_shown(root: Browser, neighbours: Neighbours) -> None:
    """To an admin: its half message is evidence."""
    del neighbours.answers["/orders/7"]
    page = root.get("/orders/7")
    assert page.status_code == 200
    assert "half message" in page.text


def test_what_may_be_left_of_an_order_is_not_said_to_be_nothing(
    root: Browser, alice: Browser, neighbours: Neighbours
) -> None:
    """There is no row of it, and its timeline does not answer: to an admin not known, to a user no order of theirs."""
    del neighbours.answers["/orders/7"]
    neighbours.answers["/orders/7/timeline"] = PeerUnavailable("The order service did not answer.")
    page = root.get("/orders/7")
    assert page.status_code == 200
    assert "What happened to it: The order service did not answer." in page.text
    assert alice.get("/orders/7").status_code == 404


def test_ids_in_evidence_lead_to_their_pages(root: Browser, alice: Browser, neighbours: Neighbours) -> None:
    """For an admin, where there is such a page, and the id is one; a user may not see those pages."""
    about = {"message_id": "M1", "tx_id": "41", "sale_id": HOSTILE, "check": 1, "note": "41"}
    charge = {**HALF, "event": "money sent back", "source": "pay", "evidence": {"charge_id": HOSTILE, "tx_id": None}}
    neighbours.answers["/orders/7/timeline"] = {"entries": [{**HALF, "evidence": about}, charge]}
    steps = root.get("/orders/7").text.partition('id="steps"')[2].partition("</section>")[0]
    assert re.findall(r'<a href="([^"]+)"><code>', steps) == ["/messages/M1", "/find?q=41", "/payments/7"]
    assert "<code>&lt;script&gt;alert(1)" in steps
    assert "<script>alert" not in steps
    assert '"><code>' not in alice.get("/orders/7").text.partition('id="steps"')[2].partition("</section>")[0]


def test_an_order_that_may_still_change_is_asked_for_again(root: Browser) -> None:
    """A poll gets the part that changes alone."""
    assert 'hx-trigger="every 2s"' in root.get("/orders/7").text
    part = root.get("/orders/7", HX_Request="true").text
    assert part.lstrip().startswith('<div id="live"')
    assert "<nav" not in part


@pytest.mark.parametrize("action", ["pay", "cancel"])
def test_an_action_is_done_in_the_viewer_s_name(alice: Browser, neighbours: Neighbours, action: str) -> None:
    """And only from a form of ours."""
    neighbours.answers[f"/orders/7/{action}"] = ORDER
    assert alice.post(f"/orders/7/{action}", {}).status_code == 403
    assert ("order", f"/orders/7/{action}") not in {asked[:2] for asked in neighbours.asked}
    proof = csrf(alice)
    done = alice.post(f"/orders/7/{action}", {"csrf": proof})
    assert done.status_code == 303
    assert done.headers["Location"].startswith("/orders/7?did=")
    assert ("order", f"/orders/7/{action}") in {asked[:2] for asked in neighbours.asked}
    assert 'role="status"' in alice.get(done.headers["Location"]).text


def test_a_refused_action_says_why(alice: Browser, neighbours: Neighbours) -> None:
    """In the service's words, with the order below."""
    neighbours.answers["/orders/7/pay"] = Refused("The order is closed and can't be paid.")
    page = alice.post("/orders/7/pay", {"csrf": csrf(alice)})
    assert page.status_code == 409
    assert "The order is closed and can&#39;t be paid." in page.text


def test_an_action_without_an_answer_is_not_said_to_have_failed(alice: Browser, neighbours: Neighbours) -> None:
    """It may have been done."""
    neighbours.answers["/orders/7/pay"] = PeerUnavailable("The order service did not answer; nothing was changed.")
    page = alice.post("/orders/7/pay", {"csrf": csrf(alice)})
    assert page.status_code == 503
    assert "Whether it was done shows below" in page.text
    assert "nothing was changed" not in page.text


def test_a_provider_s_own_page(alice: Browser, neighbours: Neighbours) -> None:
    """Where the money is taken elsewhere, its address is shown, not followed."""
    neighbours.answers["/orders/7/pay"] = {"pay_url": "https://pay.example/1?a=<b>"}
    page = alice.post("/orders/7/pay", {"csrf": csrf(alice)})
    assert 'href="https://pay.example/1?a=&lt;b&gt;"' in page.text


class Own:
    """A provider of somebody else's."""

    name = "own-bank"


def test_each_provider_of_the_deployment_has_a_button(tmp_path: Path, neighbours: Neighbours) -> None:
    """The service is told which was chosen, and no other is; where there is one, it need not be named."""
    words = f"stripe,wechat,{__name__}:Own,{__name__}:Missing,no_such_module:Own"
    elsewhere = {"pay_url": "https://pay.example/1"}
    neighbours.answers["/orders/7/pay"] = elsewhere
    with running(tmp_path, providers=words) as service:
        alice = Browser(service, token("alice", ("orders",)))
        html = alice.get("/orders/7").text
        offered = re.findall(r'name="provider" value="([^"]*)"><button>Pay 7.00 EUR through ([^<]*)<', html)
        assert offered == [(name, name) for name in ("stripe", "wechat", "own-bank")]
        form = {"csrf": csrf(alice)}
        assert alice.post("/orders/7/pay", {**form, "provider": "sandbox"}).status_code == 400
        assert alice.post("/orders/7/pay", form).status_code == 400
        page = alice.post("/orders/7/pay", {**form, "provider": "wechat"})
        assert "https://pay.example/1" in page.text
        assert neighbours.body == {"provider": "wechat"}


def test_one_provider_has_one_button(tmp_path: Path, neighbours: Neighbours) -> None:
    """Whichever it is; and without a pay service there is none."""
    neighbours.answers["/orders/7/pay"] = ORDER
    with running(tmp_path, providers="stripe") as service:
        alice = Browser(service, token("alice", ("orders",)))
        assert "<button>Pay 7.00 EUR</button>" in alice.get("/orders/7").text
        assert alice.post("/orders/7/pay", {"csrf": csrf(alice)}).status_code == 303
        assert neighbours.body == {"provider": "stripe"}
    with running(tmp_path, participants="stock") as service:
        assert "/orders/7/pay" not in Browser(service, token("alice", ("orders",))).get("/orders/7").text


def form_of(browser: Browser, **fields: str) -> dict[str, str]:
    """Return what the form of an order's page sends."""
    html = browser.get("/orders/7").text
    return dict(re.findall(r'name="(csrf|form_id)" value="([0-9a-f]+)"', html)) | fields


@pytest.mark.parametrize("action", ["check", "sweep"])
def test_only_admins_check_and_sweep(alice: Browser, root: Browser, neighbours: Neighbours, action: str) -> None:
    """A user is shown no button, and finds no such address; a form of nobody's is refused, and nothing is done."""
    neighbours.answers["/sweep"] = {}
    assert f"{action.capitalize()} now" not in alice.get("/orders/7").text
    assert alice.post(f"/orders/7/{action}", {"csrf": csrf(alice)}).status_code == 404
    assert root.post(f"/orders/7/{action}", {"form_id": "1"}).status_code == 403
    assert ("order", "/sweep") not in {asked[:2] for asked in neighbours.asked}
    assert root.post(f"/orders/7/{action}", form_of(root)).status_code == 303


def test_a_sweep_is_written_down(root: Browser, neighbours: Neighbours) -> None:
    """Who, when, why, and what it did; sent twice, it is done once."""
    neighbours.answers["/sweep"] = {"released": 2, "undecided": 1, "violations": []}
    form = form_of(root, why=HOSTILE)
    for _ in range(2):
        done = root.post("/orders/7/sweep", form)
    assert [asked[:2] for asked in neighbours.asked].count(("order", "/sweep")) == 1
    page = root.get(done.headers["Location"]).text
    assert "Of all orders: 2 given back, 1 left undecided" in page.partition('id="live"')[0]
    table = page.partition('id="done"')[2]
    assert "<td>root</td><td>sweep now</td>" in table
    assert "&lt;script&gt;alert(1)" in table
    assert "<script>alert" not in page


def test_a_paid_order_is_returned_once_and_written_down(alice: Browser, root: Browser, neighbours: Neighbours) -> None:
    """By its owner, with a reason; sent twice, it is done once, and what became of it is told to them and to admins."""
    assert "/orders/7/return" not in alice.get("/orders/7").text  # it is not paid yet
    neighbours.answers |= {"/orders/7": {**ORDER, "status": "paid"}, "/orders/7/return": {"run_id": "9"}}
    form = form_of(alice, why=HOSTILE)
    for _ in range(2):
        done = alice.post("/orders/7/return", form)
    assert [asked[:2] for asked in neighbours.asked].count(("order", "/orders/7/return")) == 1
    page = alice.get(done.headers["Location"]).text
    assert "<strong>Return</strong>" in page
    assert "<script>alert" not in page
    assert "<td>alice</td><td>return</td>" in root.get("/orders/7").text
    bob = Browser(alice.service, token("bob", ("orders",)))
    assert "<strong>Return</strong>" not in bob.get(done.headers["Location"]).text


def test_a_return_that_is_refused_says_why(alice: Browser, neighbours: Neighbours) -> None:
    """In the service's words. Without a proof or a reason, or of another's order, nothing is asked for or written."""
    neighbours.answers |= {"/orders/7": {**ORDER, "status": "paid"}, "/orders/7/return": Refused("It is too late.")}
    form = form_of(alice, why="too small")
    assert alice.post("/orders/7/return", {**form, "csrf": ""}).status_code == 403
    assert alice.post("/orders/7/return", {**form, "why": " "}).status_code == 400
    assert alice.post("/orders/8/return", form).status_code == 404
    assert not any(path.endswith("/return") for _, path, _ in neighbours.asked)
    done = alice.post("/orders/7/return", form)
    assert "It is too late." in alice.get(done.headers["Location"]).text


@pytest.mark.parametrize("query", ["status=weird", "limit=5", "status=paid&status=paid"])
def test_parameters_that_a_page_does_not_take(root: Browser, query: str) -> None:
    """They are refused, not ignored."""
    assert root.get(f"/orders?{query}").status_code in {400, 422}


def test_what_can_not_be_asked_is_not_said_to_be_nothing(root: Browser, neighbours: Neighbours) -> None:
    """The find page names each place that did not answer."""
    neighbours.answers["/admin/find"] = PeerUnavailable("The order service did not answer.")
    page = root.get("/find?q=7").text
    assert "Not asked: orders, which did not answer (The order service did not answer.)" in page
    assert "Nothing where an answer came." in page


def test_the_find_page_says_what_is_not_found_there(root: Browser) -> None:
    """The id of a request is in no row and no message."""
    assert "The id of a call that placed no order" in root.get("/find").text
    assert "without spaces" in root.get("/find?q=a+b").text


def test_a_user_can_not_find(alice: Browser) -> None:
    """Nor is shown the box."""
    assert alice.get("/find?q=7").status_code == 404
    assert "Find anything" not in alice.get("/orders").text
