"""The SQL judge finds every way in which orders, stock, coupons and money can disagree, also among many."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from common.db import Database
from coupon.model import metadata as coupon_tables
from lab.bench.fill import Filling, Kind, Series
from lab.judge.judge import Judge
from order.model import metadata as order_tables
from pay.model import metadata as pay_tables
from sandbox.model import metadata as sandbox_tables
from stock.model import metadata as stock_tables
from stock.service.levels import Levels
from tests.fakes import open_database

GOODS = ["11", "12", "13"]
ORDERS = 100
PIECES = 1000
SERIES = Series(Kind.SETTLED, first_ms=1_790_000_000_000, gap=5, group=4)


class Filled:
    """The databases of a deployment with a hundred settled orders in them."""

    def __init__(self, place: Path) -> None:
        self.order = open_database(place / "order.db", order_tables)
        self.stock = open_database(place / "stock.db", stock_tables)
        for goods_id in GOODS:
            Levels(self.stock).set_total(int(goods_id), PIECES)
        self.coupon = open_database(place / "coupon.db", coupon_tables)
        self.pay = open_database(place / "pay.db", pay_tables)
        self.sandbox = open_database(place / "sandbox.db", sandbox_tables)
        self.all = (self.order, self.stock, self.coupon, self.pay, self.sandbox)
        urls = (one.engine.url.render_as_string(hide_password=False) for one in self.all)
        self.judge = Judge(*urls, most=5)

    def close(self) -> None:
        for database in self.all:
            database.close()

    def fill(self, series: Series = SERIES) -> None:
        with Filling.open(self.order, self.stock, self.pay, GOODS, series) as filling:
            filling.add(0, 60)
            filling.add(60, ORDERS)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    """Yield two databases that agree."""
    found = Filled(tmp_path)
    found.fill()
    yield found
    found.close()


def test_what_was_filled_in_agrees(filled: Filled) -> None:
    """Orders filled in bulk agree with their stock, and are as many as asked for; the helping tables are gone."""
    everyone = [SERIES.order_id(number) for number in range(ORDERS)]
    assert filled.judge.wrong(everyone) == []
    assert filled.judge.newest_order() == everyone[-1]
    with filled.order.read() as connection:
        rows = connection.execute(text("SELECT status, count(*) FROM orders GROUP BY status")).all()
        records = connection.scalar(text("SELECT count(*) FROM transaction_records"))
        tables = set(connection.scalars(text("SELECT name FROM sqlite_schema WHERE type = 'table'")))
    assert sorted(map(tuple, rows)) == [("closed", 10), ("paid", 90)]
    assert records == ORDERS / SERIES.group
    assert not {"bench_numbers", "bench_kinds"} & tables


@pytest.mark.parametrize("kind", [Kind.UNPAID, Kind.CANCELLED, Kind.CLOSED])
def test_other_fillings(tmp_path: Path, kind: Kind) -> None:
    """Unpaid and closed orders agree with what is held; cancelled ones disagree until their rollbacks are handled."""
    found = Filled(tmp_path)
    found.fill(Series(kind, SERIES.first_ms, due=SERIES.first_ms + 1))
    wrong = found.judge.wrong([])
    assert bool(wrong) == (kind is Kind.CANCELLED)
    assert all("closed, but its stock is reserved" in line for line in wrong[:5])
    found.close()


NUMBER = 7  # of the order that is tampered with; paid, one piece of goods 12
ID = SERIES.order_id(NUMBER)
BEFORE = ID - 1  # the id of no order


@pytest.mark.parametrize(
    ("service", "statement", "told"),
    [
        ("stock", "UPDATE stock SET available = available - 1 WHERE goods_id = 12", "goods 12: total 1000, available"),
        ("stock", "INSERT INTO allotments VALUES (9, 12, 3, 1)", "owned by sales 3"),
        ("stock", "DELETE FROM stock WHERE goods_id = 12", "goods 12: reserved, but there is no stock row"),
        ("stock", "UPDATE reservations SET state = 'released' WHERE order_id = :id", ": paid, but its stock is not"),
        ("stock", "DELETE FROM reservations WHERE order_id = :id", f"reservation {ID}: lines without a header"),
        ("stock", "UPDATE reservations SET released_at = 1 WHERE order_id = :id", ": deducted, made at"),
        ("stock", "DELETE FROM reservation_lines WHERE order_id = :id", ": deducted, but without lines"),
        ("order", "UPDATE orders SET status = 'closed' WHERE order_id = :id", "closed, but its stock is reserved"),
        ("order", "UPDATE order_lines SET quantity = 2 WHERE order_id = :id", ": {12: 2} ordered, {12: 1}"),
        ("order", "DELETE FROM order_lines WHERE order_id = :id", f"order {ID}: its lines make 0"),
        ("order", "UPDATE orders SET goods_amount = 1 WHERE order_id = :id", f"order {ID}: its lines make"),
        ("order", "UPDATE orders SET discount_amount = 1 WHERE order_id = :id", "discount 1, total"),
        ("order", "UPDATE orders SET paid_at = NULL WHERE order_id = :id", f"order {ID}: paid, paid at None"),
        ("order", "UPDATE orders SET close_reason = 'timeout' WHERE order_id = :id", "paid, close reason timeout"),
        ("order", "DELETE FROM orders WHERE order_id = :id", "does not exist, but its stock is reserved"),
        ("order", "DELETE FROM orders WHERE order_id = :id", "acknowledged with 201, but it does not exist"),
        ("order", "DELETE FROM transaction_records WHERE tx_id = :tx_id", f"order {ID}: its transaction"),
        ("order", "UPDATE transaction_records SET outcome = 'aborted'", "and 95 more: no record"),
        ("order", "INSERT INTO idempotency_keys VALUES ('eve', 'k', '', :id)", f"'k' of eve: order {ID} is user-1's"),
        ("order", "INSERT INTO idempotency_keys VALUES ('eve', 'k', '', :before)", "is no user's"),
        ("order", "INSERT INTO idempotency_keys VALUES ('a', 'k', '', :id), ('a', 'l', '', :id)", "made by 2 keys"),
        ("order", "UPDATE orders SET coupon_id = 5 WHERE order_id = :id", "'used') is due, none is there"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(filled: Filled, service: str, statement: str, told: str) -> None:
    """Each way to disagree is found, and named; without it nothing is."""
    assert filled.judge.wrong([ID]) == []
    tamper(getattr(filled, service), statement, {"id": ID, "tx_id": SERIES.tx_id(NUMBER), "before": BEFORE})
    assert any(told in line for line in filled.judge.settle([ID], within=0.1)), filled.judge.wrong([ID])
    assert len(filled.judge.wrong([])) < 20, "few lines, however much is wrong"


def tamper(database: Database, statement: str, values: Mapping[str, int | str]) -> None:
    """Change what no service would, past foreign keys and checks."""
    with database.engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.execute("PRAGMA foreign_keys=OFF")
        raw.execute("PRAGMA ignore_check_constraints=ON")
        raw.execute(statement, values)


COUPON = {
    "coupons": "5, 'five', 'amount', 1, 'EUR', 0, NULL, 3, 1, 0, 1, NULL, NULL, 0, 1, 1",
    "reservations": ":id, 1, 'deducted', 0, 1, NULL",
    "coupon_uses": ":id, 5, :user, 'used'",
    "coupon_users": "'5 ' || :user, 1",
}


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE coupon_uses SET state = 'free'", "is due, none is there"),
        ("UPDATE coupon_uses SET state = 'held'", "'used') is due"),
        ("UPDATE reservations SET state = 'released'", f"coupon reservation {ID}: released, its use is"),
        ("DELETE FROM reservations", f"coupon reservation {ID}: a use without a header"),
        ("UPDATE coupons SET used = 2", "coupon 5: 3 uses, held 0 and used 2 counted, (0, 1) are"),
        ("UPDATE coupons SET uses = 0", "coupon 5: 0 uses"),
        ("UPDATE coupon_users SET taken = 2", "2 counted, 1 are"),
        ("UPDATE coupons SET uses_per_user = 0", "has 1 uses, and may have 0"),
    ],
)
def test_what_is_wrong_with_coupons_is_found(filled: Filled, statement: str, told: str) -> None:
    """Each way in which orders, uses and counts can disagree; without it nothing does."""
    with filled.order.read() as connection:
        user = connection.scalar(text("SELECT user_id FROM orders WHERE order_id = :id"), {"id": ID})
    tamper(filled.order, "UPDATE orders SET coupon_id = 5 WHERE order_id = :id", {"id": ID})
    for table, row in COUPON.items():
        tamper(filled.coupon, f"INSERT INTO {table} VALUES ({row})", {"id": ID, "user": user})  # noqa: S608 - ours
    assert filled.judge.wrong([ID]) == []
    tamper(filled.coupon, statement, {})
    assert any(told in line for line in filled.judge.wrong([ID])), filled.judge.wrong([ID])


UNHANDLED = """
INSERT INTO payment_events (provider, event_id, kind, via, raw, received_at)
VALUES ('sandbox', 'e', 'other', 'poll', '', 1)
"""
CLOSED_ID = SERIES.order_id(10)
MONEY = {
    "pay": {
        "reservations": ":id, 1, 'deducted', 1, 1, NULL), (:closed, 1, 'released', 1, 1, 1",
        "payments (order_id, user_id, amount, currency, state, known, expires_at, created_at)": (
            ":id, 'user-1', 250, 'EUR', 'succeeded', 1, 1, 1), (:closed, 'user-1', 250, 'EUR', 'refunded', 0, 1, 1"
        ),
        "charges (provider, charge_id, order_id, kept_for, amount, currency, state, taken_at)": (
            "'sandbox', '1', :id, :id, 250, 'EUR', 'kept', 1), ('sandbox', '2', :closed, NULL, 99, 'EUR', 'refunded', 1"
        ),
    },
    "sandbox": {
        "sessions": (
            "1, 'a', 1, :id, 250, 'EUR', '', '', 1, 'paid', NULL, 1), "
            "(2, 'b', 2, :closed, 99, 'EUR', '', '', 1, 'paid', NULL, 1"
        ),
        "charges": "1, 1, 250, 'EUR', NULL, 1), (2, 2, 99, 'EUR', 3, 1",
        "refunds": "3, 2, 'k', 99, 'EUR', 'done', NULL, 1, 1, 1",
    },
}


def with_money(filled: Filled) -> dict[str, int]:
    """Have one order paid and another one paid too late; return their ids, as statements name them."""
    ids = {"id": ID, "closed": CLOSED_ID}
    tamper(filled.order, "UPDATE orders SET paid_through = 'sandbox' WHERE order_id = :id", ids)
    for of, tables in MONEY.items():
        for table, row in tables.items():
            tamper(getattr(filled, of), f"INSERT INTO {table} VALUES ({row})", ids)  # noqa: S608 - ours
    return ids


@pytest.mark.parametrize(
    ("service", "statement", "told"),
    [
        ("sandbox", "UPDATE refunds SET state = 'pending'", f"order {CLOSED_ID}: closed, nothing is due, the provider"),
        ("sandbox", "UPDATE refunds SET state = 'pending'", "charge 2: sent back 0 times, pay says refunded"),
        ("sandbox", "UPDATE refunds SET charge_id = 1", "paid, [(250, 'EUR')] is due, the provider keeps []"),
        ("sandbox", "INSERT INTO refunds VALUES (4, 2, 'l', 99, 'EUR', 'refused', '', 1, 1, 1)", "with 2 keys"),
        ("sandbox", "UPDATE charges SET amount = 249 WHERE charge_id = 1", "the provider keeps [(249, 'EUR')]"),
        ("sandbox", "UPDATE charges SET currency = 'USD' WHERE charge_id = 2", "charge 2: _Charge("),
        ("sandbox", "UPDATE sessions SET payment_id = 7 WHERE session_id = 1", "charge 1: _Charge(order_id=7"),
        ("sandbox", "DELETE FROM charges WHERE charge_id = 2", "charge 2: pay has it, the provider never took it"),
        ("sandbox", "INSERT INTO charges VALUES (9, 1, 250, 'EUR', NULL, 1)", f"charge 9 of order {ID}: taken"),
        ("pay", "UPDATE charges SET state = 'refunding' WHERE charge_id = '1'", "charge 1: sent back 0 times"),
        ("pay", "UPDATE payments SET state = 'open'", f"order {ID}: paid, and its payment is open"),
        ("pay", "UPDATE payments SET amount = 1", f"order {ID}: 250 EUR, its payment 1 EUR"),
        ("pay", "UPDATE payments SET currency = 'JPY'", f"order {ID}: 250 EUR, its payment 250 JPY"),
        ("pay", "UPDATE payments SET known = 0", f"order {ID}: paid, and pay has not heard of it"),
        ("pay", "UPDATE reservations SET state = 'released'", "paid, its payment's header is released"),
        ("pay", "DELETE FROM payments", f"order {ID}: paid, but pay has no payment of it"),
        ("pay", UNHANDLED, "event e of sandbox: stored, never handled"),
        ("order", "UPDATE orders SET status = 'created' WHERE order_id = :id", "created, and its payment is succeeded"),
        ("order", "UPDATE orders SET status = 'created' WHERE order_id = :id", "created, nothing is due, the provider"),
        ("order", "UPDATE orders SET paid_through = NULL", "needs no payment, and has one that is succeeded"),
        ("order", "DELETE FROM orders WHERE order_id = :id", "does not exist, nothing is due, the provider"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_money_is_found(filled: Filled, service: str, statement: str, told: str) -> None:
    """Each way in which orders, payments and the provider's ledger can disagree; without it nothing does."""
    ids = with_money(filled)
    assert filled.judge.wrong([ID]) == []
    tamper(getattr(filled, service), statement, ids)
    assert any(told in line for line in filled.judge.wrong()), filled.judge.wrong()


