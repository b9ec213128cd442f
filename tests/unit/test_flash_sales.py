"""Sales of the flash service: opened with their pieces or not at all, sold once, brought back once."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from common.errors import IdempotencyMismatch, Invalid, PeerUnavailable
from common.purchases import PurchaseEvent
from flash.clients.goods import UnknownGoods
from flash.clients.orders import Fate
from flash.model import AlreadyBought, Ended, InsufficientStock, NotStarted, SoldOut, pieces, purchases, sales
from flash.pieces.port import Buyer, Phase
from flash.service.buying import Wanted
from flash.service.holding import Want
from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, NotFound, OutcomeUnknown, Unavailable
from halfmessage.ids import EPOCH
from halfmessage.mq.port import CheckAnswer, HalfMessage, Resolution, State
from tests.flash import HOUR, Market


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with closing(Market(tmp_path)) as market:
        yield market


# Opening


def test_a_sale_owns_its_pieces(market: Market) -> None:
    """From its opening on, and the store of pieces knows it."""
    sale = market.open(4)
    assert (market.stock.owned(sale.sale_id), market.stock.available, market.left(sale)) == (4, 6, 4)
    assert (sale.state, sale.name, sale.currency, sale.market_price) == ("open", "Tea", "EUR", 300)
    assert market.reader.get(sale.sale_id) == market.reader.known(sale.sale_id) == sale


def test_what_can_t_be_opened_owns_nothing(market: Market) -> None:
    """More than there is, goods that are not known, or a stock that does not answer, though it may have done it."""
    with pytest.raises(InsufficientStock):
        market.open(11)
    with pytest.raises(UnknownGoods):
        market.open(1, goods_id=2)
    for when in ("before", "after"):
        market.faults.plan("allot", PeerUnavailable(), when)
        with pytest.raises(Unavailable):
            market.open(4)
    market.sweeping.often()
    assert market.stock.available == 10
    assert [sale.state for sale in market.reader.newest(9, None, is_open=None)] == []


def test_a_sale_that_never_came_to_be_is_left_alone(market: Market) -> None:
    """A crash while it is opened leaves a row, which a sweep gives up; its first word to stock comes too late then."""
    market.faults.plan("allot", KeyboardInterrupt())  # type: ignore[arg-type] - the process ends here
    with pytest.raises(KeyboardInterrupt):
        market.open(4)
    (row,) = market.sweeping._sales(select(sales).where(sales.c.state == "opening"))
    with pytest.raises(NotFound):
        market.reader.get(row.sale_id)
    market.database.transact(lambda c: c.execute(update(sales).values(created_at=0)))
    market.sweeping.often()
    market.stock.allot(row.sale_id, row.goods_id, 4, 1)
    assert market.stock.available == 10
    assert market.found["void"] == 1


def test_the_same_key_is_one_sale(market: Market) -> None:
    """The same again answers the same; another one under that key is refused."""
    first = market.open(4, key="k")
    assert market.open(4, key="k") == first
    with pytest.raises(IdempotencyMismatch):
        market.open(5, key="k")
    market.sweeping.often()
    assert market.stock.available == 6


# Buying


def test_a_batch_is_one_message(market: Market) -> None:
    """Each gets pieces or is told why not; the message is delivered as some did, and tells all of them."""
    sale = market.open(2)
    first, second, third = market.buy(sale, "ann", "bob", "eve")
    assert isinstance(third, SoldOut)
    (view,) = market.messages()
    assert view.resolution is Resolution.COMMIT
    event = PurchaseEvent.from_body(view.message.body)
    assert (event.users, event.order_ids[:2], event.sold.unit_price) == (("ann", "bob", "eve"), (first, second), 99)
    assert market.left(sale) == 0


def test_nothing_is_sent_where_no_buyer_got_any(market: Market) -> None:
    """Such a message is dropped."""
    sale = market.open(1)
    market.bought(sale, "ann")
    (answer,) = market.buy(sale, "bob")
    assert isinstance(answer, SoldOut)
    assert [view.resolution for view in market.messages()] == [Resolution.COMMIT, Resolution.ROLLBACK]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"starts_at": now_ms() + HOUR, "ends_at": now_ms() + 2 * HOUR}, NotStarted),
        ({"ends_at": now_ms() - 1}, Ended),
    ],
)
def test_a_look_answers_without_a_message(market: Market, changed: Any, error: type[Exception]) -> None:
    """Who comes too early or too late; so does one who wants too much, has bought, or finds nothing left."""
    sale = market.open(1, **changed)
    with pytest.raises(error):
        market.purchasing.buy(sale.sale_id, "ann", 1)
    now = market.open(1)
    with pytest.raises(Invalid):
        market.purchasing.buy(now.sale_id, "ann", 2)
    first = market.purchasing.buy(now.sale_id, "ann", 1)
    with pytest.raises(AlreadyBought) as again:
        market.purchasing.buy(now.sale_id, "ann", 1)
    assert again.value.members == {"location": f"/order-requests/{first}"}
    with pytest.raises(SoldOut):
        market.purchasing.buy(now.sale_id, "bob", 1)
    assert len(market.messages()) == 1


def test_several_at_once_by_one_user(market: Market) -> None:
    """The store counts them: the batch has one of them."""
    sale = market.open(3)
    first, again = market.buy(sale, "ann", "ann")
    assert isinstance(first, int)
    assert isinstance(again, AlreadyBought)


def test_batches_of_several_sales_do_not_meet(market: Market) -> None:
    """What goes wrong in one is not the others' matter."""
    one, other = market.open(1), market.open(1)
    market.faults.plan("begin", BrokerError())
    wanted = [Wanted(sale, Buyer(market.ids.next(), "ann", 1)) for sale in (one, other)]
    down, bought = market.buying.buy(wanted)
    assert isinstance(down, BrokerError)
    assert isinstance(bought, int)


