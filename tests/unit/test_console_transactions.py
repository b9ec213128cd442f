"""Transactions as the console shows them: half messages with their tries, beside the records that decide."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.errors import PeerUnavailable
from common.registry import PAYMENT_TOPIC, PURCHASE_TOPIC, REQUEST_TOPIC
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from halfmessage.ids import first_of
from halfmessage.mq.port import HalfMessage, Message, Resolution, State, Verdict
from tests.support import eventually
from tests.unit.console_letters import TOPIC, Lying
from tests.unit.console_site import Browser, play, running, token

HOSTILE = "<script>alert(1)</script>"


class Order:
    """The order service, played, and pay: records by transaction, and what it was told to do."""

    def __init__(self) -> None:
        self.records: dict[str, str] = {}
        self.of_pay: dict[str, str] = {}
        self.asked: list[str] = []
        self.swept = 0
        self.is_up = True

    def get(self, service: str, path: str, _token: str, *, tx_ids: str = "", q: str = "") -> Mapping[str, Any]:
        if path != "/admin/records":
            raise NotFound(f"There is no {q or path} here.")
        if service == "order" and not self.is_up:
            raise PeerUnavailable("The order service did not answer.")
        self.asked.append(tx_ids)
        records = {"order": self.records, "pay": self.of_pay}[service]
        known = [one for one in tx_ids.split(",") if one in records]
        at = "2026-11-28T10:00:00.000Z"
        return {"records": [{"tx_id": one, "outcome": records[one], "decided_at": at} for one in known]}

    def post(self, service: str, path: str, _token: str) -> Mapping[str, Any]:
        assert (service, path) == ("order", "/sweep")
        self.swept += 1
        return {}


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Order:
    played = Order()
    play(monkeypatch, played)
    return played


@pytest.fixture
def lying(tmp_path: Path) -> Iterator[Lying]:
    made = Lying(tmp_path)
    made.answer = Verdict.ACK
    yield made
    made.close()


@pytest.fixture
def browser(tmp_path: Path, lying: Lying, order: Order) -> Iterator[Browser]:
    assert lying.broker
    assert order
    with running(tmp_path) as service:
        service.start[1]()  # ids
        yield Browser(service, token())


def begun(lying: Lying, tx_id: str, deliver_if: str = "aborted", key: str = "7", topic: str = TOPIC) -> HalfMessage:
    return lying.producer.begin(
        Message(topic, b"{}", keys=(key,), properties={"tx_id": tx_id, "deliver_if": deliver_if})
    )


def part(html: str, name: str) -> str:
    """Return one section of the page."""
    return html.partition(f'<section aria-labelledby="{name}">')[2].partition("</section>")[0]


def test_an_open_one_tells_its_tries_and_what_comes_next(browser: Browser, lying: Lying) -> None:
    """Each check-back with its answer; parked, it goes on by an operator alone."""
    half = begun(lying, "41")
    open_ones = part(browser.get("/transactions").text, "open")
    assert "<code>41</code>" in open_ones
    assert '<a href="/orders/7">7</a>' in open_ones
    assert "placing" in open_ones
    assert '<span class="state warn">none</span>' in open_ones
    lying.until(half.message_id, State.PARKED)
    open_ones = part(browser.get("/transactions").text, "open")
    assert "1 check-back<" in open_ones
    assert ": unknown</li>" in open_ones
    assert 'nothing by itself: <a href="/dead">resume it</a>' in open_ones


def test_one_that_ended_tells_its_record_and_its_deliveries(browser: Browser, lying: Lying, order: Order) -> None:
    """Beside how the message was resolved; a rollback that was sent plainly is no transaction."""
    order.records["42"] = "committed"
    half = begun(lying, "42", "committed")
    lying.producer.resolve(half, Resolution.COMMIT)
    lying.producer.send(Message(TOPIC, b"{}", keys=("9",)))
    eventually(lambda: len(lying.got) == 2, within=20)
    lying.until(half.message_id, State.DONE)
    html = browser.get("/transactions").text
    assert "No half message waits" in part(html, "open")
    recent = part(html, "recent")
    assert "closing" in recent
    assert '<span class="state good">committed</span>' in recent
    assert "resolved: commit" in recent
    assert "stock: done after 1 try" in recent
    assert "/orders/9" not in recent


def test_those_of_payments_are_told_by_pay(browser: Browser, lying: Lying, order: Order) -> None:
    """Open ones stand beside those of orders, each with its sender's record, also while order is down."""
    order.of_pay["44"] = "committed"
    order.records["44"] = "aborted"  # of order's own database: another transaction, if it happens to have that id
    order.is_up = False
    begun(lying, "43")
    half = begun(lying, "44", "committed", key="9", topic=PAYMENT_TOPIC)
    open_ones = part(browser.get("/transactions").text, "open")
    assert "not known: The order service did not answer." in open_ones
    assert 'paying <a href="/orders/9">9</a>' in open_ones
    assert '<span class="state good">committed</span>' in open_ones
    lying.producer.resolve(half, Resolution.COMMIT)
    html = browser.get("/transactions?of=payments").text
    assert "resolved: commit" in part(html, "recent")
    assert "<code>43</code>" not in part(html, "recent")
    assert 'data-hx-get="/transactions?of=payments"' in html
    assert "<code>44</code>" not in part(browser.get("/transactions").text, "recent")
    assert browser.get("/transactions?of=cheques").status_code == 400


