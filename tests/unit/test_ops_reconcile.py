"""The comparison of orders, reservations, stock and messages, on databases made by hand."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import insert, update

from common import migrations
from common.db import Database
from halfmessage.clock import from_rfc3339, now_ms
from halfmessage.mq.port import Backlog, BrokerStats, Message, MessageView, State
from halfmessage.saga.model import RunState, StepRow, StepState
from ops import ledgers
from ops.commands.reconcile import show
from ops.findings import KEPT, REPAIR, WAIT, Finding, Gravity, Limits, OtherCharge, Report, SentBack
from ops.holdings import holdings_of
from ops.ledgers import Orders
from ops.reconcile import Comparison
from order.model import order_lines, orders, sagas, settlements
from stock.model import allotments, reservation_lines, reservations, stock
from tests.returns import write_return

GOODS = 7
LONG_AGO = 3_600_000  # ms
GRACE = 30.0


class Messages:
    """A console with the messages that a test puts there."""

    def __init__(self) -> None:
        self.views: list[MessageView] = []

    def find(self, *, state: State | None = None, topic: str | None = None, **_: object) -> list[MessageView]:
        return [v for v in self.views if v.state is state and topic in {None, v.message.topic}]

    def stats(self) -> BrokerStats:
        raise NotImplementedError

    def backlog(self) -> list[Backlog]:
        raise NotImplementedError

    def resend(self, message_id: str) -> None:
        raise NotImplementedError

    def forget(self, group: str) -> None:
        raise NotImplementedError

    def check_now(self, message_id: str) -> None:
        raise NotImplementedError

    def resume(self, message_id: str) -> None:
        raise NotImplementedError


class Site:
    """Both databases and a broker, all in agreement until a test changes something."""

    def __init__(self, folder: Path) -> None:
        urls = [f"sqlite:///{folder}/{name}.db" for name in ("order", "stock")]
        for service, url in zip(("order", "stock"), urls, strict=True):
            migrations.upgrade(service, url)  # the comparison refuses tables that no migration made
        self.orders, self.stock = (Database(url) for url in urls)
        self.messages = Messages()
        self.limits = Limits(GRACE, 180.0)
        self.ledger = Orders(urls[0])
        self.holdings = holdings_of("stock", urls[1], self.ledger, self.limits)
        self.pauses = 0
        self.stock.transact(lambda c: c.execute(insert(stock).values(goods_id=GOODS, total=100, available=100)))

    def close(self) -> None:
        for each in (self.orders, self.stock, self.ledger, self.holdings):
            each.close()

    def order(self, order_id: int, status: str, quantity: int = 2, **columns: Any) -> None:
        then = now_ms() - LONG_AGO
        row = {
            "order_id": order_id,
            "tx_id": order_id,
            "user_id": "u",
            "status": status,
            "total_amount": 1,
            "currency": "EUR",
            "created_at": then,
            "expires_at": now_ms() + LONG_AGO,
            "closed_at": then if status == "closed" else None,
            "returned_at": then if status == "returned" else None,
        } | columns
        line = {"order_id": order_id, "position": 0, "goods_id": GOODS, "quantity": quantity}
        self.orders.transact(lambda c: c.execute(insert(orders).values(row)))
        self.orders.transact(
            lambda c: c.execute(insert(order_lines).values(line | {"name": "n", "brief": "", "unit_price": 1}))
        )

    def unconfirmed(self, order_id: int) -> None:
        row = {"order_id": order_id, "participant": "stock", "fate": "void", "tx_id": 1, "since": now_ms() - LONG_AGO}
        self.orders.transact(lambda c: c.execute(insert(settlements).values(row)))

    def reservation(self, order_id: int, state: str, quantity: int = 2, age: int = LONG_AGO) -> None:
        row = {"order_id": order_id, "tx_id": order_id, "state": state, "created_at": now_ms() - age}
        line = {"order_id": order_id, "goods_id": GOODS, "quantity": quantity}
        self.stock.transact(lambda c: c.execute(insert(reservations).values(row)))
        self.stock.transact(lambda c: c.execute(insert(reservation_lines).values(line)))
        if state == "deducted":
            self.take(quantity)

    def take(self, quantity: int) -> None:
        self.stock.transact(lambda c: c.execute(update(stock).values(available=stock.c.available - quantity)))

    def message(self, state: State, age: int, topic: str = "order_rollback") -> None:
        view = MessageView(
            str(len(self.views)), Message(topic, b""), state, "order", now_ms() - age, None, None, None, (), 0, ()
        )
        self.views.append(view)

    @property
    def views(self) -> list[MessageView]:
        return self.messages.views

    def compare(self) -> Report:
        def pause(_: float) -> None:
            self.pauses += 1
            self.meanwhile()

        return Comparison(self.ledger, [self.holdings], self.messages, self.limits, pause=pause).run()

    def meanwhile(self) -> None:
        """Happens between two looks."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def only(report: Report) -> Finding:
    (finding,) = report.findings
    return finding


