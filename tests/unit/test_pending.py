"""When a deployment is judged: once nothing is on its way, also nothing that came while it was looked at."""

import socket
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, text, update

from common import migrations
from common.db import Database
from coupon.model import metadata as coupon_tables
from coupon.model import reservations
from flash.model import pieces, sales
from flash.pieces.factory import store_of
from flash.pieces.port import Buyer, Terms, Verdict
from halfmessage.clock import now_ms
from lab.drill import pending
from lab.judge.judge import Judge
from order.model import metadata as order_tables
from order.model import settlements
from pay.model import attempts, payments
from pay.model import metadata as pay_tables
from sandbox.model import charges as sandbox_charges
from sandbox.model import metadata as sandbox_tables
from sandbox.model import sessions
from tests.contract.pieces.shop import new_id


def _settle(monkeypatch: pytest.MonkeyPatch, moving: list[list[str]], wrong: list[list[str]], *, real: bool) -> None:
    """Settle where each look at what moves, and at what is wrong, finds the next of these; the last ones stay."""

    def looks(found: list[list[str]]) -> Any:
        return lambda *_: found.pop(0) if len(found) > 1 else found[0]

    deployment: Any = SimpleNamespace(plan=SimpleNamespace(servers=object() if real else None))
    monkeypatch.setattr(pending, "unsettled", looks(moving))
    monkeypatch.setattr(Judge, "of", lambda _: SimpleNamespace(wrong=looks(wrong)))
    pending.settle(deployment, SimpleNamespace(), within=0.3)  # type: ignore[arg-type]


@pytest.mark.parametrize("real", [False, True])
def test_what_came_while_it_was_looked_at_is_no_wrong(monkeypatch: pytest.MonkeyPatch, real: bool) -> None:
    """A poll's answer that was stored between two looks is handled, and then all is right."""
    _settle(monkeypatch, [[], ["an event"], ["an event"], []], [["an event is not handled"], []], real=real)


@pytest.mark.parametrize("real", [False, True])
def test_what_stays_wrong_is_told(monkeypatch: pytest.MonkeyPatch, real: bool) -> None:
    """At once on the embedded broker, which shows all that is on its way; on RocketMQ when the time is over."""
    with pytest.raises(pending.Unsound, match="a piece is missing"):
        _settle(monkeypatch, [[]], [["a piece is missing"]], real=real)


def test_what_moves_for_ever_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not judged."""
    with pytest.raises(pending.NotInTime, match="an event"):
        _settle(monkeypatch, [["an event"]], [["a piece is missing"]], real=False)


def test_an_order_request_that_waits_is_on_its_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Though no message is to be seen, as RocketMQ hides one that a killed process took."""
    url = f"sqlite:///{tmp_path}/order.db"
    with create_engine(url).begin() as connection:
        connection.execute(text("CREATE TABLE order_requests (request_id INTEGER, state TEXT)"))
        connection.execute(text("INSERT INTO order_requests VALUES (7, 'queued'), (8, 'created')"))
    for seen in ("messages", "overdue", "returns", "money", "sales"):
        monkeypatch.setattr(pending, seen, lambda *_: [])
    deployment: Any = SimpleNamespace(database_url=lambda _: url)
    assert pending.unsettled(deployment, SimpleNamespace()) == ["order request 7 waits to be placed"]  # type: ignore[arg-type]