def test_a_payment_that_is_still_to_be_told(filled: Filled) -> None:
    """Pay need not have heard of it while the order service has written down that it tells so."""
    ids = with_money(filled)
    tamper(filled.pay, "UPDATE payments SET known = 0", {})
    assert filled.judge.wrong()
    tamper(filled.order, "INSERT INTO settlements VALUES (:id, 'pay', 'paid', 1, 1)", ids)
    assert filled.judge.wrong() == []


def test_a_returned_order_has_let_go_of_everything(filled: Filled) -> None:
    """Its pieces are free, and its times are those of a paid order that was returned."""
    ids: Mapping[str, int | str] = {"id": ID}
    tamper(filled.order, "UPDATE orders SET status = 'returned', returned_at = 9 WHERE order_id = :id", ids)
    assert filled.judge.wrong() == [f"order {ID}: returned, but its stock is reserved"]
    tamper(filled.order, "UPDATE orders SET returned_at = NULL WHERE order_id = :id", ids)
    assert len(filled.judge.wrong()) == 2


def test_figures(filled: Filled) -> None:
    """What is judged is counted too, for the reports of drills."""
    figures = {name: number for one in filled.judge.invariants() for name, number in one.figures.items()}
    assert figures | {
        "goods": 3, "total": 3 * PIECES, "goods out of balance": 0,
        "created": 0, "paid": 90, "closed": 10, "returned": 0,
        "live reservations": 90, "orders without stock": 0, "stock without an order": 0, "deducted": 90,
        "released": 10, "of which tombstones": 0, "odd": 0, "orders": ORDERS, "records aborted": 0,
        "records committed": ORDERS / SERIES.group, "coupons": 0, "held": 0, "used": 0, "taken": 0, "kept": 0,
        "sent back": 0, "owned by sales": 0,
    } == figures  # fmt: skip
    assert figures["available"] + figures["reserved"] == figures["total"]


@pytest.mark.parametrize("page", [1, 7, 59])
def test_pages(filled: Filled, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders and reservations that lie on different pages are compared all the same, none twice, none left out."""
    monkeypatch.setattr("lab.judge.agreement._PAGE", page)
    monkeypatch.setattr("lab.judge.money._PAGE", page)
    tamper(filled.stock, "DELETE FROM reservations WHERE order_id < :id", {"id": ID})
    whole = [one.figures for one in filled.judge.invariants()]
    assert whole[1] == {
        "created": 0, "paid": 90, "closed": 10, "returned": 0, "live reservations": 84, "orders without stock": 6,
        "stock without an order": 0,
    }  # fmt: skip


def test_since(filled: Filled) -> None:
    """Of orders, only those from an id on are looked at: a bench that comes after others judges its own."""
    close = text("UPDATE orders SET status = 'closed' WHERE order_id = :id")
    filled.order.transact(lambda connection: connection.execute(close, {"id": ID}))
    assert filled.judge.wrong([], since=ID)
    assert filled.judge.wrong([], since=ID + 1) == []