def shown(report: Report, *, repaired: bool = False) -> str:
    out = Console(width=200)
    with out.capture() as captured:
        show(out, report, repaired=repaired)
    return captured.get()


def test_agreement_is_clean(site: Site) -> None:
    """Created and paid orders with their stock, closed ones without, tombstones and delayed timeouts: all well."""
    site.order(1, "created")
    site.reservation(1, "deducted")
    site.order(2, "paid")
    site.reservation(2, "deducted")
    site.order(3, "closed")
    site.reservation(3, "released")
    site.order(4, "closed")
    site.message(State.DELAYED, 1000, topic="order_timeout")
    site.message(State.DONE, LONG_AGO)
    report = site.compare()
    assert report.clean
    assert report.checked == {"goods": 1, "orders": 4, "live_reservations": 2}
    assert site.pauses == 0


@pytest.mark.parametrize(
    ("status", "state", "reserved", "what"),
    [
        ("created", None, 0, "its stock is not reserved"),
        ("paid", "released", 2, "its stock is not reserved"),
        ("paid", "deducted", 3, "other quantities"),
        ("closed", "deducted", 2, "still reserved"),
        (None, "deducted", 2, "does not exist"),
    ],
)
def test_every_disagreement_is_found(
    site: Site, status: str | None, state: str | None, reserved: int, what: str
) -> None:
    """Each way in which an order and its reservation can disagree is told, with the order's id."""
    if status is not None:
        site.order(5, status)
    if state is not None:
        site.reservation(5, state, reserved)
    finding = only(site.compare())
    assert (finding.gravity, finding.subject, finding.id) == (Gravity.DISAGREEMENT, "order", "5")
    assert what in finding.what


def test_findings_say_which_participant_they_are_about(site: Site) -> None:
    """What is held, what does not add up and what is not confirmed are one's; a message is no participant's."""
    site.order(1, "closed")
    site.reservation(1, "deducted", 3)
    site.order(2, "closed", closed_at=now_ms() - LONG_AGO)
    site.unconfirmed(2)
    site.take(1)
    site.message(State.DEAD, LONG_AGO)
    told = site.compare().as_json()
    assert told["participants"] == ["stock"]
    about = {(finding["subject"], finding["id"]): finding["participant"] for finding in told["findings"]}
    assert about == {
        ("order", "1"): "stock",
        ("order", "2"): "stock",
        ("goods", str(GOODS)): "stock",
        ("message", "0"): None,
    }


def test_a_returned_order_holds_nothing(site: Site) -> None:
    """As a closed one: what it let go of is right, what it holds has the grace period to come back."""
    site.order(1, "returned")
    site.reservation(1, "released")
    site.order(2, "returned", returned_at=now_ms())
    site.reservation(2, "deducted")
    site.order(3, "returned")
    site.reservation(3, "deducted")
    found = {finding.id: finding for finding in site.compare().findings}
    assert {one: finding.gravity for one, finding in found.items()} == {
        "2": Gravity.IN_PROGRESS,
        "3": Gravity.DISAGREEMENT,
    }
    assert found["3"].what == "the order is returned, but its stock is still reserved"


def test_an_open_return_is_under_way_and_no_finding(site: Site) -> None:
    """However long it takes: its step, its last error and when it goes on are told instead; all else is compared."""
    site.order(2, "returned")
    site.reservation(2, "deducted")
    write_return(site.orders, 2, refund=StepRow(tries=11, error="PeerUnavailable: [pay] is down"))
    site.order(3, "returned")
    write_return(site.orders, 3)
    report = site.compare()
    assert (report.clean, report.findings, site.pauses) == (True, [], 0)
    told = report.as_json()["under_way"]
    assert [(one["subject"], one["id"], one["saga"], one["run_id"], one["state"]) for one in told] == [
        ("order", "2", "return", "1002", "running"),
        ("order", "3", "return", "1003", "running"),
    ]
    assert told[0]["steps"] == [{"step": "refund", "tries": 11, "last_error": "PeerUnavailable: [pay] is down"}]
    assert told[0]["age_seconds"] >= LONG_AGO / 1000
    assert 0 < from_rfc3339(told[0]["due_at"]) - now_ms() <= 60_000
    text = shown(report)
    assert "Everything agrees" in text
    assert "the return is running: refund failed 11 times, PeerUnavailable: [pay] is down" in text
    assert "the return is running: refund is to be done" in text
    site.order(4, "closed")
    site.reservation(4, "deducted")
    assert only(site.compare()).id == "4"
    assert "refund failed 11 times" in shown(site.compare())