def test_a_return_that_has_not_ended_is_on_its_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Between two tries of a step nothing else tells of it; one that ended, or was given up, is at rest."""
    url = f"sqlite:///{tmp_path}/order.db"
    with create_engine(url).begin() as connection:
        connection.execute(text("CREATE TABLE sagas (key TEXT, state TEXT)"))
        connection.execute(text("INSERT INTO sagas VALUES ('7', 'running'), ('8', 'done'), ('9', 'given-up')"))
    for seen in ("messages", "requests", "overdue", "money", "sales"):
        monkeypatch.setattr(pending, seen, lambda *_: [])
    deployment: Any = SimpleNamespace(database_url=lambda _: url)
    assert pending.unsettled(deployment, SimpleNamespace()) == ["the return of order 7 is running"]  # type: ignore[arg-type]


def test_what_sweeps_have_still_to_tell(tmp_path: Path) -> None:
    """A closed order that coupon has not confirmed, and a reservation that no sweep has asked about; no more."""
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("order", "coupon")}
    for name, metadata in (("order", order_tables), ("coupon", coupon_tables)):
        metadata.create_all(create_engine(urls[name]))
    with create_engine(urls["order"]).begin() as connection:
        row = {"order_id": 7, "participant": "coupon", "fate": "void", "tx_id": 70, "since": 1}
        connection.execute(insert(settlements), row)
    header = {"tx_id": 1, "created_at": 1}
    rows = [(7, "released", False), (8, "deducted", True), (9, "deducted", False)]
    with create_engine(urls["coupon"]).begin() as connection:
        for order_id, state, verified in rows:
            connection.execute(
                insert(reservations), {**header, "order_id": order_id, "state": state, "verified": verified}
            )
    deployment: Any = SimpleNamespace(
        database_url=urls.__getitem__, plan=SimpleNamespace(services=("order", "coupon", "goods"))
    )
    assert pending.untold(deployment) == [
        "coupon is to be told that order 7 is void",
        "coupon is to be told of order 9",
    ]


def test_an_attempt_that_its_provider_has_not_heard_of_is_on_its_way(tmp_path: Path) -> None:
    """The provider was down as it was asked for: pay asks again, and then money is taken, of which a poll hears."""
    urls = {name: f"sqlite:///{tmp_path}/{name}.db" for name in ("order", "pay", "sandbox")}
    for name, metadata in (("order", order_tables), ("pay", pay_tables), ("sandbox", sandbox_tables)):
        metadata.create_all(create_engine(urls[name]))
    attempt = {
        "provider": "sandbox",
        "scenario": None,
        "to_close": False,
        "polls": 0,
        "next_poll_at": 1,
        "created_at": 1,
    }
    rows = [(1, 11, "open"), (2, 12, "open"), (3, 13, "over"), (4, 14, "open")]
    payment = {
        "user_id": "ann",
        "amount": 5,
        "currency": "EUR",
        "known": False,
        "tellings": 0,
        "expires_at": 9,
        "created_at": 1,
    }
    session = {
        "reference": "r",
        "amount": 5,
        "currency": "EUR",
        "callback_url": "",
        "scenario": "card",
        "expires_at": 9,
    }
    with create_engine(urls["pay"]).begin() as connection:
        for number, attempt_id, state in rows:
            of = {"order_id": number, "attempt_id": attempt_id, "state": state, "reference": str(number)}
            connection.execute(insert(attempts), attempt | of)
            closed = {"order_id": number, "state": "closed" if number == 4 else "open"}
            connection.execute(insert(payments), payment | closed)
    with create_engine(urls["sandbox"]).begin() as connection:
        begun = {"session_id": 1, "attempt_id": 12, "payment_id": 2, "state": "open", "created_at": 1}
        connection.execute(insert(sessions), session | begun)
    deployment: Any = SimpleNamespace(
        database_url=urls.__getitem__, plan=SimpleNamespace(services=("order", "pay", "sandbox"))
    )
    assert pending.money(deployment) == ["attempt 11 is to be begun at the sandbox"]
    assert pending.claimed_until(deployment) is None
    with create_engine(urls["sandbox"]).begin() as connection:
        connection.execute(
            insert(sandbox_charges),
            {"charge_id": 77, "session_id": 1, "amount": 5, "currency": "EUR", "created_at": 1},
        )
    with create_engine(urls["pay"]).begin() as connection:
        connection.execute(update(attempts).where(attempts.c.attempt_id == 12).values(next_poll_at=4_000))
    assert pending.claimed_until(deployment) == 4_000


_SALE = {
    "sale_id": 1,
    "state": "open",
    "goods_id": 1,
    "name": "",
    "brief": "",
    "unit_price": 1,
    "currency": "EUR",
    "quantity": 5,
    "per_user": 1,
    "starts_at": 0,
    "created_at": 0,
    "closed_at": 1,
    "held": 0,
    "allotted": 5,
    "word": 1,
    "heard": 1,
}


def test_what_moves_between_a_sale_and_its_orders_is_on_its_way(tmp_path: Path) -> None:
    """Sales that are not done, words that stock has not heard, purchases that come back; where there is flash."""
    url = f"sqlite:///{tmp_path}/flash.db"
    migrations.upgrade("flash", url)
    bought = "INSERT INTO purchases VALUES (7, 1, 'ann', 1, 0, 'free', 0), (8, 1, 'ann', 1, 0, 'returned', 0)"
    with create_engine(url).begin() as connection:
        connection.execute(insert(sales).values(_SALE | {"state": "closed", "closed_at": 1, "word": 2, "ends_at": 1}))
        connection.execute(text(bought))
    deployment = _with_flash(url)
    assert pending.sales(deployment) == [
        "sale 1 is closed and not done",
        "stock has not heard what sale 1 owns",
        "purchase 7 is held by no order, and not returned",
        "purchase 8 comes back to its sale",
    ]
    deployment.plan.services = ("order",)
    assert pending.sales(deployment) == []


def test_a_purchase_that_is_no_order_yet_is_on_its_way(tmp_path: Path) -> None:
    """Though no message is to be seen, as RocketMQ hides one that a killed process took: until it is a row."""
    url = f"sqlite:///{tmp_path}/flash.db"
    migrations.upgrade("flash", url)
    end = now_ms() + 60_000
    with create_engine(url).begin() as connection:
        connection.execute(insert(sales).values(_SALE | {"ends_at": end}))
    deployment, bought = _with_flash(url), [Buyer(new_id(), "ann"), Buyer(new_id(), "bob")]
    with closing(Database(url)) as database, closing(store_of("", database, pieces)) as store:
        store.put(Terms(1, 1, 5, 0, end, 1))
        store.set_ready(1)
        assert [one.verdict for one in store.take(1, new_id(), bought)] == [Verdict.TAKEN] * 2
    assert pending.sales(deployment) == [
        f"purchase {one.purchase_id} took its pieces, and is no order yet" for one in bought
    ]
    row = "INSERT INTO purchases VALUES (:it, 1, 'ann', 1, 1, 'held', 0)"
    with create_engine(url).begin() as connection:
        connection.execute(text(row), {"it": bought[0].purchase_id})
    assert len(pending.sales(deployment)) == 1


def test_a_store_of_pieces_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """Nothing is at rest while what was bought can't be seen."""
    url = f"sqlite:///{tmp_path}/flash.db"
    migrations.upgrade("flash", url)
    with create_engine(url).begin() as connection:
        connection.execute(insert(sales).values(_SALE | {"ends_at": 9}))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        deployment = _with_flash(url, f"redis://127.0.0.1:{nobody.getsockname()[1]}")
        assert pending.sales(deployment) == ["the store of pieces does not answer"]


def _with_flash(url: str, pieces_url: str = "") -> Any:
    return SimpleNamespace(
        database_url=lambda _: url,
        plan=SimpleNamespace(services=("order", "flash")),
        settings=lambda _: SimpleNamespace(pieces_url=pieces_url),
        directory=SimpleNamespace(hint=str),
    )
