"""Reservations: deducted at most once, released at most once, in whatever order the requests come."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError
from sqlalchemy import event, func, select

from common.db import Database
from common.reservations.schema import deduct_body
from halfmessage.chunks import ROWS
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from halfmessage.participant import headers
from halfmessage.participant.deducting import Decision
from halfmessage.participant.headers import Headers
from halfmessage.participant.model import ReservationState
from halfmessage.participant.releasing import Releasing
from halfmessage.participant.reservations import Reservations, Unverified
from stock import model
from stock.schema import OrderIn
from stock.service.levels import Level, Levels
from stock.service.pieces import INSUFFICIENT, Pieces, stock_reservations
from stock.service.strategies.in_database import Conditional
from stock.service.strategies.port import Lines
from tests.databases import database_url
from tests.fakes import open_database
from tests.support import Transactions, lines_of, short_of

DEDUCTED, RELEASED = ReservationState.DEDUCTED, ReservationState.RELEASED
TX = 100


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "stock.db", model.metadata)
    for goods_id in (1, 2):
        Levels(database).set_total(goods_id, 5)
    yield database
    database.close()


@pytest.fixture
def reservations(database: Database) -> Reservations[Lines]:
    return stock_reservations(database)


@pytest.fixture
def available(database: Database) -> Callable[[], tuple[int, int]]:
    levels = Levels(database)
    return lambda: (levels.get(1).available, levels.get(2).available)


Available = Callable[[], tuple[int, int]]


def _deduct(reservations: Reservations[Lines], order_id: int, *, tx_id: int = TX, **lines: int) -> Decision:
    wanted = {int(goods[1:]): quantity for goods, quantity in lines.items()}
    (decision,) = reservations.deduct(tx_id, {order_id: wanted})
    return decision


def test_deduct(reservations: Reservations[Lines], available: Available) -> None:
    """A deduction takes every line and is told as it stands."""
    before = now_ms()
    assert _deduct(reservations, 7, g1=2, g2=5) == Decision(7, ReservationState.DEDUCTED)
    assert available() == (3, 0)
    found = reservations.get(7)
    assert (found.order_id, found.tx_id, found.state, found.verified) == (7, TX, DEDUCTED, False)
    assert (lines_of(found), found.released_at) == ({1: 2, 2: 5}, None)
    assert before <= found.created_at <= now_ms()


def test_deduct_again(reservations: Reservations[Lines], available: Available) -> None:
    """The same deduction again gets the same answer and takes nothing more, whatever lines it names."""
    for _ in range(3):
        assert _deduct(reservations, 7, g1=2).verdict == ReservationState.DEDUCTED
    assert _deduct(reservations, 7, g2=1).verdict == ReservationState.DEDUCTED
    assert available() == (3, 5)


def test_short(reservations: Reservations[Lines], available: Available) -> None:
    """An order that can't be had whole takes nothing, leaves nothing behind, and names all that is short."""
    assert _deduct(reservations, 7, g1=6, g2=1, g9=1) == Decision(7, INSUFFICIENT, {"short": (1, 9)})
    assert available() == (5, 5)
    with pytest.raises(NotFound):
        reservations.get(7)
    assert _deduct(reservations, 7, g1=5).verdict == ReservationState.DEDUCTED  # and may be asked again


def test_batch(reservations: Reservations[Lines], available: Available) -> None:
    """Each order of a batch gets a verdict of its own, in the order asked; a short one does not take the others."""
    reservations.release({5: TX})
    _deduct(reservations, 6, g2=1)
    wanted = {9: {1: 4}, 8: {1: 2}, 7: {1: 1}, 6: {2: 1}, 5: {2: 1}}
    decisions = reservations.deduct(TX, wanted)
    assert [(d.order_id, d.verdict, short_of(d)) for d in decisions] == [
        (9, "deducted", ()),
        (8, "insufficient", (1,)),
        (7, "deducted", ()),
        (6, "deducted", ()),
        (5, "released", ()),
    ]
    assert available() == (0, 4)


@pytest.mark.parametrize("others", [{}, {8: {2: 1}}])
def test_a_row_that_the_database_refuses(
    reservations: Reservations[Lines], available: Available, others: dict[int, dict[int, int]]
) -> None:
    """A CHECK that fails is its own order's refusal, naming the goods; others of the batch are deducted."""
    wanted = {7: {1: 0}, **others}  # no request gets here with none of something; a level may be wrong in its own way
    decisions = reservations.deduct(TX, wanted)
    assert decisions[0] == Decision(7, INSUFFICIENT, {"short": (1,)})
    assert [decision.verdict for decision in decisions[1:]] == [ReservationState.DEDUCTED] * len(others)
    assert available() == (5, 5 - len(others))
    with pytest.raises(NotFound):
        reservations.get(7)