def test_a_return_that_is_due_goes_on_now(site: Site) -> None:
    """Its time is over, and an instance may take it at any moment; one with no step left is about to end."""
    site.order(2, "returned")
    write_return(site.orders, 2, refund=StepRow(StepState.DONE))
    site.orders.transact(lambda c: c.execute(update(sagas.runs).values(due_at=now_ms() - 1)))
    text = shown(site.compare())
    assert "the return is running: no step is left" in text
    assert text.count("now") == 1


@pytest.mark.parametrize("state", [RunState.DONE, RunState.GIVEN_UP])
def test_a_return_that_has_ended_holds_nothing(site: Site, state: RunState) -> None:
    """By itself or by an operator's word: what the order still holds then is a disagreement."""
    site.order(3, "returned")
    site.reservation(3, "deducted")
    write_return(site.orders, 3, state)
    report = site.compare()
    assert only(report).gravity is Gravity.DISAGREEMENT
    assert report.under_way == []


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_borders_of_pages(site: Site, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Each order and each reservation is looked at once, where ids follow each other and pages are just full."""
    monkeypatch.setattr(ledgers, "_PAGE", 2)
    for order_id in range(1, number + 1):
        site.order(order_id, "paid")
        site.reservation(100 + order_id, "deducted")
    report = site.compare()
    found = sorted(int(finding.id) for finding in report.findings)
    assert found == [*range(1, number + 1), *range(101, 101 + number)]
    assert report.checked == {"goods": 1, "orders": number, "live_reservations": number}


def test_stock_that_does_not_add_up_is_found(site: Site) -> None:
    """Total is available plus what is reserved, or a disagreement."""
    site.take(1)
    finding = only(site.compare())
    assert (finding.gravity, finding.id) == (Gravity.DISAGREEMENT, str(GOODS))


def test_what_sales_own_is_part_of_the_total(site: Site) -> None:
    """Neither available nor reserved: without the allotment's row it would be missing."""
    site.take(30)
    assert "total 100, available 70, reserved 0" in only(site.compare()).what
    site.stock.transact(
        lambda c: c.execute(insert(allotments).values(sale_id=9, goods_id=GOODS, quantity=30, version=1))
    )
    assert site.compare().findings == []
    site.take(1)
    finding = only(site.compare())
    assert finding.what.endswith("reserved 0, owned by sales 30")
    assert "SET total = 100, available = 70 WHERE" in finding.remedy


def test_a_reservation_of_goods_without_stock_is_found(site: Site) -> None:
    """A live reservation counts even where the stock's own row is missing."""
    site.order(1, "paid")
    site.reservation(1, "deducted")
    site.stock.transact(lambda c: c.execute(stock.delete()))
    assert "total 0" in only(site.compare()).what


@pytest.mark.parametrize(
    ("status", "available", "remedy"),
    [
        ("created", 0, "orders reconcile --repair"),
        ("paid", 2, "orders reconcile --repair"),
        ("paid", 1, f'its stock is short: POST /stock/{GOODS}/restock {{"quantity": 1}} once they are there, then'),
    ],
)
def test_an_order_without_stock_is_told_with_its_remedy(site: Site, status: str, available: int, remedy: str) -> None:
    """The repair is recommended where it does something; where pieces are short, the call that mends it is told."""
    site.order(5, status)
    site.stock.transact(lambda c: c.execute(update(stock).values(total=available, available=available)))
    assert only(site.compare()).remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("state", "age", "remedy"),
    [
        (State.PARKED, 0, "orders messages resume 0"),
        (State.DEAD, 0, "orders messages resend 0"),
        (State.HALF, LONG_AGO, WAIT),
        (State.READY, 0, WAIT),
    ],
)
def test_messages_are_told_with_their_remedy(site: Site, state: State, age: int, remedy: str) -> None:
    """A sweep does nothing about a message: what does is told."""
    site.message(state, age)
    assert only(site.compare()).remedy == remedy


