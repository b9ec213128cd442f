"""What goes wrong between the steps of the flash service, and what is so rare that only a test meets it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Connection, select, update

from common.errors import RedisUnavailable
from flash import model
from flash.model import InsufficientStock, PurchaseFate, SaleState, purchases, sales
from flash.pieces.factory import store_of
from flash.pieces.in_redis import RedisPieces
from flash.pieces.port import MOST, Buyer, Phase, Purchase, PurchaseState
from flash.pieces.rebuilding import rebuild
from flash.service import reading, returning
from flash.service.buying import Looking
from flash.service.holding import Want
from flash.service.selling import mark_closed, void
from halfmessage.chunks import VALUES
from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, DuplicateRow, Misconfigured, NotFound, OutcomeUnknown, Unavailable
from halfmessage.ids import first_of
from tests.flash import HOUR, Market

Raises = Callable[..., Any]


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with closing(Market(tmp_path)) as market:
        yield market


def raising(error: Exception) -> Raises:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def set_row(market: Market, sale_id: int, **values: Any) -> None:
    change = update(sales).where(sales.c.sale_id == sale_id).values(**values)
    market.database.transact(lambda connection: connection.execute(change))


# Opening and closing


def test_whether_stock_has_heard_is_not_known(market: Market) -> None:
    """The sale is left as it is: it is found by a sweep."""
    market.faults.plan("allot", OutcomeUnknown(), "after")
    with pytest.raises(OutcomeUnknown):
        market.open(3)
    with market.database.read() as connection:
        assert connection.scalar(select(sales.c.state)) == SaleState.OPENING


def test_what_can_not_even_be_given_up(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first error is told; the sweep finds the sale."""
    monkeypatch.setattr("flash.service.selling.void", raising(Unavailable()))
    with pytest.raises(InsufficientStock):
        market.open(11)


def test_a_sale_that_was_given_up_meanwhile_is_not_opened(market: Market) -> None:
    """A sweep thought that no instance opens it any more."""

    def sweep() -> None:
        market.database.transact(lambda connection: connection.execute(update(sales).values(state="void")))

    market.faults.hooks["allot"] = sweep
    with pytest.raises(Unavailable):
        market.open(3)


def test_the_same_key_at_once(market: Market) -> None:
    """The other one's sale stands; this one owns nothing."""
    market.faults.hooks["allot"] = lambda: market.open(3, key="k")
    again = market.open(3, key="k")
    market.sweeping.often()
    assert market.selling.is_known(None) is False
    assert market.stock.available == 7
    assert market.row(again).state == "open"