def test_release(reservations: Reservations[Lines], available: Available) -> None:
    """A release gives every line back, once; also while others hold pieces, so that no CHECK refuses a second time."""
    _deduct(reservations, 8, g1=2, g2=2)
    _deduct(reservations, 7, g1=2, g2=2)
    for _ in range(3):
        reservations.release({7: TX})
        assert available() == (3, 3)
    found = reservations.get(7)
    assert found.state is RELEASED
    assert found.released_at is not None
    assert lines_of(found) == {1: 2, 2: 2}


def test_release_of_a_batch(reservations: Reservations[Lines], available: Available) -> None:
    """A batch of releases gives back what was live, and leaves tombstones for the rest."""
    _deduct(reservations, 7, g1=2)
    _deduct(reservations, 8, g1=1, g2=1)
    reservations.release({8: TX, 7: TX, 9: TX})
    assert available() == (5, 5)
    assert reservations.get(9).state is RELEASED


def test_tombstone(reservations: Reservations[Lines], available: Available) -> None:
    """A release that comes first leaves a tombstone: the late deduction is refused."""
    reservations.release({7: TX})
    found = reservations.get(7)
    assert (found.state, lines_of(found)) == (RELEASED, {})
    assert found.released_at == found.created_at
    assert _deduct(reservations, 7, g1=1) == Decision(7, ReservationState.RELEASED)
    assert available() == (5, 5)


def test_deduct_after_release(reservations: Reservations[Lines], available: Available) -> None:
    """Nothing leaves `released`: a late duplicate of the deduction is refused."""
    _deduct(reservations, 7, g1=1)
    reservations.release({7: TX})
    assert _deduct(reservations, 7, g1=1) == Decision(7, ReservationState.RELEASED)
    assert available() == (5, 5)


def test_settle(reservations: Reservations[Lines], available: Available) -> None:
    """`stands` verifies what is live, `void` releases it, and the states are told."""
    for order_id in (6, 7):
        _deduct(reservations, order_id, g1=1)
    reservations.release({8: TX})
    states = reservations.settle({6: (TX, "stands"), 7: (TX, "void"), 8: (TX, "stands"), 9: (TX, "stands")})
    assert states == {6: DEDUCTED, 7: RELEASED, 8: RELEASED}
    assert reservations.get(6).verified
    assert not reservations.get(8).verified
    assert available() == (4, 5)
    assert reservations.settle({9: (TX, "void"), 6: (TX, "void")}) == {6: RELEASED, 9: RELEASED}
    assert available() == (5, 5)


def test_unverified(reservations: Reservations[Lines]) -> None:
    """What the sweep is to ask about: live, unverified, old enough; page by page, lowest id first."""
    for order_id in (3, 1, 2, 4, 5):
        _deduct(reservations, order_id, g1=1)
    reservations.settle({2: (TX, "stands"), 4: (TX, "void")})
    young = now_ms() - 60_000
    assert reservations.unverified(older_than=young, after=0, limit=10) == []
    first = reservations.unverified(older_than=now_ms(), after=0, limit=2)
    assert [r.order_id for r in first] == [1, 3]
    assert first[0] == Unverified(1, TX, reservations.get(1).created_at)
    assert [r.order_id for r in reservations.unverified(older_than=now_ms(), after=3, limit=2)] == [5]


def test_all_that_is_live(reservations: Reservations[Lines]) -> None:
    """What a full sweep is to ask about: the verified ones too, and nothing that is released."""
    for order_id in (3, 1, 2):
        _deduct(reservations, order_id, g1=1)
    reservations.settle({2: (TX, "stands"), 3: (TX, "void")})
    found = reservations.unverified(older_than=now_ms(), after=0, limit=10, or_verified=True)
    assert [r.order_id for r in found] == [1, 2]


def test_states(reservations: Reservations[Lines]) -> None:
    """States are told of what there is, tombstones too."""
    _deduct(reservations, 1, g1=1)
    reservations.release({2: TX})
    assert reservations.states([1, 2, 3]) == {1: DEDUCTED, 2: RELEASED}


