"""Orders, payments and the provider's books compared: each disagreement is found, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from common import migrations
from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.saga.model import RunState
from ops.findings import REPAIR, WAIT, Finding, Gravity, SentBack
from ops.other_money import MOST_BACK
from ops.payments import Payments
from order.model import orders, sagas
from pay import model as pay
from sandbox import model as sandbox
from tests.returns import write_return

AGES_AGO = 3_600_000  # ms
GRACE = 30.0
AMOUNT = 250


class Site:
    """Three databases, in agreement until a test changes something."""

    def __init__(self, folder: Path) -> None:
        names = ("order", "pay", "sandbox")
        urls = {name: f"sqlite:///{folder}/{name}.db" for name in names}
        for name, url in urls.items():
            migrations.upgrade(name, url)
        self.databases = {name: Database(url) for name, url in urls.items()}
        self.compared = Payments(*urls.values(), grace=GRACE)
        self.without_books = Payments(urls["order"], urls["pay"], None, grace=GRACE)

    def close(self) -> None:
        for each in (*self.databases.values(), self.compared, self.without_books):
            each.close()

    def do(self, name: str, statement: Any) -> None:
        self.databases[name].transact(lambda connection: connection.execute(statement))

    def order(self, order_id: int, status: str, *, through: str | None = None, ago: int = AGES_AGO) -> None:
        then = now_ms() - ago
        row = {
            "order_id": order_id, "tx_id": order_id, "user_id": "u", "status": status, "total_amount": AMOUNT,
            "goods_amount": AMOUNT, "currency": "EUR", "created_at": then, "expires_at": now_ms() + AGES_AGO,
            "closed_at": then if status == "closed" else None, "paid_at": then if status == "paid" else None,
            "returned_at": then if status == "returned" else None, "paid_through": through,
        }  # fmt: skip
        self.do("order", insert(orders).values(row))

    def payment(self, order_id: int, state: str, *, ago: int = AGES_AGO) -> None:
        then = now_ms() - ago
        header = {"order_id": order_id, "tx_id": 1, "created_at": then}
        header |= {"state": "deducted" if state in {"open", "succeeded"} else "released"}
        self.do("pay", insert(pay.reservations).values(header))
        row = {
            "order_id": order_id, "user_id": "u", "amount": AMOUNT, "currency": "EUR", "state": state,
            "expires_at": then, "created_at": then, "succeeded_at": then,
        }  # fmt: skip
        self.do("pay", insert(pay.payments).values(row))

    def charge(self, number: int, order_id: int | None, state: str, *, ago: int = AGES_AGO, **columns: Any) -> None:
        """Add money that pay knows of."""
        row = {
            "provider": "sandbox", "charge_id": str(number), "order_id": order_id, "amount": AMOUNT, "currency": "EUR",
            "state": state, "kept_for": order_id if state == "kept" else None, "taken_at": now_ms() - ago,
        } | columns  # fmt: skip
        self.do("pay", insert(pay.charges).values(row))

    def taken(self, number: int, order_id: int, *refunds: str, ago: int = AGES_AGO, amount: int = AMOUNT) -> None:
        """Add money that the provider took, and the states of what was asked back of it."""
        then = now_ms() - ago
        money = {"amount": amount, "currency": "EUR", "created_at": then}
        row = {
            "session_id": number, "reference": f"r{number}", "attempt_id": number, "payment_id": order_id,
            "callback_url": "", "scenario": "card", "expires_at": then, "state": "paid",
        }  # fmt: skip
        self.do("sandbox", insert(sandbox.sessions).values(row | money))
        self.do("sandbox", insert(sandbox.charges).values({"charge_id": number, "session_id": number} | money))
        for place, state in enumerate(refunds):
            refund = {"refund_id": number * 10 + place, "charge_id": number, "refund_key": f"{number} {place}"}
            refund |= {"state": state, "asked": 1, "done_at": then if state == "done" else None} | money
            self.do("sandbox", insert(sandbox.refunds).values(refund))

    def paid(self, order_id: int) -> None:
        """Add an order that is paid as it should be."""
        self.order(order_id, "paid", through="sandbox")
        self.payment(order_id, "succeeded")
        self.charge(order_id, order_id, "kept")
        self.taken(order_id, order_id)

    def found(self, *order_ids: int) -> list[Finding]:
        return self.compared.judge(order_ids)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def _one(found: list[Finding]) -> tuple[Gravity, str]:
    (finding,) = found
    return finding.gravity, finding.what


def test_what_agrees_is_not_found(site: Site) -> None:
    """Open, paid, closed, closed and sent back, one of the release before, money beside a payment."""
    site.order(1, "created")
    site.payment(1, "open")
    site.paid(2)
    site.order(3, "closed")
    site.payment(3, "closed")
    site.order(4, "closed")
    site.payment(4, "refunded")
    site.charge(40, 4, "refunded")
    site.taken(40, 4, "refused", "done")
    site.order(5, "paid")
    site.order(6, "created")
    site.charge(20, 2, "refunded")
    site.taken(20, 2, "done")
    assert site.found(*range(1, 8)) == []
    assert site.compared.nameless() == []
    assert site.compared.count() == 4
    assert {order_id for page in site.compared.ids() for order_id in page} == {1, 2, 3, 4}
    assert site.without_books.judge([1, 2, 3, 4]) == []
    assert {order_id for page in site.without_books.ids() for order_id in page} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("status", "through", "state", "what"),
    [
        ("paid", "sandbox", "open", "the order is paid, but its payment is open"),
        ("paid", "sandbox", "closed", "the order is paid, but its payment is closed"),
        ("created", None, "closed", "the order is created, but its payment is closed"),
        ("closed", None, "open", "the payment of an order that is closed is open"),
        ("returned", "sandbox", "open", "the payment of an order that is returned is open"),
        ("returned", "sandbox", "closed", "the order was paid, but pay knows of no money to send back"),
        (None, None, "open", "the payment of an order that does not exist is open"),
    ],
)
def test_states_that_disagree(site: Site, status: str | None, through: str | None, state: str, what: str) -> None:
    """An order and its payment say different things."""
    if status is not None:
        site.order(1, status, through=through)
    site.payment(1, state)
    assert _one(site.found(1)) == (Gravity.DISAGREEMENT, what)


def test_the_return_of_an_order_whose_money_pay_has_forgotten(site: Site) -> None:
    """It does not get on by itself: the provider has to tell pay of the money again."""
    site.order(1, "returned", through="sandbox")
    site.payment(1, "closed")
    write_return(site.databases["order"], 1)
    (finding,) = site.found(1)
    assert finding.gravity is Gravity.DISAGREEMENT
    assert "have the provider send its events" in finding.remedy


def test_the_money_of_an_open_return_is_under_way(site: Site) -> None:
    """Whether pay was told, or sends it back; once the saga has ended, it is a finding. A refusal is one at once."""
    site.order(1, "returned", through="sandbox")
    site.payment(1, "succeeded")
    site.charge(1, 1, "kept")
    site.order(2, "returned", through="sandbox")
    site.payment(2, "refunding")
    site.charge(2, 2, "refunding", refund_since=1)
    site.order(3, "returned", through="sandbox")
    site.payment(3, "refunding")
    site.charge(3, 3, "refused", refusal="the account is closed")
    for order_id in (1, 2, 3):
        write_return(site.databases["order"], order_id)
    (refused,) = site.without_books.judge([1, 2, 3])
    assert "refuses to send" in refused.what
    site.do("order", update(sagas.runs).values(state=RunState.GIVEN_UP.value))
    assert [(finding.id, finding.gravity) for finding in site.without_books.judge([1, 2])] == [
        ("1", Gravity.DISAGREEMENT),
        ("2", Gravity.UNRESOLVED),
    ]


@pytest.mark.parametrize(
    ("reason", "ago", "gravity"),
    [
        ("by-provider", AGES_AGO, Gravity.DISAGREEMENT),
        ("order-closed", AGES_AGO, Gravity.DISAGREEMENT),
        ("by-provider", 0, Gravity.IN_PROGRESS),
    ],
)
def test_a_paid_order_whose_money_went_back(site: Site, reason: str, ago: int, gravity: Gravity) -> None:
    """No admin had it sent back: the order is told until it is returned. What is young may be a return being begun."""
    site.order(1, "paid", through="sandbox")
    site.payment(1, "refunded")
    site.charge(1, 1, "refunded", reason=reason, refund_since=now_ms() - ago)
    site.taken(1, 1, "done")
    (finding,) = site.found(1)
    what = f"the order is paid, but its payment is refunded ({reason})"
    assert (finding.gravity, finding.what) == (gravity, what)
    assert "return" in finding.remedy or gravity is Gravity.IN_PROGRESS
    site.do("order", update(orders).values(status="returned", returned_at=now_ms() - AGES_AGO))
    assert site.found(1) == []


def test_an_admin_may_send_the_money_of_a_paid_order_back(site: Site) -> None:
    """The customer keeps what was bought: that is a decision, and agrees. Money that was double is another matter."""
    site.order(1, "paid", through="sandbox")
    site.payment(1, "refunded")
    site.charge(1, 1, "refunded", reason="by-admin", refund_since=1)
    site.charge(2, 1, "refunded", reason="double", refund_since=1)
    site.taken(1, 1, "done")
    site.taken(2, 1, "done")
    assert site.found(1) == []


def test_a_paid_order_without_a_payment(site: Site) -> None:
    """Its payment was lost: the repair opens it anew, and then the provider has to tell of it again, once it has."""
    site.order(1, "paid", through="sandbox")
    assert _one(site.found(1)) == (Gravity.DISAGREEMENT, "the order is paid, but pay knows no payment of it")
    assert [finding.remedy for finding in site.found(1)] == [REPAIR]
    site.payment(1, "open")
    site.taken(1, 1)
    assert [(finding.what, "send its events" in finding.remedy) for finding in site.found(1)] == [
        ("the order is paid, but its payment is open", True),
        ("the provider took 250 EUR, of which pay has not heard", True),
    ]
    site.do("pay", insert(pay.attempts).values(attempt_id=1, provider="sandbox", order_id=1, state="open",
                                               created_at=1, next_poll_at=1))  # fmt: skip
    assert [finding.remedy for finding in site.found(1)][1] == WAIT  # pay asks by itself


@pytest.mark.parametrize(("ago", "gravity"), [(0, Gravity.IN_PROGRESS), (AGES_AGO, Gravity.UNRESOLVED)])
def test_paid_and_not_told_yet(site: Site, ago: int, gravity: Gravity) -> None:
    """Money that was taken pays its order after a moment."""
    site.order(1, "created")
    site.payment(1, "succeeded", ago=ago)
    site.charge(1, 1, "kept")
    site.taken(1, 1)
    assert _one(site.found(1)) == (gravity, "the money was taken, but the order is not paid yet")


def test_other_amounts(site: Site) -> None:
    """The order, the payment and the charge are about the same money, to the minor unit."""
    site.paid(1)
    site.do("order", update(orders).values(total_amount=AMOUNT + 1))
    assert _one(site.found(1))[1] == "the order costs 251 EUR, its payment is 250 EUR"
    site.do("order", update(orders).values(total_amount=AMOUNT))
    site.do("pay", update(pay.charges).values(amount=AMOUNT - 1))
    assert [finding.what for finding in site.found(1)] == [
        "250 EUR were to be taken once, and kept is: 249 EUR",
        "the provider took 250 EUR, pay has 249 EUR of it",
    ]


def test_money_that_is_kept_for_nothing(site: Site) -> None:
    """A payment that did not succeed keeps no money, one that did keeps some."""
    site.order(1, "created")
    site.payment(1, "open")
    site.charge(1, 1, "kept")
    site.taken(1, 1)
    assert _one(site.found(1))[1] == "its payment is open, but its money is kept"
    site.paid(2)
    site.do("pay", update(pay.charges).where(pay.charges.c.order_id == 2).values(state="refunded", kept_for=None))
    site.taken(3, 2)
    assert [finding.what for finding in site.found(2)] == [
        "250 EUR were to be taken once, and kept is: nothing",
        "pay calls 250 EUR refunded; of 250 EUR the provider has sent back 0 in 0 refunds",
        "the provider took 250 EUR, of which pay has not heard",
    ]


def test_money_on_its_way_back(site: Site) -> None:
    """It is told until it is back; a refusal with the provider's words, and what to do."""
    site.order(1, "closed")
    site.payment(1, "refunding")
    site.charge(1, 1, "refunding", refund_since=now_ms())
    site.taken(1, 1)
    assert _one(site.found(1)) == (Gravity.IN_PROGRESS, "250 EUR are to go back through sandbox")
    site.do("pay", update(pay.charges).values(state="refused", refusal="no such card"))
    (refused,) = site.found(1)
    assert refused.what == "sandbox refuses to send 250 EUR back (1): no such card"
    assert "ask the provider" in refused.remedy


