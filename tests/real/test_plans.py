"""Every statement of the use cases, explained on tables with thousands of rows: an index serves it."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text, true

from common.db import Database
from goods import model as goods_model
from goods.service import Catalogue, NewGoods, Rooms
from halfmessage.clock import now_ms
from halfmessage.ids import EPOCH
from halfmessage.tx.coordinator import Checker
from halfmessage.tx.record import Outcome, Records
from order import model as order_model
from order.model import CloseReason, Line, Order, RequestState, Status
from order.service import requests, settling, sweeping
from order.service.auditing import Audit
from order.service.closing import Closing
from order.service.forgetting import forget_calls
from order.service.overdue import Overdue
from order.service.paying import Paying
from order.service.placing import Draft, IdempotencyKey, _write_orders
from order.service.reading import OrderReader, _placed_by, expiries, find_by_keys, find_orders, statuses
from order.service.settling import Settlements
from order.service.sweeping import Sweep
from stock import model as stock_model
from stock.service.levels import Levels
from stock.service.pieces import stock_reservations
from stock.service.strategies.in_database import Conditional, Optimistic, Pessimistic
from tests.fakes import Ids
from tests.real.conftest import Migrated, OpenDatabase
from tests.real.explaining import MANY, ROWS, Collected, opened

OLD = 100  # transaction records, and ids of calls, to purge
YOUNG = (now_ms() - EPOCH) << 22


def _order(order_id: int, *, user: str = "ann", lines: int = 2) -> Order:
    ordered = tuple(Line(goods_id, "Tea", "", None, 1, 100, None) for goods_id in range(1, lines + 1))
    now = now_ms()
    return Order(order_id, order_id, user, Status.CREATED, None, ordered, None, 200, "EUR", now, now + 900_000)


def _fill_orders(database: Database) -> None:
    """Many users, most orders paid or closed and confirmed, as after some weeks; some of each kind that is open."""
    chance = random.Random(1)
    rows, lines, keys, calls, records, unconfirmed = [], [], [], [], [], []
    for order_id in range(1, ROWS + 1):
        status = chance.choices(["paid", "closed", "created"], [70, 20, 10])[0]
        rows.append(
            {
                "order_id": order_id, "tx_id": order_id, "user_id": f"user{order_id % 50}", "status": status,
                "total_amount": 1, "currency": "EUR", "created_at": order_id, "expires_at": order_id * 10,
                "closed_at": order_id if status == "closed" else None, "goods_amount": 1,
            }
        )  # fmt: skip
        if status == "closed" and order_id % 20 == 0:
            unconfirmed.append(
                {"order_id": order_id, "participant": "stock", "fate": "void", "tx_id": order_id, "since": order_id}
            )
        line = {"order_id": order_id, "goods_id": 1, "name": "Tea", "brief": "", "quantity": 1, "unit_price": 1}
        lines += [line | {"position": position} for position in (0, 1)]
        keys.append({"user_id": f"user{order_id % 50}", "idempotency_key": f"{order_id}", "request_hash": "x"})
        keys[-1]["order_id"] = order_id
        decided_at = order_id if order_id <= OLD else now_ms()
        placed = order_id if order_id <= OLD else YOUNG + order_id
        calls.append({"order_id": placed, "request_id": f"call{order_id}"})
        records.append({"tx_id": order_id, "outcome": "committed", "decided_at": decided_at})
    of_tables = {
        order_model.orders: rows,
        order_model.order_lines: lines,
        order_model.idempotency_keys: keys,
        order_model.placing_calls: calls,
        order_model.transaction_records: records,
        order_model.settlements: unconfirmed,
    }
    for table, values in of_tables.items():
        database.transact(lambda c, table=table, values=values: c.execute(insert(table), values))  # type: ignore[misc]


class NoStock:
    """A stock service that has nothing to tell and agrees to everything."""

    name = "stock"
    needed = true()
    hears_of_payment = True
    made_when_paid = False

    def needs(self, _: Order) -> bool:
        return True

    def unverified(self, **_: Any) -> list[Any]:
        return []

    def settle(self, _: Any) -> dict[int, str]:
        return {}

    def states(self, order_ids: Any) -> dict[int, str | None]:
        return dict.fromkeys(order_ids, "deducted")


class NoCoordinator:
    """Runs the local transaction, and tells no broker."""

    ids = Ids()

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, *_: object, **__: object) -> "NoCoordinator":
        return self

    def commit(self, work: Callable[[Connection], object]) -> object:
        return self._database.transact(work)

    def resolve(self, _: Outcome) -> None:
        pass


def test_order(migrated: Migrated, open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Placing, paying, closing, reading, checking back and sweeping never scan a table nor sort one."""
    for module in (settling, sweeping):
        monkeypatch.setattr(module, "PAGE", 50)
    with opened(open_database, migrated("order"), _fill_orders) as database:
        collected = Collected(database)
        records = Records(order_model.transaction_records, retention=600.0)
        drafts = [
            Draft(_order(10**6 + i), IdempotencyKey("ann", f"key{i}", "x"), asked_as=f"call{i}") for i in range(3)
        ]
        database.transact(lambda c: _write_orders(c, drafts))
        database.transact(lambda c: records.commit(c, Ids().next()))
        stock = NoStock()
        settlements = Settlements(database, [stock])  # type: ignore[list-item]
        reader = OrderReader(database)
        closing = Closing(database, NoCoordinator(database), reader, settlements)  # type: ignore[arg-type]
        closing.close([10**6 + 1, 10**6 + 2], CloseReason.CANCELLED)
        paying = Paying(database, reader, None, lambda _: True, settlements, settlements.confirm_payments)
        assert paying.mark({10**6: "sandbox"}) == []
        with database.read() as connection:
            find_orders(connection, [7, 8, 9])
            find_by_keys(connection, [("user7", "7"), ("user8", "8"), ("user9", "none")])
            statuses(connection, [7, 8, 9])
            expiries(connection, [7, 8, 9])
            _placed_by(connection, "call7", 21)
            records.decided(connection, [7])
        for status in (None, Status.PAID):
            for below in (None, 2000):
                reader.page("user7", status=status, below=below, limit=20)
        forget_calls(database, 3600.0)
        checker = Checker(database, records, deadline=5.0)
        checker.outcome(7)
        ids = Ids()
        ids.age = 60.0
        assert checker.outcome(ids.next()) is Outcome.ABORTED
        audit = Audit(database, stock, closing)  # type: ignore[arg-type]
        Sweep(database, records, checker, Overdue(closing, paying, None, last_question=1.0), settlements, [audit]).run(
            0.0
        )
        assert not collected.complaints(), "\n".join(collected.last)