def test_revive(reservations: Reservations[Lines], available: Available) -> None:
    """What was released is deducted anew where the audit says so, whole or not at all; what is live stays as it is."""
    _deduct(reservations, 6, g1=1)
    _deduct(reservations, 7, g1=2, g2=1)
    reservations.release({7: TX, 8: TX, 9: TX})
    wanted = {6: {1: 1}, 7: {1: 2, 2: 1}, 8: {1: 2}, 9: {1: 1}}
    decisions = reservations.deduct(TX, wanted, revive=True)
    assert [d.verdict for d in decisions] == ["deducted", "deducted", "deducted", "insufficient"]
    assert (lines_of(reservations.get(7)), lines_of(reservations.get(8))) == ({1: 2, 2: 1}, {1: 2})
    assert available() == (0, 4)
    reservations.release({7: TX})
    assert available() == (2, 5)


def _write(reservations: Reservations[Lines], what: str) -> None:
    if what == "deduct":
        reservations.deduct(TX, {8: {1: 1}, 9: {2: 1}})
    elif what == "deduct one by one":
        reservations.deduct(TX, {7: {1: 1}, 8: {2: 1}})
    else:
        reservations.release({7: TX})


@pytest.mark.parametrize("what", ["deduct", "deduct one by one", "release", "release one by one"])
def test_headers_are_written_before_levels(
    database: Database, reservations: Reservations[Lines], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Deductions and releases of an order meet at its header; who comes second finds it before any level is touched."""
    _deduct(reservations, 7, g1=1)
    if what == "release one by one":
        monkeypatch.setattr(Releasing, "together", Releasing.singly)
    written: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        table = next((t for t in ("reservation_lines", "reservations", "stock") if f" {t} " in f"{statement} "), "")
        if not statement.startswith(("SELECT", "SAVEPOINT", "BEGIN")) and table in {"reservations", "stock"}:
            written.append(table)

    event.listen(database.engine, "before_cursor_execute", note)
    _write(reservations, what)
    assert written[0] == "reservations"
    assert "stock" in written


def test_unknown(reservations: Reservations[Lines]) -> None:
    """An order that was neither deducted nor released has no reservation."""
    with pytest.raises(NotFound):
        reservations.get(7)


@pytest.mark.parametrize(
    ("release_first", "verdict"), [(True, ReservationState.RELEASED), (False, ReservationState.DEDUCTED)]
)
def test_deduction_loses_the_race_for_the_header(
    reservations: Reservations[Lines],
    available: Available,
    monkeypatch: pytest.MonkeyPatch,
    release_first: bool,
    verdict: ReservationState,
) -> None:
    """A header that appears after our look at it is found by its primary key: what it says is the answer."""
    if release_first:
        reservations.release({7: TX})
    else:
        _deduct(reservations, 7, g1=1)
    before = available()
    _blind_once(monkeypatch)
    assert _deduct(reservations, 7, g1=1) == Decision(7, verdict)
    assert available() == before


def _blind_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next look at the headers see none, as if they came right after it."""
    states, looked = Headers.states, []

    def blind(self: Headers, connection: Any, order_ids: Any) -> Any:
        looked.append(1)
        return {} if len(looked) == 1 else states(self, connection, order_ids)

    monkeypatch.setattr(Headers, "states", blind)


def _blind_under_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every release of a whole batch see no header, as if all came right after its look."""
    monkeypatch.setattr(Headers, "locked_states", lambda *_: {})


def _releasing() -> Releasing:
    return Releasing(Headers(model.reservations), Pieces(Conditional()))


def test_release_loses_the_race_for_the_header(
    reservations: Reservations[Lines], available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deduction that comes between a release's look at all headers and its tombstones is released after all."""
    _deduct(reservations, 7, g1=2)
    _blind_under_locks(monkeypatch)
    reservations.release({7: TX, 8: TX})
    assert (reservations.get(7).state, reservations.get(8).state) == (RELEASED, RELEASED)
    assert available() == (5, 5)


def test_released_one_by_one(database: Database, reservations: Reservations[Lines], available: Available) -> None:
    """What was released, or never deducted, gives nothing back, where orders are released one by one, too."""
    _deduct(reservations, 7, g1=2)
    reservations.release({7: TX})
    for _ in range(2):
        database.transact(lambda connection: _releasing().singly(connection, {7: TX, 8: TX}))
    assert (reservations.get(7).state, reservations.get(8).state) == (RELEASED, RELEASED)
    assert available() == (5, 5)


def test_only_what_this_release_moved_is_given_back(
    reservations: Reservations[Lines], available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback that comes again, in one batch with one whose header came in between, gives its pieces back once."""
    _deduct(reservations, 6, g1=1)
    reservations.release({6: TX})
    _deduct(reservations, 7, g1=2)
    _deduct(reservations, 8, g1=2)
    _blind_under_locks(monkeypatch)
    reservations.release({6: TX, 7: TX, 9: TX})
    assert available() == (3, 5)
    assert [reservations.get(o).state for o in (6, 7, 8, 9)] == [RELEASED, RELEASED, DEDUCTED, RELEASED]


@pytest.mark.parametrize("fate", ["stands", "void"])
def test_settled_one_by_one(
    reservations: Reservations[Lines], monkeypatch: pytest.MonkeyPatch, fate: Literal["stands", "void"]
) -> None:
    """The second way of settling says and does what the first does."""
    for order_id in (6, 7):
        _deduct(reservations, order_id, g1=1)
    _blind_under_locks(monkeypatch)
    states = reservations.settle({6: (TX, fate), 7: (TX, "void"), 8: (TX, "void")})
    assert states == {6: RELEASED if fate == "void" else DEDUCTED, 7: RELEASED, 8: RELEASED}
    assert reservations.get(6).verified is (fate == "stands")


def test_tombstone_loses_the_race_for_the_header(
    database: Database, reservations: Reservations[Lines], available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where orders are released one by one; and it was released after it was made, by the clock too."""
    _deduct(reservations, 7, g1=2)
    _blind_once(monkeypatch)
    times = iter([0])  # the first look was long before the deduction
    monkeypatch.setattr(headers, "now_ms", lambda: next(times, now_ms()))
    # the first UPDATE of the release must miss as well, as it would before the deduction committed
    missed: list[int] = []

    def work(connection: Any) -> None:
        execute = connection.execute

        def late(statement: Any, *args: Any) -> Any:
            if statement.is_update and not missed:
                missed.append(1)
                return execute(select(model.stock).where(model.stock.c.goods_id == -1))
            return execute(statement, *args)

        monkeypatch.setattr(connection, "execute", late)
        _releasing().singly(connection, {7: TX})

    database.transact(work)
    found = reservations.get(7)
    assert found.state is RELEASED
    assert (found.released_at or 0) >= found.created_at
    assert available() == (5, 5)


def _at_once(*works: Callable[[], object]) -> None:
    start = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        start.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_last_pieces(reservations: Reservations[Lines], available: Available) -> None:
    """Twenty at once for the last five pieces: five get one, no other does."""
    decisions: list[Decision] = []
    _at_once(*[lambda o=o: decisions.append(_deduct(reservations, o, g1=1)) for o in range(1, 21)])
    verdicts = [decision.verdict for decision in decisions]
    assert (verdicts.count(ReservationState.DEDUCTED), verdicts.count(INSUFFICIENT)) == (5, 15)
    assert available() == (0, 5)


def test_same_order_at_once(reservations: Reservations[Lines], available: Available) -> None:
    """The same deduction ten times at once takes its pieces once."""
    decisions: list[Decision] = []
    _at_once(*[lambda: decisions.append(_deduct(reservations, 7, g1=2))] * 10)
    assert {decision.verdict for decision in decisions} == {ReservationState.DEDUCTED}
    assert available() == (3, 5)


def test_deduct_against_release(tmp_path: Path, database: Database, available: Available) -> None:
    """A deduction and the release of the same order at once, from two processes: released in the end, always."""
    other = Database(database_url(tmp_path, "stock"))
    ours, theirs = stock_reservations(database), stock_reservations(other)
    verdicts: set[str] = set()

    def deduct(order_id: int) -> None:
        verdicts.add(_deduct(ours, order_id, g1=1).verdict)

    for order_id in range(1, 41):
        _at_once(partial(deduct, order_id), partial(theirs.release, {order_id: TX}))
        assert ours.get(order_id).state is RELEASED
        assert available() == (5, 5)
    assert verdicts <= {ReservationState.DEDUCTED, ReservationState.RELEASED}
    other.close()


def test_conservation_is_enforced_by_the_database(database: Database) -> None:
    """Total is what is available and what live reservations hold, in one read."""
    reservations, levels = stock_reservations(database), Levels(database)
    for order_id in (7, 8, 9):
        _deduct(reservations, order_id, g1=1)
    reservations.release({8: TX})
    lines, headers = model.reservation_lines.c, model.reservations.c
    live = select(func.sum(lines.quantity)).join(model.reservations, headers.order_id == lines.order_id)
    with database.read() as connection:
        held = connection.scalar(live.where((headers.state == DEDUCTED) & (lines.goods_id == 1)))
    assert levels.get(1) == Level(1, 5, 5 - held)


def test_release_is_bounded_by_lines(database: Database, reservations: Reservations[Lines]) -> None:
    """Orders of many lines go back in more transactions: each writes so many rows of lines and levels at most."""
    kinds = range(100, 150)
    for goods_id in kinds:
        Levels(database).set_total(goods_id, 999)
    order_ids = range(1, 242)
    for first in range(1, 242, 80):
        some = range(first, min(first + 80, 242))
        reservations.deduct(TX, {order_id: dict.fromkeys(kinds, 1) for order_id in some})
    rows = Transactions(database)
    reservations.release(dict.fromkeys(order_ids, TX))
    assert len(rows.sizes) == 3  # 241 x 50 lines, 5,000 at a time
    assert rows.largest == 100 + 50  # headers and levels
    assert {Levels(database).get(goods_id).available for goods_id in kinds} == {999}


def test_very_many_are_settled(database: Database, reservations: Reservations[Lines]) -> None:
    """More orders than one statement may name, standing and void: each transaction is bounded, and each state told."""
    reservations.deduct(TX, {1: {1: 1}, 5000: {1: 1}})
    rows = Transactions(database)
    fates = {order_id: (TX, "stands" if order_id < 3000 else "void") for order_id in range(1, 6000)}
    states = reservations.settle(fates)  # type: ignore[arg-type]
    assert rows.largest <= ROWS + 1  # and the goods
    assert states[1] is DEDUCTED
    assert reservations.get(1).verified
    assert {states[order_id] for order_id in range(3000, 6000)} == {RELEASED}
    assert len(states) == 3001


def test_very_many_goods(database: Database, reservations: Reservations[Lines]) -> None:
    """A batch of more goods than one statement may name is deducted and released, short orders of it are refused."""
    for goods_id in range(1000, 2000):
        Levels(database).set_total(goods_id, 1)
    orders = {n: {1000 + 25 * n + i: 1 for i in range(25)} for n in range(40)}
    short = {n: {9999: 1} for n in range(100, 1100)}
    verdicts = [decision.verdict for decision in reservations.deduct(TX, orders | short)]
    assert verdicts == [ReservationState.DEDUCTED] * 40 + [INSUFFICIENT] * 1000
    assert Levels(database).get(1999).available == 0
    reservations.release(dict.fromkeys(range(40), TX))
    assert [Levels(database).get(goods_id).available for goods_id in (1000, 1500, 1999)] == [1, 1, 1]


def test_deduction_of_too_many_lines() -> None:
    """A batch of more lines than one transaction takes is refused, with what is allowed."""
    body = deduct_body(OrderIn)
    items = [{"goods_id": str(n), "quantity": 1} for n in range(1, 51)]
    orders = [{"order_id": str(n), "items": items} for n in range(1, 102)]
    assert len(body.model_validate({"tx_id": "1", "orders": orders[:100]}).orders) == 100
    with pytest.raises(ValidationError, match="at most 5000 items in all"):
        body.model_validate({"tx_id": "1", "orders": orders})


def test_what_was_released_long_ago_is_forgotten(
    database: Database, reservations: Reservations[Lines], available: Available, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Released reservations and tombstones go once they are old enough; what is live stays, and so do levels."""
    monkeypatch.setattr("halfmessage.participant.headers.VALUES", 2)
    reservations.deduct(TX, {n: {1: 1} for n in (1, 2, 3)})
    reservations.release(dict.fromkeys((2, 3, 4, 5, 6), TX))
    rows = Transactions(database)
    assert reservations.purge(now_ms()) == 5
    assert max(rows.sizes) == 4  # two headers, two lines
    assert reservations.purge(now_ms()) == 0
    assert reservations.get(1).state is DEDUCTED
    assert available() == (4, 5)
    for order_id in range(2, 7):
        with pytest.raises(NotFound):
            reservations.get(order_id)


def test_what_was_released_lately_is_kept(reservations: Reservations[Lines]) -> None:
    """However old its order is."""
    before = now_ms()
    reservations.release({1: TX})
    assert reservations.purge(before) == 0
    assert reservations.get(1).state is RELEASED


def test_a_release_that_comes_after_it_is_forgotten(reservations: Reservations[Lines], available: Available) -> None:
    """It gives nothing back again: it leaves a tombstone, as for an order that was never deducted."""
    reservations.deduct(TX, {1: {1: 1}})
    for _ in range(2):
        reservations.release({1: TX})
        assert available() == (5, 5)
        assert reservations.purge(now_ms() + 1000) == 1