def test_money_of_another_amount_is_told_when_it_is_back(site: Site) -> None:
    """On its way it is a finding that says why; once back it is none, but is counted, and the newest are told."""
    site.order(1, "created")
    site.payment(1, "open")
    site.charge(10, 1, "refunding", amount=249, reason="other-amount", refund_since=now_ms())
    site.taken(10, 1, amount=249)
    assert _one(site.found(1)) == (Gravity.IN_PROGRESS, "249 EUR are to go back through sandbox: other-amount")
    assert site.compared.sent_back() == SentBack()
    site.do("pay", update(pay.charges).values(state="refunded", refunded_at=now_ms()))
    site.do("sandbox", delete(sandbox.charges))
    assert site.without_books.judge([1]) == []
    for number in range(11, 11 + MOST_BACK):  # late, which is another reason
        site.charge(number, 1, "refunded", currency="JPY", reason="late", refund_since=number, refunded_at=number)
    site.charge(50, 1, "refunded", reason="double")  # as much as was owed
    told = site.compared.sent_back()
    assert (told.count, len(told.newest)) == (MOST_BACK + 1, MOST_BACK)
    first, second = told.as_json()["newest"][:2]
    assert (first["id"], first["reason"], first["refunded_at"] is None) == ("1", "other-amount", False)
    assert first["what"] == "sandbox took 249 EUR (10), 250 EUR were owed; it was sent back"
    assert second["what"].startswith("sandbox took 250 JPY (30), 250 EUR were owed")


