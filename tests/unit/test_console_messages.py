"""The console's pages of messages: searched, shown whole, and sent on after a dry run."""

import json
import re
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from common.process import Service
from console.pages.viewer import COOKIE
from console.service import searching
from halfmessage.clock import rfc3339
from halfmessage.mq.port import CheckAnswer, Message, State, Verdict
from tests.support import eventually
from tests.unit.console_letters import GROUP, TOPIC, Lying
from tests.unit.console_site import Browser, running, token

_HIDDEN = re.compile(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">')
HOSTILE = "<script>alert(1)</script><img src=x onerror='alert(2)'>\"'"
PAGES = (
    "/messages",
    "/messages/0000000000000001",
    "/dead",
    "/dead/sent",
    "/dead/sent/1",
    "/stock",
    "/stock/1",
    "/coupons",
)
MORE_PAGES = ("/coupons/1", "/payments", "/payments/1", "/sagas", "/sagas/1", "/reconcile", "/transactions")
FORMS = (
    *("/dead/plan", "/dead/send", "/stock/1/restock", "/stock/1/withdraw", "/stock/1/total", "/coupons/1/withdraw"),
    *("/payments/1/refund", "/reconcile/run", "/transactions/sweep"),
    *("/sagas/1/retry", "/sagas/1/give-up", "/sagas/1/skip"),
)


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Lying]:
    made = Lying(tmp_path)
    yield made
    made.close()


@pytest.fixture
def console(tmp_path: Path, lying: Lying) -> Iterator[Service]:
    """Return a console on the broker of `lying`."""
    assert lying.broker
    with running(tmp_path) as service:
        service.start[1]()  # ids
        yield service


@pytest.fixture
def browser(console: Service) -> Browser:
    return Browser(console, token())


def hidden(html: str, action: str) -> dict[str, Any]:
    """Return the hidden fields of the form that is sent to `action`; of ids all of them."""
    form, *_ = re.findall(rf'<form method="post" action="{action}".*?</form>', html, re.DOTALL)
    fields: dict[str, Any] = {"id": []}
    for name, value in _HIDDEN.findall(form):
        if name == "id":
            fields["id"].append(value)
        else:
            fields[name] = value
    return fields


def proof(browser: Browser) -> str:
    """Return what proves a form; every page has one that ends the login."""
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', browser.get("/dead").text)
    assert found is not None
    return found[1]


def planned(browser: Browser, way: str, *ids: str) -> dict[str, Any]:
    """Go through the dry run; return the fields of the form that does it."""
    csrf = proof(browser)
    answer = browser.post("/dead/plan", {"csrf": csrf, "way": way, "id": list(ids)})
    assert answer.status_code == 200
    return hidden(answer.text, "/dead/send")


# searching


