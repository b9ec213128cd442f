"""Orders and coupons compared: each way in which they can disagree is found, and nothing else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from common import migrations
from common.db import Database
from coupon.model import coupon_users, coupon_uses, coupons, reservations
from halfmessage.clock import now_ms
from halfmessage.participant.model import use_of
from ops.findings import Finding, Limits
from ops.holdings import holdings_of
from ops.ledgers import Orders
from order.model import orders

COUPON, OTHER = 5, 6
AGES_AGO = 3_600_000  # ms
GRACE, CONFIRM_WITHIN = 30.0, 180.0


class Site:
    """Both databases, in agreement until a test changes something."""

    def __init__(self, folder: Path) -> None:
        urls = [f"sqlite:///{folder}/{name}.db" for name in ("order", "coupon")]
        for service, url in zip(("order", "coupon"), urls, strict=True):
            migrations.upgrade(service, url)
        self.orders, self.database = (Database(url) for url in urls)
        self.ledger = Orders(urls[0])
        self.compared = holdings_of("coupon", urls[1], self.ledger, Limits(GRACE, CONFIRM_WITHIN))
        for coupon_id in (COUPON, OTHER):
            self.do(insert(coupons).values(coupon_id=coupon_id, code=f"C{coupon_id}", kind="percent", value=1,
                    minimum_amount=0, uses=9, uses_per_user=9, created_at=0))  # fmt: skip

    def close(self) -> None:
        for each in (self.orders, self.database, self.ledger, self.compared):
            each.close()

    def do(self, statement: Any) -> None:
        self.database.transact(lambda connection: connection.execute(statement))

    def order(self, order_id: int, status: str, *, coupon_id: int | None = COUPON, ago: int = AGES_AGO) -> None:
        then = now_ms() - ago
        row = {
            "order_id": order_id, "tx_id": order_id, "user_id": "u", "status": status, "total_amount": 1,
            "goods_amount": 1, "currency": "EUR", "created_at": then, "expires_at": now_ms() + AGES_AGO,
            "coupon_id": coupon_id, "closed_at": then if status == "closed" else None,
            "paid_at": then if status == "paid" else None,
        }  # fmt: skip
        self.orders.transact(lambda connection: connection.execute(insert(orders).values(row)))

    def use(self, order_id: int, state: str, *, ago: int = AGES_AGO) -> None:
        header = {"order_id": order_id, "tx_id": 1, "created_at": now_ms() - ago}
        header |= {"state": "released" if state == "free" else "deducted"}
        self.do(insert(reservations).values(header))
        self.do(insert(coupon_uses).values(order_id=order_id, coupon_id=COUPON, user_id=f"u{order_id}", state=state))
        if state != "free":
            self.do(update(coupons).where(coupons.c.coupon_id == COUPON).values({state: coupons.c[state] + 1}))
            self.do(insert(coupon_users).values(coupon_user=use_of(COUPON, f"u{order_id}"), taken=1))

    def found(self, *order_ids: int) -> list[Finding]:
        return self.compared.judge(order_ids)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def test_what_agrees_is_not_found(site: Site) -> None:
    """Held by open orders, used by paid ones, free of closed ones and of those that never were; and it adds up."""
    for order_id, (status, state) in enumerate((("created", "held"), ("paid", "used"), ("closed", "free")), 1):
        site.order(order_id, status)
        site.use(order_id, state)
    site.order(4, "created", coupon_id=None)
    site.use(5, "free")
    assert site.found(1, 2, 3, 4, 5) == []
    assert site.compared.numbers() == ({"coupons": 2}, [])
    assert [list(page) for page in site.compared.live_ids()] == [[1, 2]]


@pytest.mark.parametrize(
    ("status", "state", "what", "gravity"),
    [
        ("created", None, "the order is created, but its coupon is not held", "disagreement"),
        ("paid", "free", "the order is paid, but its coupon is not held", "disagreement"),
        ("created", "used", "the order is created, but its coupon is used up", "disagreement"),
        ("paid", "held", "the order is paid, but its coupon is not used up", "unresolved"),
        ("closed", "held", "the order is closed, but its coupon is still held", "disagreement"),
        ("closed", "used", "the order is closed, but its coupon is still held", "disagreement"),
        (None, "held", "coupon is held for an order that does not exist", "disagreement"),
    ],
)
def test_each_disagreement(site: Site, status: str | None, state: str | None, what: str, gravity: str) -> None:
    """With its words and how bad it is."""
    if status is not None:
        site.order(1, status)
    if state is not None:
        site.use(1, state)
    (finding,) = site.found(1)
    assert (finding.what, finding.gravity, finding.id) == (what, gravity, "1")


@pytest.mark.parametrize(("status", "state"), [("closed", "held"), (None, "held"), ("paid", "held")])
def test_what_is_young_is_on_its_way(site: Site, status: str | None, state: str) -> None:
    """A release, a rollback, a payment that is told: for so long each may take."""
    if status is not None:
        site.order(1, status, ago=0)
    site.use(1, state, ago=0)
    (finding,) = site.found(1)
    assert finding.gravity == "in progress"


def test_another_coupon_and_none(site: Site) -> None:
    """An order holds the one that it names, and no other."""
    site.order(1, "created", coupon_id=OTHER)
    site.order(2, "paid", coupon_id=None)
    for order_id in (1, 2):
        site.use(order_id, "held")
    assert [finding.what for finding in site.found(1, 2)] == [
        "the order is created, but another coupon is held",
        "the order is paid and needs no coupon, but it is held",
    ]


@pytest.mark.parametrize("column", ["held", "used"])
def test_counts_that_do_not_add_up(site: Site, column: str) -> None:
    """Are told with those that are right, and the statement that mends them."""
    site.use(1, "held")
    site.do(update(coupons).where(coupons.c.coupon_id == COUPON).values({column: coupons.c[column] + 1}))
    counted, (finding,) = site.compared.numbers()
    assert (counted, finding.subject, finding.id) == ({"coupons": 2}, "coupon", str(COUPON))
    assert finding.remedy.endswith(f"SET held = 1, used = 0 WHERE coupon_id = {COUPON}")


def test_a_user_s_count_that_does_not_add_up(site: Site) -> None:
    """Whether it is too high, or its row is missing."""
    site.use(1, "held")
    site.do(update(coupon_users).values(taken=2))
    (finding,) = site.compared.numbers()[1]
    assert finding.what == "a user's uses do not add up: 2 counted for u1; 1 are"
    site.do(coupon_users.delete())
    (finding,) = site.compared.numbers()[1]
    assert finding.what == "a user's uses do not add up: 0 counted for u1; 1 are"