@pytest.mark.parametrize(("reserved", "mended"), [(2, "total = 5, available = 3"), (7, "total = 7, available = 0")])
def test_stock_that_does_not_add_up_is_told_with_its_remedy(site: Site, reserved: int, mended: str) -> None:
    """What it should be is told; nothing changes it but a person who has counted."""
    site.order(1, "paid", reserved)
    site.reservation(1, "deducted", reserved)
    site.stock.transact(lambda c: c.execute(update(stock).values(total=5, available=1)))
    finding = only(site.compare())
    assert finding.remedy.endswith(f"SET {mended} WHERE goods_id = {GOODS}")


@pytest.mark.parametrize(
    ("remedies", "repaired", "advice"),
    [
        ([REPAIR, WAIT], False, "To mend what can be mended: orders reconcile --repair"),
        ([REPAIR, WAIT], True, "did not come to all of it"),
        (["restock", WAIT], False, "for a person"),
        ([WAIT, WAIT], True, "a little later"),
    ],
)
def test_what_would_do_nothing_is_not_recommended(remedies: list[str], repaired: bool, advice: str) -> None:
    """A repair is recommended if there is something for it to do, and it was not tried just now."""
    report = Report()
    report.add([Finding(Gravity.DISAGREEMENT, "order", "1", "x", remedy=remedy) for remedy in remedies])
    text = shown(report, repaired=repaired)
    assert advice in text
    assert ("To mend" in text) is (advice.startswith("To mend"))


def test_other_money_that_is_back_is_shown_and_is_no_finding() -> None:
    """The report stays clean, and so does the exit code."""
    charge = OtherCharge(5, "sandbox", "[c]", "249 EUR", "250 EUR", "other-amount", None)
    report = Report(sent_back=SentBack(2, (charge,)))
    text = " ".join(shown(report, repaired=False).split())
    assert report.clean
    assert "Everything agrees" in text
    assert "sent back, which is no finding: 2" in text
    assert "sandbox took 249 EUR ([c])" in text
    assert "The newest 1 are shown." in text


def test_what_is_young_is_in_progress(site: Site) -> None:
    """A reservation without its order, younger than the grace period, may still get one; it counts all the same."""
    site.reservation(5, "deducted", age=1000)
    report = site.compare()
    assert only(report).gravity is Gravity.IN_PROGRESS
    assert not report.clean


def test_what_comes_right_between_two_looks_is_not_told(site: Site) -> None:
    """An order that commits while we compare is no disagreement."""
    site.reservation(5, "deducted")

    def commit_once() -> None:
        if site.pauses == 1:
            site.order(5, "created")

    site.meanwhile = commit_once  # type: ignore[method-assign]
    assert site.compare().clean
    assert site.pauses == 1


@pytest.mark.parametrize(
    ("state", "age", "gravity"),
    [
        (State.HALF, LONG_AGO, Gravity.UNRESOLVED),
        (State.HALF, 0, Gravity.IN_PROGRESS),
        (State.PARKED, 0, Gravity.UNRESOLVED),
        (State.DEAD, 0, Gravity.UNRESOLVED),
        (State.READY, LONG_AGO, Gravity.UNRESOLVED),
        (State.IN_FLIGHT, 0, Gravity.IN_PROGRESS),
        (State.DELAYED, LONG_AGO, Gravity.UNRESOLVED),
    ],
)
def test_messages_that_need_attention_are_told(site: Site, state: State, age: int, gravity: Gravity) -> None:
    """Half, parked, dead, waiting and retried messages are told by state and age."""
    site.message(state, age)
    finding = only(site.compare())
    assert (finding.gravity, finding.subject) == (gravity, "message")
    assert finding.age is not None


@pytest.mark.parametrize(
    "columns",
    [
        {"status": "created", "expires_at": now_ms() - LONG_AGO},
        {"status": "closed"},
        {"status": "paid"},
    ],
)
def test_orders_that_were_not_finished_are_unresolved(site: Site, columns: Mapping[str, Any]) -> None:
    """An overdue order, and one of which a participant has something to confirm, are told with their age."""
    site.order(5, **columns)
    if columns["status"] != "created":
        site.unconfirmed(5)
    site.reservation(5, "released" if columns["status"] == "closed" else "deducted")
    finding = only(site.compare())
    assert finding.gravity is Gravity.UNRESOLVED
    assert ("stock has not confirmed" in finding.what) == (columns["status"] != "created")
    assert finding.age is not None
    assert finding.age >= LONG_AGO / 1000


def test_a_million_findings_are_counted_but_not_kept() -> None:
    """The report keeps a thousand findings and counts the rest."""
    report = Report()
    report.add([Finding(Gravity.UNRESOLVED, "order", str(n), "x") for n in range(KEPT + 5)])
    assert len(report.findings) == KEPT
    assert report.as_json()["counts"]["unresolved"] == KEPT + 5