def test_those_of_requests_and_of_purchases_are_told(browser: Browser, lying: Lying, order: Order) -> None:
    """What is taken in is recorded by order; flash's records no service tells, which is said. Each leads on."""
    order.records["45"] = "committed"
    begun(lying, "45", "committed", key="8", topic=REQUEST_TOPIC)
    begun(lying, "46", "committed", key="9", topic=PURCHASE_TOPIC)
    open_ones = part(browser.get("/transactions").text, "open")
    assert 'taking in <a href="/find?q=8">8</a>' in open_ones
    assert 'buying <a href="/find?q=9">9</a>' in open_ones
    assert '<span class="state good">committed</span>' in open_ones
    assert "not known: flash keeps those of purchases" in open_ones
    assert order.asked == ["45"]
    assert "<code>45</code>" in part(browser.get("/transactions?of=requests").text, "recent")
    assert "<code>46</code>" in part(browser.get("/transactions?of=purchases").text, "recent")


@pytest.mark.parametrize(
    ("topic", "deliver_if", "found"),
    [
        (TOPIC, "committed", 'Closing <a href="/orders/7">7</a>'),
        (PAYMENT_TOPIC, "committed", 'Paying <a href="/orders/7">7</a>'),
        (REQUEST_TOPIC, "committed", 'Taking in <a href="/find?q=7">7</a>'),
        (PURCHASE_TOPIC, "committed", 'Buying <a href="/find?q=7">7</a>'),
    ],
)
def test_one_is_found_by_its_id(
    browser: Browser, lying: Lying, order: Order, topic: str, deliver_if: str, found: str
) -> None:
    """Whatever it was for, with its record, and only itself: not what was sent beside it, nor long before."""
    now = now_ms()
    tx_id, other = str(first_of(now) + 1), str(first_of(now) + 2)
    slow = str(first_of(now - 900) + 3)
    order.records |= {tx_id: "committed", other: "aborted"}
    begun(lying, other, deliver_if, key="8", topic=topic)
    begun(lying, tx_id, deliver_if, topic=topic)
    begun(lying, slow, deliver_if, key="9", topic=topic)
    html = browser.get(f"/find?q={tx_id}").text
    assert found in part(html, "transaction-1")
    assert 'aria-labelledby="transaction-2"' not in html
    assert "8</a>" not in part(html, "transaction-1")
    assert ">9</a>" in part(browser.get(f"/find?q={slow}").text, "transaction-1")
    assert 'aria-labelledby="transaction-1"' not in browser.get(f"/find?q={first_of(now - 60_000)}").text


def test_records_are_asked_for_together(browser: Browser, lying: Lying, order: Order) -> None:
    """Fifty at once; what can be no id is not asked for, and stays text."""
    for number in range(60):
        begun(lying, str(100 + number))
    begun(lying, HOSTILE, key=HOSTILE)
    html = browser.get("/transactions").text
    assert all(asked.count(",") < 50 for asked in order.asked)
    assert HOSTILE not in html
    assert "Older ones" in html


def test_what_does_not_answer_is_not_known(browser: Browser, lying: Lying, order: Order) -> None:
    """No record that could be asked for is not the same as none."""
    begun(lying, "43")
    order.is_up = False
    open_ones = part(browser.get("/transactions").text, "open")
    assert "not known: The order service did not answer." in open_ones
    assert ">none<" not in open_ones


def test_swept_now_once_for_each_form(browser: Browser, order: Order) -> None:
    """By whom stays on the page; a poll gets the part that lives alone."""
    form = browser.get("/transactions").text.partition('action="/transactions/sweep"')[2].partition("</form>")[0]
    csrf, form_id = (piece.partition('"')[0] for piece in form.split('value="')[1:3])
    for _ in range(2):
        answer = browser.post("/transactions/sweep", {"csrf": csrf, "form_id": form_id})
        assert answer.headers["Location"] == "/transactions"
    assert order.swept == 1
    assert "<td>sweep</td>" in browser.get("/transactions").text
    assert browser.get("/transactions", HX_Request="true").text.lstrip().startswith("<div id=")