def test_messages_are_turned_page_by_page(browser: Browser, lying: Lying, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was searched for goes on; each message comes once."""
    monkeypatch.setattr(searching, "PAGE", 2)
    ids = [lying.producer.send(Message("other", b"{}", keys=("k",))) for _ in range(5)]
    lying.producer.send(Message("elsewhere", b"{}"))
    seen, query = [], "/messages?key=k"
    for _ in range(3):
        html = browser.get(query).text
        seen += re.findall(r'<th scope="row"><a href="/messages/([0-9A-F]+)">', html)
        more = dict(_HIDDEN.findall(html.partition('id="found"')[2]))
        query = "/messages?" + "&".join(f"{name}={quote(value)}" for name, value in more.items())
    assert seen == ids[::-1]
    assert "Older ones" not in html


def test_messages_are_searched_by_group_state_and_time(browser: Browser, lying: Lying) -> None:
    """Times are UTC; what fits nothing is said to."""
    dead = lying.dead()
    born = rfc3339(lying.view(dead).born_at)
    unheard = lying.producer.send(Message("other", b"{}"))

    def shows(**asked: str) -> set[str]:
        html = browser.get("/messages?" + "&".join(f"{name}={quote(value)}" for name, value in asked.items())).text
        return {one for one in (dead, unheard) if one in html}

    assert shows() == {dead, unheard}
    assert (
        shows(group=GROUP)
        == shows(state="dead")
        == shows(topic=TOPIC)
        == shows(until=rfc3339(lying.view(dead).born_at + 1))
        == {dead}
    )
    assert shows(**{"from": born}) == {dead, unheard}
    assert shows(key="nobody's") == set()
    assert "No message fits." in browser.get("/messages?key=x").text


@pytest.mark.parametrize(
    "query",
    [
        "state=asleep",
        "from=yesterday",
        "until=9999-12-31T23:59:59-23:00",
        "from=0001-01-01T00:00",
        "cursor=1",
        "cursor=1-" + "x" * 65,
        "key=" + "k" * 256,
        "order=1",
    ],
)
def test_a_search_that_means_nothing_is_refused(browser: Browser, query: str) -> None:
    """With what would."""
    assert browser.get(f"/messages?{query}").status_code == 400


# one message


def test_a_message_is_shown_with_its_story(browser: Browser, lying: Lying) -> None:
    """Body, properties, groups, checks, and the order that it is about."""
    dead = lying.dead(b'{"order_ids": ["7"]}', properties={"tx_id": "5"}, tag="void")
    html = unescape(browser.get(f"/messages/{dead}").text)
    for shown in (
        '"order_ids": [\n    "7"\n  ]',
        "tx_id",
        "void",
        GROUP,
        '<a href="/orders/7">',
        "Body: JSON, 20 bytes",
    ):
        assert shown in html, shown
    parked = browser.get(f"/messages/{lying.parked()}").text
    assert "Check-backs: 1" in parked
    assert "unknown" in parked


def test_a_body_full_of_markup_stays_text(browser: Browser, lying: Lying) -> None:
    """So do keys, properties, tags and topics, wherever they are shown."""
    topic = f"t{HOSTILE}"
    message = Message(topic, HOSTILE.encode(), HOSTILE, (HOSTILE,), {HOSTILE: HOSTILE})
    message_id = lying.producer.send(message)
    dead = lying.dead(HOSTILE.encode(), properties={"p": HOSTILE})
    for path in (
        f"/messages/{message_id}",
        f"/messages/{dead}",
        "/messages",
        "/dead",
        "/messages?key=" + quote(HOSTILE),
    ):
        html = browser.get(path).text
        assert "<script>alert" not in html, path
        assert "<img" not in html, path
        assert "onerror=" not in re.sub(r"&lt;.*?&gt;", "", html), path
    assert unescape(browser.get(f"/messages/{message_id}").text).count(HOSTILE) >= 5


def test_a_body_that_is_no_text_is_shown_in_hex(browser: Browser, lying: Lying) -> None:
    """Up to a bound that is told."""
    message_id = lying.producer.send(Message("other", b"\x00<b>" * 5000))
    html = browser.get(f"/messages/{message_id}").text
    assert "00000000  00 3c 62 3e" in html
    assert "The first 16384 of 20000 bytes are shown." in html


def test_a_message_that_is_not_there(browser: Browser) -> None:
    """It is not found."""
    assert browser.get("/messages/00000000000000FF").status_code == 404


# sending on


def test_the_dry_run_resends_nothing(browser: Browser, lying: Lying) -> None:
    """It tells what would be done to each, and has a form that does it, with those alone that it can be done to."""
    dead, parked = lying.dead(), lying.parked()
    lying.answer, given = Verdict.ACK, len(lying.got)
    fields = planned(browser, "resend", dead, parked)
    assert fields["id"] == [dead]
    assert (lying.view(dead).state, len(lying.got)) == (State.DEAD, given)
    assert "Nothing was sent on" in browser.get("/dead").text


def test_a_dead_letter_is_resent_with_a_reason_that_is_shown(browser: Browser, lying: Lying) -> None:
    """On the page of the form, with the message, and in the list; the effect is told by the consumer."""
    dead, lying.answer = lying.dead(), Verdict.ACK
    sent = browser.post("/dead/send", {**planned(browser, "resend", dead), "why": "stock was <b>down</b>"})
    assert sent.status_code == 303
    lying.until(dead, State.DONE)
    for path in (sent.headers["Location"], f"/messages/{dead}", "/dead"):
        html = browser.get(path).text
        assert "stock was &lt;b&gt;down&lt;/b&gt;" in html, path
        assert "root" in html
        assert "seen</span>" in html, path


@pytest.mark.parametrize("why", ["", " ", "x" * 201])
def test_nothing_is_sent_on_without_a_reason(browser: Browser, lying: Lying, why: str) -> None:
    """Of 1 to 200 characters."""
    dead = lying.dead()
    answer = browser.post("/dead/send", {**planned(browser, "resend", dead), "why": why})
    assert answer.status_code == 400
    assert lying.view(dead).state is State.DEAD
    assert "Nothing was sent on" in browser.get("/dead").text


def test_a_form_that_is_sent_twice_does_it_once(browser: Browser, lying: Lying) -> None:
    """The second click leads to what the first one did."""
    dead = lying.dead()
    fields = {**planned(browser, "resend", dead), "why": "twice"}
    first = browser.post("/dead/send", fields)
    eventually(lambda: len(lying.got) == 4, within=20)
    lying.until(dead, State.DEAD)
    again = browser.post("/dead/send", fields)
    assert (first.status_code, again.headers["Location"]) == (303, first.headers["Location"])
    assert lying.view(dead).state is State.DEAD
    assert len(lying.got) == 4
    html = browser.get(first.headers["Location"]).text
    assert html.count("<td>twice</td>") == 1
    assert "needs attention" in html


def test_all_that_lie_there_are_sent_on_in_one_form(browser: Browser, lying: Lying) -> None:
    """Each with an outcome of its own."""
    dead = [lying.dead() for _ in range(3)]
    csrf = proof(browser)
    fields = hidden(browser.post("/dead/plan", {"csrf": csrf, "way": "resend", "all": "1"}).text, "/dead/send")
    assert sorted(fields["id"]) == sorted(dead)
    lying.console.resend(dead[0])
    lying.until(dead[0], State.DEAD)
    lying.answer = Verdict.ACK
    lying.console.resend(dead[0])
    lying.until(dead[0], State.DONE)
    html = browser.get(browser.post("/dead/send", {**fields, "why": "all"}).headers["Location"]).text
    assert "2 done" in html
    assert "1 nothing" in html


def test_a_parked_half_message_is_resumed(browser: Browser, lying: Lying) -> None:
    """By the same way."""
    parked, lying.check = lying.parked(), CheckAnswer.ROLLBACK
    sent = browser.post("/dead/send", {**planned(browser, "resume", parked), "why": "order is back"})
    lying.until(parked, State.DONE)
    assert "dropped, and given to no consumer" in browser.get(sent.headers["Location"]).text


@pytest.mark.parametrize(
    "wrong",
    [
        {"way": "shred"},
        {"id": []},
        {"id": ["no id"]},
        {"id": [f"{n:016X}" for n in range(501)]},
        {"form_id": "x"},
        {"form_id": "9" * 20},
    ],
)
def test_a_form_that_means_nothing_is_refused(browser: Browser, lying: Lying, wrong: dict[str, Any]) -> None:
    """And nothing is done."""
    dead = lying.dead()
    answer = browser.post("/dead/send", {**planned(browser, "resend", dead), "why": "x", **wrong})
    assert answer.status_code == 400
    assert lying.view(dead).state is State.DEAD


# who may


@pytest.mark.parametrize("path", [*PAGES, *MORE_PAGES])
def test_pages_of_administrators_are_theirs_alone(console: Service, path: str) -> None:
    """A user finds no such page; who has not logged in is sent to the login."""
    assert Browser(console, token("alice", ("orders",))).get(path).status_code == 404
    assert Browser(console).get(path).status_code == 303


@pytest.mark.parametrize("path", FORMS)
def test_forms_of_administrators_are_theirs_alone(console: Service, path: str) -> None:
    """Nor does one do anything without the proof that it is ours, or from another site."""
    alice = Browser(console, token("alice", ("orders",)))
    assert alice.post(path, {"csrf": proof(alice)}).status_code == 404
    root = Browser(console, token())
    assert root.post(path, {"why": "x", "form_id": "1"}).status_code == 403
    csrf = proof(root)
    assert root.post(path, {"csrf": csrf[::-1], "why": "x"}).status_code == 403
    assert root.post(path, {"csrf": csrf, "why": "x"}, Sec_Fetch_Site="cross-site").status_code == 403


# what is down


def test_while_the_broker_is_down_the_pages_say_so(tmp_path: Path) -> None:
    """What needs it is told as not to be shown; what was done is there all the same."""
    with running(tmp_path, broker_url=f"embedded:///{tmp_path}/none/broker.db") as service:
        service.start[1]()
        browser = Browser(service, token())
        for path in ("/messages", "/messages/0000000000000001", "/dead"):
            answer = browser.get(path)
            assert answer.status_code == 200, path
            assert "can't be shown now" in unescape(answer.text), path
        assert "Nothing was sent on" in browser.get("/dead").text
        csrf = proof(browser)
        assert browser.post("/dead/plan", {"csrf": csrf, "way": "resend", "id": "A"}).status_code == 503


def test_while_a_service_is_down_its_pages_say_so(browser: Browser) -> None:
    """None of them answers here."""
    for path in ("/stock", "/stock/1", "/coupons", "/coupons/1", "/payments", "/payments/1", "/sagas", "/sagas/1"):
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "can't be shown now" in unescape(answer.text), path


def test_what_a_service_did_not_answer_to_is_told_as_not_known(browser: Browser) -> None:
    """A restock may have been done; the form can be sent again."""
    csrf = proof(browser)
    fields = {"csrf": csrf, "form_id": "77", "quantity": "3", "why": "delivery"}
    for _ in range(2):
        assert browser.post("/stock/1/restock", fields).status_code == 303
    html = browser.get("/stock/1").text
    assert html.count("restock 3") == 1
    assert "not known" in html
    again = html.partition('id="done"')[2]
    assert re.findall(r'<form method="post" action="([^"]+)"', again) == ["/stock/1/restock"]
    assert 'name="form_id" value="77"' in again
    assert 'name="quantity" value="3"' in again
    assert 'name="why" value="delivery"' in again
    assert browser.post("/stock/1/total", {**fields, "form_id": "78", "total": "4"}).status_code == 303
    assert 'name="total" value="4"' in browser.get("/stock/1").text
    assert browser.post("/payments/1/refund", {**fields, "form_id": "79"}).status_code == 303
    assert 'name="form_id" value="79"' in browser.get("/payments/1").text
    for wrong in ("", "-1", "1.5", "\u0663", "9" * 14):
        assert browser.post("/stock/1/restock", {**fields, "quantity": wrong}).status_code == 400
    for wrong in ("", "x", str(1 << 63), "9" * 19):
        assert browser.post("/stock/1/restock", {**fields, "form_id": wrong}).status_code == 400
    browser.client.set_cookie(COOKIE, token("eve"), domain="localhost")
    assert "Send again" not in browser.get("/stock/1").text


def test_payments_are_found_by_order_and_listed_by_state(browser: Browser) -> None:
    """What is no id and no state is refused before pay is asked."""
    assert browser.get("/payments?order_id=12").headers["Location"] == "/payments/12"
    for wrong in ("order_id=x", "status=paid", "user=ann"):
        assert browser.get(f"/payments?{wrong}").status_code == 400
    html = browser.get("/payments?status=refunding").text
    assert re.findall(r"<option selected>(\w+)</option>", html) == ["refunding"]


def test_returns_are_listed_by_state(browser: Browser) -> None:
    """What is no state is refused before order is asked; the menu leads there."""
    assert browser.get("/sagas?state=paid").status_code == 400
    html = browser.get("/sagas?state=given-up").text
    assert re.findall(r"<option selected>([a-z-]+)</option>", html) == ["given-up"]
    assert '<a href="/sagas"' in html


def test_what_is_done_with_a_return_is_written_down(browser: Browser) -> None:
    """With a reason, but for a retry; that no service answered is told."""
    csrf = proof(browser)
    asked = (("retry", {"why": ""}), ("give-up", {"why": "broken"}), ("skip", {"why": "by hand", "step": "refund"}))
    for number, (word, fields) in enumerate(asked):
        form = {"csrf": csrf, "form_id": str(90 + number), **fields}
        assert browser.post(f"/sagas/1/{word}", form).headers["Location"] == "/sagas/1"
        if fields["why"]:
            assert browser.post(f"/sagas/1/{word}", {**form, "why": ""}).status_code == 400
    html = browser.get("/sagas/1").text
    told = ("retry", "give up", "skip refund", "broken", "by hand")
    assert [html.count(f"<td>{one}</td>") for one in told] == [1] * 5
    assert html.count("not known") == 3
    another = {"csrf": csrf, "form_id": "92", "why": "by hand", "step": "restock"}
    assert browser.post("/sagas/1/skip", another).status_code == 400
    assert browser.post("/sagas/1/skip", {**another, "form_id": "95", "step": "x" * 28}).status_code == 400


def test_without_a_data_directory_nothing_is_compared(browser: Browser) -> None:
    """The page says so, and a form that is sent all the same is refused and written down."""
    assert "does not know the deployment" in browser.get("/reconcile").text
    csrf = proof(browser)
    fields = {"csrf": csrf, "form_id": "5", "what": "compare", "why": ""}
    assert browser.post("/reconcile/run", {**fields, "what": "repair", "why": "x"}).status_code == 400
    assert browser.post("/reconcile/run", {**fields, "what": "repair", "sure": "yes"}).status_code == 400
    for _ in range(2):
        assert browser.post("/reconcile/run", fields).status_code == 303
    html = browser.get("/reconcile").text
    assert html.count("<td>compare</td>") == 1
    assert "refused" in html
    assert "not looked at since this console started" in browser.get("/").text


def test_a_comparison_that_fails_says_so(tmp_path: Path) -> None:
    """In a folder that is no deployment's: what it complained of is on the page, and written down."""
    with running(tmp_path, console_data_dir=tmp_path / "nothing") as service:
        service.start[1]()
        browser = Browser(service, token())
        fields = hidden(browser.get("/reconcile").text.partition('id="compare"')[2], "/reconcile/run")
        assert browser.post("/reconcile/run", fields).status_code == 303
        assert "It ends within" in browser.get("/reconcile").text
        eventually(lambda: "told nothing" in browser.get("/reconcile").text, within=60)
        html = browser.get("/reconcile").text
        assert "not known</span>" in html
        assert "Compare now" in html


def test_a_return_that_is_open_is_shown_beside_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it is at, its order and its saga: all agrees, and it is under way. So is other money that is back."""
    one = {"id": "5", "run_id": "77", "what": "refund failed 11 times", "age_seconds": 90.0, "due_at": "2026-01-01"}
    told = {"clean": True, "checked": {"orders": 1}, "participants": [], "counts": {}, "findings": [], "swept": None}
    back = {"id": "6", "what": "took 249 EUR, 250 EUR were owed", "refunded_at": "2026-01-02"}
    answer = json.dumps({**told, "under_way": [one], "sent_back": {"count": 30, "newest": [back]}})
    monkeypatch.setattr("console.app.command_of", lambda _: [sys.executable, "-c", f"print({answer!r})"])
    with running(tmp_path, console_data_dir=tmp_path) as service:
        service.start[1]()
        browser = Browser(service, token())
        fields = hidden(browser.get("/reconcile").text.partition('id="compare"')[2], "/reconcile/run")
        assert browser.post("/reconcile/run", fields).status_code == 303
        eventually(lambda: "Everything agrees" in browser.get("/reconcile").text, within=60)
        html = browser.get("/reconcile").text
    assert "refund failed 11 times" in html
    assert '<a href="/orders/5"><code>5</code></a>' in html
    assert '<a href="/sagas/77"><code>77</code></a>' in html
    assert "took 249 EUR, 250 EUR were owed" in html
    assert '<a href="/payments/6"><code>6</code></a>' in html
    assert "which is no finding: 30" in html
    assert "no finding" in html


def test_a_poll_gets_the_part_that_lives(browser: Browser, lying: Lying) -> None:
    """Alone, and whole: it imports what it needs itself."""
    dead, lying.answer = lying.dead(), Verdict.ACK
    sent = browser.post("/dead/send", {**planned(browser, "resend", dead), "why": "polled"}).headers["Location"]
    assert 'hx-get="/dead/sent"' in browser.get("/dead").text
    for path in ("/", f"/messages/{dead}", "/dead", "/dead/sent", sent, "/reconcile"):
        part = browser.get(path, HX_Request="true")
        assert part.status_code == 200, path
        assert part.text.lstrip().startswith(("<div id=", "<section id=")), path
        assert "<html" not in part.text, path