def test_the_store_need_not_hear_of_an_opening(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sale stands; it is told once the store answers, and shown by our clock until then."""
    monkeypatch.setattr(market.pieces, "put", raising(Unavailable()))
    sale = market.open(3)
    assert market.showing.glance(sale) == (Phase.ON, None)
    early = market.open(3, starts_at=now_ms() + HOUR, ends_at=now_ms() + 2 * HOUR)
    assert market.showing.glance(early) == (Phase.NOT_STARTED, None)
    monkeypatch.undo()
    monkeypatch.setattr(market.pieces, "look", raising(Unavailable()))
    assert market.showing.glance(sale) == (Phase.ON, None)


def test_a_sale_that_the_store_did_not_hear_of_is_told(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the next look, whether anybody asks for it or not."""
    market.sweeping.often()
    with monkeypatch.context() as patched:
        patched.setattr(market.pieces, "put", raising(Unavailable()))
        sale = market.open(3)
    assert market.left(sale) is None
    market.sweeping.often()
    assert market.left(sale) == 3


def test_a_closing_that_stock_does_not_hear(market: Market) -> None:
    """It is closed all the same; the sweep has stock hear it."""
    sale = market.open(3)
    market.faults.plan("allot", Unavailable())
    assert market.selling.close(sale.sale_id).state == "done"
    assert market.stock.available == 7
    market.sweeping.often()
    assert market.stock.available == 10
    assert not market.database.transact(lambda connection: mark_closed(connection, sale.sale_id))
    assert not market.database.transact(lambda connection: void(connection, sale.sale_id))


@pytest.mark.parametrize("which", [0, 1])
def test_one_sale_that_stock_refuses_keeps_no_other(
    market: Market, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """As a restored stock may: it is tried again, and the others' pieces come back meanwhile."""
    ids = [market.open(3).sale_id, market.open(2).sale_id]
    for sale_id in ids:
        market.database.transact(lambda connection, one=sale_id: mark_closed(connection, one))  # type: ignore[misc]
    stock = market.finishing._stock
    allot = stock.allot

    def refuse(sale_id: int, *rest: int) -> None:
        if sale_id == ids[which]:
            raise InsufficientStock
        allot(sale_id, *rest)

    monkeypatch.setattr(stock, "allot", refuse)
    with pytest.raises(InsufficientStock):
        market.finishing.run()
    with market.database.read() as connection:
        rows = connection.execute(select(sales.c.sale_id, sales.c.heard < sales.c.word)).all()
    assert {sale_id for sale_id, is_unheard in rows if is_unheard} == {ids[which]}


def failing_for(monkeypatch: pytest.MonkeyPatch, where: object, name: str, sale_id: int) -> None:
    """Have one call fail wherever it is about this sale."""
    do = getattr(where, name)

    def fail(about: Any, *rest: Any, **named: Any) -> Any:
        if getattr(about, "sale_id", about) == sale_id:
            raise Unavailable
        return do(about, *rest, **named)

    monkeypatch.setattr(where, name, fail)


@pytest.mark.parametrize("which", [0, 1])
def test_one_sale_that_can_not_be_told_anew_keeps_no_other(
    market: Market, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """As one may with a value that is none of ours: it is told once it can be, though the store stays the same."""
    opened = [market.open(3), market.open(2)]
    for sale in opened:
        market.pieces.forget(sale.sale_id)
    with monkeypatch.context() as patched:
        failing_for(patched, market.pieces, "put", opened[which].sale_id)
        market.sweeping.often()
        known = [market.pieces.look(sale.sale_id) is not None for sale in opened]
        assert known == [which == 1, which == 0]
    market.sweeping.often()
    assert all(market.pieces.look(sale.sale_id) for sale in opened)


def test_what_is_to_be_told_anew_is_not_lost_with_the_database(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it can't be read: the next look tells it, though the store stays the same."""
    sale = market.open(3)
    market.sweeping.often()
    market.pieces.forget(sale.sale_id)
    market.sweeping.forgotten(sale.sale_id)
    with monkeypatch.context() as patched:
        patched.setattr(market.sweeping, "_some", raising(Unavailable()))
        market.sweeping.often()
    assert market.pieces.look(sale.sale_id) is None
    market.sweeping.often()
    assert market.pieces.look(sale.sale_id) is not None


@pytest.mark.parametrize("which", [0, 1])
def test_one_sale_that_can_not_be_looked_at_keeps_no_other(
    market: Market, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """Purchases of the others whose message is gone are told again."""
    opened = [market.open(3), market.open(2)]
    for sale in opened:
        market.bought(sale, "ann")
    before = len(market.messages())
    failing_for(monkeypatch, market.pieces, "open_purchases", opened[which].sale_id)
    market.ids.age = -5.0
    market.sweeping.sweep()
    assert len(market.messages()) == before + 1


@pytest.mark.parametrize("which", [0, 1])
def test_one_sale_that_takes_nothing_back_keeps_no_other(
    market: Market, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """However many purchases of it wait before those of the others."""
    opened = [market.open(3), market.open(3)]
    for sale in opened[which:] + opened[:which]:
        rows = [
            {"purchase_id": market.ids.next(), "sale_id": sale.sale_id, "user_id": f"u{number}", "quantity": 1}
            | {"holders": 0, "fate": PurchaseFate.RETURNED.value}
            for number in range(VALUES + 10)
        ]
        market.database.transact(lambda connection, rows=rows: connection.execute(purchases.insert(), rows))
    failing_for(monkeypatch, market.pieces, "give_back", opened[which].sale_id)
    with pytest.raises(Unavailable):
        market.returning.run()
    with pytest.raises(Unavailable):
        market.returning.run()
    with market.database.read() as connection:
        untold = select(purchases.c.sale_id).where(~purchases.c.told).distinct()
        assert list(connection.scalars(untold)) == [opened[which].sale_id]


def test_two_that_forget_a_sale_are_both_done(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes to it later finds nothing left."""
    sale = market.open(3)
    go_on = market.pieces._go_on_forgetting

    def twice(sale_id: int) -> None:
        go_on(sale_id)
        go_on(sale_id)

    monkeypatch.setattr(market.pieces, "_go_on_forgetting", twice)
    market.pieces.forget(sale.sale_id)
    assert market.pieces.look(sale.sale_id) is None


def test_a_sale_is_forgotten_by_many_small_transactions(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much was bought in it; from the first on nothing is sold, and what comes meanwhile is told after it."""
    market.stock.available = 3 * MOST
    sale = market.open(3 * MOST)
    for start in range(0, 3 * MOST, MOST):
        market.buy(sale, *(f"u{number}" for number in range(start, start + MOST)))
    assert market.left(sale) == 0
    deleted: list[int] = []
    forget = market.pieces._rows.forget

    def forget_some(connection: Connection, sale_id: int, limit: int) -> int:
        if len(deleted) == 1:
            deleted.append(0)
            raise Unavailable  # its process dies
        deleted.append(forget(connection, sale_id, limit))
        return deleted[-1]

    monkeypatch.setattr(market.pieces._rows, "forget", forget_some)
    with pytest.raises(Unavailable):
        market.pieces.forget(sale.sale_id)
    assert market.pieces.look(sale.sale_id) is None
    assert market.pieces.totals(sale.sale_id) is None
    assert max(deleted) <= 2 * MOST
    market.pieces.hold(sale.sale_id, [Buyer(77, "late", 1)])
    assert len(deleted) > 3, "what writes of the sale has the rest forgotten first"
    rebuild(market.pieces, sale.terms, [])
    totals = market.pieces.totals(sale.sale_id)
    assert totals is not None
    assert (totals.taken, totals.held, totals.pieces) == (0, 1, 1)
    assert market.left(sale) == 3 * MOST - 1


def test_a_store_that_does_not_answer_at_the_end(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes back until it tells what is under way, unless that is too old to become an order."""
    sale = market.open(3)
    market.bought(sale, "ann")
    monkeypatch.setattr(market.pieces, "open_purchases", raising(Unavailable()))
    assert market.selling.close(sale.sale_id).state == "closed"
    assert market.row(sale).allotted == 3
    set_row(market, sale.sale_id, closed_at=now_ms() - HOUR)
    market.finishing.run()
    assert (market.row(sale).allotted, market.row(sale).state) == (0, "done")


def test_what_is_too_old_does_not_keep_pieces(market: Market) -> None:
    """A purchase that the store still thinks is under way, long after the end."""
    sale = market.open(3)
    market.bought(sale, "ann")
    market.selling.close(sale.sale_id)
    assert market.row(sale).state == "closed"
    set_row(market, sale.sale_id, closed_at=now_ms() - HOUR)
    market.finishing.run()
    assert (market.row(sale).allotted, market.row(sale).state) == (0, "done")


def test_a_sale_that_another_process_reckoned_meanwhile(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is done already: nothing is done twice."""
    sale = market.open(3)
    market.bought(sale, "ann")
    market.selling.close(sale.sale_id)
    monkeypatch.setattr(market.pieces, "end", lambda sale_id: set_row(market, sale_id, state="done"))
    market.finishing.run()
    assert market.row(sale).allotted == 1


# Buying and holding


def test_those_who_look_at_once_share_it(market: Market) -> None:
    """One question for each sale, and each gets their own answer."""
    first, second = market.open(2), market.open(1)
    market.bought(first, "ann")
    found = Looking(market.pieces).look(
        [(second.sale_id, "ann"), (first.sale_id, "ann"), (first.sale_id, "bob"), (5, "x")]
    )
    assert [one and (one.left, list(one.bought)) for one in found] == [(1, []), (1, ["ann"]), (1, ["ann"]), None]


def test_whether_pieces_were_taken_is_not_known(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its message is kept: the check-back decides."""
    sale = market.open(2)
    monkeypatch.setattr(market.pieces, "take", raising(OutcomeUnknown()))
    (answer,) = market.buy(sale, "ann")
    assert isinstance(answer, OutcomeUnknown)
    assert market.messages()[0].resolution is None


def test_a_message_that_can_not_be_begun(market: Market) -> None:
    """Nothing was taken."""
    sale = market.open(2)
    market.faults.plan("begin", BrokerError())
    (answer,) = market.buy(sale, "ann")
    assert isinstance(answer, Unavailable)
    assert market.left(sale) == 2


def test_what_is_held_wrongly_is_refused(market: Market) -> None:
    """Orders of a sale that is not open, and those that the counts leave no room for."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    set_row(market, sale.sale_id, state="opening")
    assert market.hold(sale, purchase, 41) == "sold-out"
    set_row(market, sale.sale_id, state="open")
    holding: Any = market.reservations._effect  # the part of it that is flash's
    want = Want(sale.sale_id, purchase, "ann", 1, None)
    assert holding.unfit(want).verdict == "sold-out"


# Coming back


def test_a_purchase_is_refused_and_held_at_once(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes its row first: it is found then, and not written again."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    refused = [Purchase(purchase, "ann", 1, PurchaseState.TAKEN)]
    market.returning.refuse(sale.sale_id, refused)
    market.returning.refuse(sale.sale_id, refused)
    assert market.fate(purchase) == "returned"
    monkeypatch.setattr(returning, "_refuse", raising(DuplicateRow()))
    market.returning.refuse(sale.sale_id, refused)
    assert market.left(sale) == 2


def test_a_purchase_that_is_held_again_while_it_is_returned(market: Market) -> None:
    """The row is free no more: it stays."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    market.hold(sale, purchase, 41)
    market.database.transact(lambda connection: returning._return(connection, [purchase]))
    assert market.fate(purchase) == "held"


def test_a_sale_is_locked_before_what_comes_back_to_it(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by those who hold and reckon: none counts a purchase as free that is being returned."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    market.hold(sale, purchase, 41)
    market.reservations.release({41: 1})
    lock, locked = returning._SALES.lock, list[tuple[set[int], str]]()

    def locking(connection: Connection, keys: Collection[int]) -> object:
        locked.append((set(keys), connection.execute(select(purchases.c.fate)).scalar_one()))
        return lock(connection, keys)

    monkeypatch.setattr(returning._SALES, "lock", locking)
    market.sweeping.often()
    assert locked == [({sale.sale_id}, "free")]
    assert market.fate(purchase) == "returned"


# Reading


def test_so_many_sales_are_kept_at_hand(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was looked up first goes first."""
    monkeypatch.setattr(reading, "_REMEMBERED", 1)
    first, second = market.open(1), market.open(1)
    for sale in (first, second, first):
        assert market.reader.known(sale.sale_id).sale_id == sale.sale_id
    assert list(market.reader._known) == [first.sale_id]


def test_a_purchase_that_is_a_row_is_found_in_any_sale(market: Market) -> None:
    """Also of one that is done."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    market.hold(sale, purchase, 41)
    market.selling.close(sale.sale_id)
    sale_id, found = market.purchasing.find(purchase)
    assert (sale_id, found.user_id, found.state) == (sale.sale_id, "ann", PurchaseState.HELD)
    with pytest.raises(NotFound):
        market.purchasing.find(first_of(now_ms()))


# Stores


def test_a_row_that_is_always_written_before(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few tries; then it is said to be unavailable, and nothing is changed."""
    monkeypatch.setattr(market.database, "transact", raising(DuplicateRow()))
    with pytest.raises(Unavailable):
        market.pieces.end(5)


def test_a_store_of_another_kind(market: Market) -> None:
    """What it is may be a password, so it is not told."""
    with pytest.raises(Misconfigured) as raised:
        store_of("memcached://secret", market.database, model.pieces)
    assert "secret" not in raised.value.detail


class Client:
    """Redis, as a test says."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def call(self, _: Any) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def failed(cause: Exception | None) -> RedisUnavailable:
    error = RedisUnavailable()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "error"),
    [(None, RedisUnavailable), (redis.ResponseError(), RedisUnavailable), (redis.TimeoutError(), OutcomeUnknown)],
)
def test_whether_redis_took_pieces(cause: Exception | None, error: type[Exception]) -> None:
    """Not, where it was not even asked, or refused; else that is not known."""
    client: Any = Client(failed(cause))
    with pytest.raises(error):
        RedisPieces(client).take(1, first_of(now_ms()), [Buyer(5, "ann")])


def test_a_page_of_purchases_that_are_settled_meanwhile() -> None:
    """The next page is asked for: an empty one says that there are no more."""
    client: Any = Client([b"7"], [None], [b"8"], [b"t|1|5|ann"])
    (found,) = RedisPieces(client).open_purchases(1, before=9)
    assert (found.purchase_id, found.tx_id) == (8, 5)