def _fill_requests(database: Database) -> None:
    """Most requests are decided, as after some days; some hundreds wait."""
    rows = [
        {
            "request_id": placed, "tx_id": placed, "user_id": f"user{number % 50}", "submitted_at": now_ms(),
            "state": "queued" if number % 20 == 0 else "created", "idempotency_key": f"{number}", "request_hash": "x",
            "order_id": None if number % 20 == 0 else placed, "decided_at": None if number % 20 == 0 else now_ms(),
            "wanted": None, "problem": None,
        }
        for number in range(1, ROWS + 1)
        for placed in [number if number <= OLD else YOUNG + number]
    ]  # fmt: skip
    database.transact(lambda c: c.execute(insert(order_model.order_requests), rows))


def test_order_requests(migrated: Migrated, open_database: OpenDatabase) -> None:
    """Looking at requests, counting those that wait, deciding and forgetting them use indexes."""
    with opened(open_database, migrated("order"), _fill_requests) as database:
        collected = Collected(database)
        reader = requests.RequestReader(database)
        assert reader.get(YOUNG + ROWS // 2, owner=None)
        waiting = [YOUNG + number for number in range(ROWS - 60, ROWS, 20)]
        with database.read() as connection:
            requests.find_by_keys(connection, [("user7", "7"), ("user8", "none")])
            requests.queued_of(connection, ["user7", "user10"])
            requests.find_queued(connection, waiting)
            for after in (0, YOUNG + ROWS - 200):
                requests.page_of_queued(connection, before=now_ms() + 1, after=after, limit=50)
            requests.find_by_order(connection, YOUNG + 7)
        requests.backlog(database, 1000)
        database.transact(lambda c: requests.note_created(c, {waiting[0]: 5}))
        decisions = [requests.Decision(one, RequestState.REFUSED, problem={}) for one in waiting[1:]]
        database.transact(lambda c: requests.decide(c, decisions))
        requests.forget_requests(database, 3600.0)
        assert not collected.complaints(), "\n".join(collected.last)


def _fill_stock(database: Database) -> None:
    chance = random.Random(1)
    levels = [{"goods_id": goods_id, "total": 10**6, "available": 10**6 - 100} for goods_id in range(1, ROWS + 1)]
    headers = [
        {
            "order_id": order_id, "tx_id": order_id, "created_at": order_id, "released_at": None,
            "state": chance.choices(["deducted", "released"], [80, 20])[0], "verified": order_id < ROWS - 200,
        }
        for order_id in range(1, ROWS + 1)
    ]  # fmt: skip
    lines = [
        {"order_id": order_id, "goods_id": goods_id, "quantity": 1}
        for order_id in range(1, ROWS + 1)
        for goods_id in (order_id % 100 + 1, order_id % 100 + 2)
    ]
    for table, rows in (
        (stock_model.stock, levels),
        (stock_model.reservations, headers),
        (stock_model.reservation_lines, lines),
    ):
        database.transact(lambda c, table=table, rows=rows: c.execute(insert(table), rows))  # type: ignore[misc]


def test_stock(migrated: Migrated, open_database: OpenDatabase) -> None:
    """Deducting under every strategy, releasing, settling, sweeping and the levels use indexes."""
    with opened(open_database, migrated("stock"), _fill_stock) as database:
        collected = Collected(database)
        for number, strategy in enumerate((Conditional(), Pessimistic(), Optimistic())):
            reservations = stock_reservations(database, strategy)
            first = 10**6 + number * 10
            reservations.deduct(1, {first + i: {1: 1, 2: 2} for i in range(3)})
            reservations.release({first: 1, first + 9: 1})
            reservations.settle({first + 1: (1, "stands"), first + 2: (1, "void")})
            reservations.get(first)
        for after in (0, ROWS - 100):
            assert reservations.unverified(older_than=now_ms(), after=after, limit=50)
        levels = Levels(database)
        levels.get(1)
        levels.set_total(1, 10**6)
        levels.restock(1, 1)
        assert not collected.complaints(), "\n".join(collected.last)


def _fill_goods(database: Database) -> None:
    goods = {"brief": "", "unit_price": 1, "market_price": 1, "currency": "EUR", "images": [], "on_sale": True}
    goods |= {"created_at": 0, "updated_at": 0}
    rows = [goods | {"goods_id": goods_id, "name": f"goods {goods_id}"} for goods_id in range(1, ROWS + 1)]
    rooms = [{"room_id": room_id, "current_goods_id": 1, "updated_at": 0} for room_id in range(1, 201)]
    room_goods = [
        {"room_id": room_id, "position": position, "goods_id": (room_id * 37 + position) % ROWS + 1}
        for room_id in range(1, 201)
        for position in range(20)
    ]
    for table, values in (
        (goods_model.goods, rows),
        (goods_model.rooms, rooms),
        (goods_model.room_goods, room_goods),
    ):
        database.transact(lambda c, table=table, values=values: c.execute(insert(table), values))  # type: ignore[misc]


def test_goods(migrated: Migrated, open_database: OpenDatabase) -> None:
    """The catalogue, its pages, look-ups and rooms use indexes."""
    with opened(open_database, migrated("goods"), _fill_goods) as database:
        collected = Collected(database)
        catalogue, rooms = Catalogue(database, Ids()), Rooms(database)
        prices = {"unit_price": 1, "market_price": 1, "currency": "EUR"}
        new = NewGoods(name="Tea", brief="", category_id=None, images=(), on_sale=True, **prices)  # type: ignore[arg-type]
        added = catalogue.add(new).answer
        catalogue.change(added.goods_id, {"unit_price": 2})
        catalogue.list(20, None)
        catalogue.list(20, MANY - 200)  # EXPLAIN does not count in that LIMIT ends it
        catalogue.lookup(range(1, 60))
        rooms.get(7)
        rooms.put(7, [3, 2, 1], 2)
        rooms.put(1000, [3, 2, 1], 2)
        assert not collected.complaints(), "\n".join(collected.last)


def test_a_scan_is_found(migrated: Migrated, open_database: OpenDatabase) -> None:
    """The test above can fail: a query without an index, and one that sorts, are both complained of."""
    with opened(open_database, migrated("stock"), _fill_stock) as database:
        collected = Collected(database)
        with database.read() as connection:
            connection.execute(text("SELECT * FROM stock WHERE available = 5"))
            connection.execute(text("SELECT * FROM reservations WHERE order_id < 100 ORDER BY created_at"))
        assert len(collected.complaints()) == 2
