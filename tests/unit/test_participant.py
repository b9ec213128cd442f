"""The kit of participants where the contract can't look: what an effect is told, and what it does wrong."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, select

from common.db import Database
from common.failpoints import POINTS
from common.registry import PARTICIPANTS
from halfmessage.chunks import VALUES
from halfmessage.errors import DuplicateRow
from halfmessage.failpoints import of_participant
from halfmessage.participant.effect import Direct, Members, Refusal
from halfmessage.participant.model import header_table
from halfmessage.participant.reservations import Reservations
from tests.fakes import open_database
from tests.support import Transactions

TX = 100
_SEATS = 5000
metadata = MetaData()
headers = header_table(metadata)
held = Table(  # without a foreign key, which would have the database refuse what the kit is to undo
    "held",
    metadata,
    Column("order_id", Integer, primary_key=True, autoincrement=False),
    Column("seat", Integer, unique=True),
)


class Seats(Direct[int]):
    """Seats by number; remembers what it was told."""

    held = held

    def __init__(self) -> None:
        self.told: list[tuple[str, list[int]]] = []

    def take(self, connection: Connection, order_id: int, want: int) -> Refusal | None:
        connection.execute(insert(held), {"order_id": order_id, "seat": want})
        return self.unfit(want) if want > _SEATS else None  # found out half-way

    def unfit(self, want: int) -> Refusal:
        return Refusal("taken", {"seat": want})

    def give_back(self, _connection: Connection, order_ids: Collection[int]) -> None:
        self.told.append(("give back", list(order_ids)))

    def describe(self, _connection: Connection, order_id: int) -> Members:
        return {"order": order_id}

    def paid(self, _connection: Connection, order_ids: Collection[int]) -> None:
        self.told.append(("paid", list(order_ids)))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "seats.db", metadata)
    yield database
    database.close()


@pytest.fixture
def seats() -> Seats:
    return Seats()


@pytest.fixture
def reservations(database: Database, seats: Seats) -> Reservations[int]:
    return Reservations("seats", database, headers, seats)


def test_paid(reservations: Reservations[int], seats: Seats) -> None:
    """A payment verifies what is live, and the effect hears of that only; of a payment told again, again."""
    reservations.deduct(TX, {1: 10, 2: 20, 3: 30})
    reservations.release({2: TX})
    seats.told.clear()
    for _ in range(2):
        states = reservations.settle(dict.fromkeys((3, 1, 2, 4), (TX, "paid")))
        assert {order_id: state.value for order_id, state in states.items()} == {
            1: "deducted",
            2: "released",
            3: "deducted",
        }
    assert seats.told == [("paid", [1, 3])] * 2
    assert [reservations.get(order_id).verified for order_id in (1, 2, 3)] == [True, False, True]
    reservations.settle({4: (TX, "paid")})
    assert len(seats.told) == 2


def test_standing_is_no_payment(reservations: Reservations[int], seats: Seats) -> None:
    """An order that stands is verified, and its effect hears nothing."""
    reservations.deduct(TX, {1: 10})
    reservations.settle({1: (TX, "stands")})
    assert seats.told == []
    assert reservations.get(1).verified


def test_many_payments(database: Database, reservations: Reservations[int]) -> None:
    """They are told in transactions of so many orders."""
    order_ids = range(1, 2 * VALUES + 2)
    for first in range(0, len(order_ids), 400):
        reservations.deduct(TX, {order_id: order_id for order_id in order_ids[first : first + 400]})
    rows = Transactions(database)
    reservations.settle(dict.fromkeys(order_ids, (TX, "paid")))
    assert rows.largest == VALUES


@pytest.mark.parametrize("known", [{}, {1: 10}], ids=["batch", "beside a known one"])
def test_refused_half_way(database: Database, reservations: Reservations[int], known: dict[int, int]) -> None:
    """What an effect did for an order before it refused it is undone; others of the batch keep theirs."""
    reservations.deduct(TX, {1: 10})
    if not known:
        reservations.release({1: TX})
    decisions = reservations.deduct(TX, known | {2: _SEATS + 1, 3: 30})
    assert [(d.order_id, d.verdict) for d in decisions][-2:] == [(2, "taken"), (3, "deducted")]
    assert decisions[-2].members == {"seat": _SEATS + 1}
    with database.read() as connection:
        assert sorted(connection.scalars(select(held.c.order_id))) == [1, 3]
        assert sorted(connection.scalars(select(headers.c.order_id))) == [1, 3]


def test_a_row_of_its_own_that_is_there(reservations: Reservations[int]) -> None:
    """An effect that inserts what another order has is told so: no header of this order is the answer."""
    reservations.deduct(TX, {1: 10})
    with pytest.raises(DuplicateRow):
        reservations.deduct(TX, {2: 10})
    assert reservations.states([1, 2]).keys() == {1}


def test_an_effect_that_lacks_a_method(database: Database) -> None:
    """It can't be made: to give back nothing would go unnoticed until stock is gone."""

    class Half(Direct[int]):
        def take(self, _connection: Any, _order_id: int, _want: int) -> Refusal | None:
            return None

    with pytest.raises(TypeError, match="give_back"):
        Reservations("half", database, headers, Half())  # type: ignore[abstract]


def test_failpoints() -> None:
    """Each participant has points of its own, which can be armed."""
    for name in PARTICIPANTS:
        assert of_participant(name) <= POINTS
    assert of_participant("seats") == {
        "seats.deduct_received",
        "seats.before_commit",
        "seats.deducted",
        "seats.rollback_received",
        "seats.released",
        "seats.settled",
    }