def test_a_store_that_is_down(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was bought, and the message is dropped."""
    sale = market.open(1)

    def down(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(market.pieces, "take", down)
    (answer,) = market.buy(sale, "ann")
    assert isinstance(answer, Unavailable)
    assert [view.resolution for view in market.messages()] == [Resolution.ROLLBACK]


def test_a_resolution_that_is_lost_is_not_promised(market: Market) -> None:
    """The pieces are taken, the check-back will deliver the message: the buyer is told that it is not known yet."""
    sale = market.open(1)
    market.faults.plan("resolve", BrokerError())
    (answer,) = market.buy(sale, "ann")
    assert isinstance(answer, OutcomeUnknown)
    (view,) = market.messages()
    assert view.state is State.HALF
    assert market.checker(HalfMessage(view.message_id, view.message, view.born_at)) is CheckAnswer.COMMIT


def test_what_took_too_long_is_not_promised(market: Market) -> None:
    """Later than that the checker may have decided otherwise, where the store had forgotten the purchase."""
    sale = market.open(1)
    market.ids.age = 6.0
    (answer,) = market.buy(sale, "ann")
    assert isinstance(answer, OutcomeUnknown)


def test_a_purchase_that_was_never_taken_is_fenced(market: Market) -> None:
    """By its check-back, once it is old enough; it can't be taken any more then."""
    sale = market.open(1)
    market.faults.plan("resolve", BrokerError())
    market.ids.age = 20.0
    (answer,) = market.buy(sale, "ann")
    assert isinstance(answer, Unavailable)
    (view,) = market.messages()
    assert market.checker(HalfMessage(view.message_id, view.message, view.born_at)) is CheckAnswer.ROLLBACK
    assert market.left(sale) == 1


# Holding


def test_who_got_no_pieces_is_refused(market: Market) -> None:
    """Though there are some again: the store knows the transaction, and that it took none for this buyer."""
    sale = market.open(1)
    taken, refused = (market.ids.next() for _ in range(2))
    market.buying.buy([Wanted(sale, Buyer(one, user)) for one, user in ((taken, "ann"), (refused, "bob"))])
    tx_id = market.pieces.find(sale.sale_id, [taken])[taken].tx_id
    market.database.transact(lambda c: c.execute(update(sales).values(allotted=9)))
    wants = {1: Want(sale.sale_id, taken, "ann", 1, tx_id), 2: Want(sale.sale_id, refused, "bob", 1, tx_id)}
    assert [one.verdict for one in market.reservations.deduct(1, wants)] == ["deducted", "sold-out"]


def test_a_purchase_that_the_store_forgot_is_held_if_there_is_room(market: Market) -> None:
    """The rows decide, and the store counts it from then on; more than the sale owns is never held."""
    sale = market.open(1)
    first = market.bought(sale, "ann")
    for table in (pieces.purchases, pieces.records, pieces.buyers):
        market.database.transact(lambda c, table=table: c.execute(delete(table)))
    market.database.transact(lambda c: c.execute(update(pieces.sales).values(pieces=0, taken=0)))
    second = market.bought(sale, "bob")
    assert market.hold(sale, first, 1, "ann") == "deducted"
    assert market.hold(sale, second, 2, "bob") == "sold-out"
    assert market.left(sale) == 0


def test_a_purchase_of_a_sale_that_was_counted_anew_is_held(market: Market) -> None:
    """While its message was on its way: its transaction is known still, and what that took is not."""
    sale = market.open(2)
    first = market.bought(sale, "ann")
    tx_id = market.pieces.find(sale.sale_id, [first])[first].tx_id
    market.pieces.forget(sale.sale_id)
    market.sweeping.often()
    assert market.left(sale) == 2
    want = Want(sale.sale_id, first, "ann", 1, tx_id)
    assert [one.verdict for one in market.reservations.deduct(1, {1: want})] == ["deducted"]
    assert market.left(sale) == 1


def test_tries_to_place_a_purchase_hold_its_pieces_once(market: Market) -> None:
    """The last piece is not refused to its own buyer because a try before has not been released yet."""
    sale = market.open(1)
    purchase = market.bought(sale, "ann")
    assert [market.hold(sale, purchase, order) for order in (1, 2)] == ["deducted", "deducted"]
    assert market.row(sale).held == 1
    market.reservations.release({1: 1})
    assert (market.row(sale).held, market.fate(purchase)) == (1, "held")
    market.reservations.release({2: 1})
    assert (market.row(sale).held, market.fate(purchase)) == (0, "free")
    assert market.hold(sale, purchase, 3) == "deducted"
    assert (market.row(sale).held, market.fate(purchase)) == (1, "held")


def test_one_user_holds_no_more_than_one_may(market: Market) -> None:
    """Whatever the store says; and no order holds what another one has bought."""
    sale = market.open(3)
    first, second = market.bought(sale, "ann"), market.bought(sale, "bob")
    assert market.hold(sale, first, 1) == "deducted"
    assert market.hold(sale, market.ids.next(), 2) == "already-bought"
    assert market.hold(sale, first, 3, "bob") == "sold-out"
    assert market.hold(sale, second, 4, "bob") == "deducted"
    assert market.hold(sale, second, 5, "bob", quantity=2) == "sold-out"


# Coming back


def let_go(market: Market, sale: Any, user: str = "ann", fate: Fate = Fate.OVER) -> int:
    """Buy, hold and release, with what the order service says of it."""
    purchase = market.bought(sale, user)
    order_id = market.ids.next()
    market.hold(sale, purchase, order_id, user)
    market.reservations.release({order_id: 1})
    market.orders.known[purchase] = fate
    return purchase


def test_what_is_over_comes_back_to_the_sale_once(market: Market) -> None:
    """And can be bought again, by the same user too; the returned purchase never holds anything again."""
    sale = market.open(1)
    purchase = let_go(market, sale)
    for _ in range(2):
        market.sweeping.often()
    assert (market.left(sale), market.fate(purchase)) == (1, "returned")
    assert market.hold(sale, purchase, 9) == "sold-out"
    assert isinstance(market.bought(sale, "ann"), int)


@pytest.mark.parametrize("fate", [Fate.WAITING, Fate.STANDS])
def test_what_may_be_placed_again_does_not_come_back(market: Market, fate: Fate) -> None:
    """A try that was given up is followed by another one; an order that stands is the audit's matter."""
    sale = market.open(1)
    purchase = let_go(market, sale, fate=fate)
    market.sweeping.often()
    assert (market.left(sale), market.fate(purchase)) == (0, "free")


def test_it_comes_back_though_the_store_is_down_meanwhile(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a row first, and told until the store knows."""
    sale = market.open(1)
    purchase = let_go(market, sale)

    def down(*_: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(market.pieces, "give_back", down)
        market.sweeping.often()
        assert (market.left(sale), market.fate(purchase)) == (0, "returned")
    market.sweeping.often()
    assert market.left(sale) == 1


def test_a_refused_purchase_comes_back_though_no_order_ever_held_it(market: Market) -> None:
    """The store knows it, no row does: the order service is asked, and its word is a row."""
    sale = market.open(2)
    refused, waiting = market.bought(sale, "ann"), market.bought(sale, "bob")
    market.orders.known |= {refused: Fate.OVER, waiting: Fate.WAITING}
    market.sweeping._grace_ms = -HOUR
    market.sweeping.sweep()
    assert (market.left(sale), market.fate(refused), market.fate(waiting)) == (1, "returned", None)
    market.sweeping.sweep()
    assert market.left(sale) == 1


def test_a_purchase_whose_message_is_gone_is_told_again(market: Market) -> None:
    """The order service has never heard of it: the broker gave it up."""
    sale = market.open(1)
    purchase = market.bought(sale, "ann")
    market.sweeping._grace_ms = -HOUR
    market.sweeping.sweep()
    again = PurchaseEvent.from_body(market.messages()[-1].message.body)
    assert (again.order_ids, again.users, again.sold.sale_id) == ((purchase,), ("ann",), sale.sale_id)
    assert len(market.messages()) == 2


def test_a_holding_that_the_store_was_not_told_of(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands all the same; the sweep tells it."""
    sale = market.open(1)
    purchase = market.bought(sale, "ann")

    def down(*_: object) -> None:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr(market.pieces, "hold", down)
        assert market.hold(sale, purchase, 1) == "deducted"
    assert market.pieces.find(sale.sale_id, [purchase])[purchase].state == "taken"
    market.sweeping._grace_ms = -HOUR
    market.sweeping.sweep()
    assert market.pieces.find(sale.sale_id, [purchase])[purchase].state == "held"


# The end


def test_a_closed_sale_keeps_what_it_sold(market: Market) -> None:
    """What was not bought is back at stock at once; what is under way stays its own until that is decided."""
    sale = market.open(5)
    market.hold(sale, market.bought(sale, "ann"), 1)
    under_way = market.bought(sale, "bob")
    closed = market.selling.close(sale.sale_id)
    assert (closed.state, market.stock.owned(sale.sale_id), market.stock.available) == ("closed", 2, 8)
    assert market.hold(sale, under_way, 2, "bob") == "deducted"
    market.sweeping.often()
    assert (market.row(sale).state, market.stock.owned(sale.sale_id)) == ("done", 2)
    assert market.selling.close(sale.sale_id).closed_at == closed.closed_at
    (late,) = market.buy(sale, "eve")
    assert isinstance(late, Ended)


def test_after_it_is_done_pieces_go_back_to_stock(market: Market) -> None:
    """Each once: an order that is closed later lowers what the sale owns."""
    sale = market.open(5)
    purchase = market.bought(sale, "ann")
    market.hold(sale, purchase, 1)
    market.selling.close(sale.sale_id)
    market.sweeping.often()
    market.reservations.release({1: 1})
    market.orders.known[purchase] = Fate.OVER
    for _ in range(3):
        market.sweeping.often()
    assert (market.stock.owned(sale.sale_id), market.stock.available, market.row(sale).allotted) == (0, 10, 0)


def test_a_sale_is_over_by_itself(market: Market) -> None:
    """When its time is."""
    sale = market.open(5, ends_at=now_ms() - 1)
    market.sweeping.often()
    assert (market.row(sale).state, market.stock.available) == ("done", 10)
    assert market.showing.glance(market.reader.get(sale.sale_id)) == (Phase.ENDED, 0)


def test_stock_hears_it_until_it_has(market: Market) -> None:
    """While stock is down the sale is closed all the same, and owns what it sold later."""
    sale = market.open(5)
    market.faults.plan("allot", PeerUnavailable())
    assert market.selling.close(sale.sale_id).state == "done"
    assert market.stock.available == 5
    market.sweeping.often()
    assert market.stock.available == 10


def test_a_store_that_has_forgotten_a_sale_is_told_it_anew(market: Market) -> None:
    """With what is bought; no user buys before it knows, and nothing is sold twice."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    market.hold(sale, purchase, 1)
    market.sweeping.often()
    for table in (pieces.purchases, pieces.records, pieces.buyers, pieces.sales):
        market.database.transact(lambda c, table=table: c.execute(delete(table)))
    with pytest.raises(Unavailable):
        market.purchasing.buy(sale.sale_id, "bob", 1)
    assert market.showing.glance(sale) == (Phase.ON, None)
    market.sweeping.often()
    assert market.left(sale) == 1
    with pytest.raises(AlreadyBought):
        market.purchasing.buy(sale.sale_id, "ann", 1)
    assert isinstance(market.purchasing.buy(sale.sale_id, "bob", 1), int)


def test_a_sale_that_is_over_is_over_though_the_store_has_forgotten_it(market: Market) -> None:
    """By its time, or because it was closed: it is told no more."""
    over, closed = market.open(2, ends_at=now_ms() - 1), market.open(2)
    market.selling.close(closed.sale_id)
    market.sweeping.often()
    for sale in (over, closed):
        assert market.row(sale).state == "done"
        market.pieces.forget(sale.sale_id)
        with pytest.raises(Ended):
            market.purchasing.buy(sale.sale_id, "ann", 1)
    market.sweeping.often()
    assert market.pieces.look(over.sale_id) is None


def test_a_sale_that_was_closed_is_told_until_its_time_is_over(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is set back may have lost that: it would sell what is stock's again."""
    sale = market.open(2)
    market.hold(sale, market.bought(sale, "ann"), 1)
    market.sweeping.often()
    market.selling.close(sale.sale_id)
    market.sweeping.often()
    assert market.row(sale).state == "done"
    back = update(pieces.sales).where(pieces.sales.c.sale_id == sale.sale_id).values(is_ended=False, version=1)
    market.database.transact(lambda connection: connection.execute(back))
    monkeypatch.setattr(market.pieces, "incarnation", lambda: "another")
    market.sweeping.often()
    with pytest.raises(Ended):
        market.purchasing.buy(sale.sale_id, "bob", 1)


def test_a_purchase_is_found_until_its_sale_is_done(market: Market) -> None:
    """For the order service, which does not know it yet."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    sale_id, found = market.purchasing.find(purchase)
    assert (sale_id, found.user_id, found.quantity) == (sale.sale_id, "ann", 1)
    with pytest.raises(NotFound):
        market.purchasing.find(5)


def test_a_purchase_is_found_in_any_sale_that_was_on_then(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many were opened since; those that were not on when it was bought are not asked."""
    sale = market.open(2)
    purchase = market.bought(sale, "ann")
    others = [market.open(1) for _ in range(3)]
    now = now_ms()
    market.open(1, starts_at=now + HOUR, ends_at=now + 2 * HOUR)
    market.selling.close(others[0].sale_id)
    long_ago = update(sales).where(sales.c.sale_id == others[0].sale_id).values(closed_at=now - HOUR)
    market.database.transact(lambda connection: connection.execute(long_ago))
    asked: list[int] = []
    find = market.pieces.find

    def counted(sale_id: int, purchase_ids: Sequence[int]) -> Any:
        asked.append(sale_id)
        return find(sale_id, purchase_ids)

    monkeypatch.setattr(market.pieces, "find", counted)
    assert market.purchasing.find(purchase)[0] == sale.sale_id
    assert asked == [others[2].sale_id, others[1].sale_id, sale.sale_id]


def test_more_purchases_under_way_than_one_call_tells(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep asks about all of them, and a closed sale keeps the pieces of each; above a bound it keeps all."""
    market.stock.available = 1000
    sale = market.open(900)
    for first in range(0, 300, 100):
        market.buy(sale, *(f"u{number}" for number in range(first, first + 100)))
    market.ids.age = 60.0
    market.sweeping.sweep()
    assert sum(len(asked) for asked in market.orders.asked) == 300
    market.selling.close(sale.sale_id)
    assert market.row(sale).allotted == 300
    market.ids.age = 0.0
    other = market.open(500)
    for first in range(0, 300, 100):
        market.buy(other, *(f"u{number}" for number in range(first, first + 100)))
    monkeypatch.setattr("flash.service.finishing.MOST_PAGES", 1)
    market.selling.close(other.sale_id)
    assert market.row(other).allotted == 500


def test_what_is_not_asked_for_any_more_is_forgotten(market: Market) -> None:
    """Purchases that were returned long ago; what orders hold stays."""
    sale = market.open(2)
    old, fresh = 1 << 22, let_go(market, sale)
    row = {"sale_id": sale.sale_id, "user_id": "u", "quantity": 1, "holders": 0, "fate": "returned", "told": True}
    market.database.transact(lambda c: c.execute(purchases.insert().values(purchase_id=old, **row)))
    market.sweeping.often()
    market.sweeping.sweep()
    assert (market.fate(old), market.fate(fresh)) == (None, "returned")
    assert EPOCH