def test_money_of_no_order(site: Site) -> None:
    """A charge that names no order is told until it is back."""
    site.charge(1, None, "refunding", refund_since=0)
    assert [finding.what for finding in site.compared.nameless()] == ["250 EUR are to go back through sandbox"]


def test_books_that_know_more_or_less(site: Site) -> None:
    """What the provider took and pay has not heard of, and the other way round."""
    site.order(1, "created")
    site.payment(1, "open")
    site.taken(1, 1, ago=0)
    assert _one(site.found(1)) == (Gravity.IN_PROGRESS, "the provider took 250 EUR, of which pay has not heard")
    site.order(2, "closed")
    site.payment(2, "refunded")
    site.charge(2, 2, "refunded")
    assert _one(site.found(2)) == (Gravity.DISAGREEMENT, "pay has 250 EUR (2) that the provider never took")


@pytest.mark.parametrize(
    ("state", "refunds", "what"),
    [
        ("refunded", ("done", "done"), "of 250 EUR the provider has sent back 500 in 2 refunds"),
        ("refunded", (), "pay calls 250 EUR refunded; of 250 EUR the provider has sent back 0 in 0 refunds"),
    ],
)
def test_refunds_that_disagree(site: Site, state: str, refunds: tuple[str, ...], what: str) -> None:
    """Sent back twice, or not at all."""
    site.order(1, "closed")
    site.payment(1, "refunded")
    site.charge(1, 1, state)
    site.taken(1, 1, *refunds)
    assert _one(site.found(1)) == (Gravity.DISAGREEMENT, what)


@pytest.mark.parametrize(
    ("state", "kind", "amount", "currency", "says"),
    [
        ("kept", "refunded", 100, "EUR", "says that it sent back 100 EUR of 1, which is 250 EUR here"),
        ("refused", "refunded", 100, "EUR", "says that it sent back 100 EUR of 1, which is 250 EUR here"),
        ("kept", "refunded", 250, "USD", "says that it sent back 250 USD of 1, which is 250 EUR here"),
        ("refunded", "succeeded", 251, "EUR", "says that it took 251 EUR of 1, which is 250 EUR here"),
        ("refunded", "refunded", 100, "EUR", None),
        ("refunding", "refunded", 100, "EUR", None),
        ("kept", "refunded", None, None, None),
        ("kept", "succeeded", 250, "EUR", None),
        ("kept", "refund-refused", 100, "EUR", None),
    ],
)
@pytest.mark.parametrize("order_id", [1, None])
def test_a_provider_says_otherwise(
    site: Site, state: str, kind: str, amount: int | None, currency: str | None, says: str | None, order_id: int | None
) -> None:
    """A part that it sent back by itself, or another amount than it said first, is found once; no order is needed."""
    site.charge(1, order_id, state, kept_for=9 if state == "kept" else None)
    for via in ("callback", "poll"):
        row = {
            "provider": "sandbox", "event_id": via, "charge_id": "1", "kind": kind, "amount": amount,
            "currency": currency, "via": via, "raw": b"", "received_at": 1,
        }  # fmt: skip
        site.do("pay", insert(pay.payment_events).values(row))
    found = [*site.without_books.judge([1]), *site.without_books.nameless()]
    told = [(finding.id, finding.what) for finding in found if "says that" in finding.what]
    assert told == ([] if says is None else [("none" if order_id is None else "1", f"sandbox {says}")])


def test_sent_back_by_the_provider_itself(site: Site) -> None:
    """Money that pay keeps and the provider has sent back is told, at once."""
    site.paid(1)
    site.do(
        "sandbox",
        insert(sandbox.refunds).values(refund_id=5, charge_id=1, refund_key="k", amount=AMOUNT, currency="EUR",
                                       state="done", asked=1, created_at=0, done_at=1),
    )  # fmt: skip
    expected = "pay keeps 250 EUR; of 250 EUR the provider has sent back 250 in 1 refunds"
    assert _one(site.found(1)) == (Gravity.UNRESOLVED, expected)
