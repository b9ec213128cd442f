"""Paying: what a try, a message and the last question tell ends in one compare-and-set; late money changes nothing."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from common.errors import PeerUnavailable
from common.payments import PaymentEvent
from halfmessage.errors import CommitOutcomeUnknown, HalfMessageError, OutcomeUnknown, Unavailable
from halfmessage.mq.port import Delivery, Message, Verdict
from halfmessage.participant.event import OrderEvent
from order.clients.pay import Payment, PaymentStatus
from order.consumer import EventConsumer
from order.model import (
    CloseReason,
    Order,
    OrderClosed,
    PaymentRefused,
    Status,
    UnknownProvider,
    orders,
    orders_unheld,
)
from order.service.overdue import Overdue
from order.service.paying import Elsewhere, Paying
from order.service.payments import Payments
from tests.fakes import Shop
from tests.in_memory_pay import PAGE, PAY_DOWN
from tests.support import reads_on_mysql

pytestmark = pytest.mark.P7

OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path, pay=True)) as shop:
        shop.sell(1, 10)
        yield shop


def _order(shop: Shop, order_id: int) -> Order:
    return shop.reader.get(order_id, owner=None)


def _event(shop: Shop, *placed: Order, provider: str = "sandbox") -> PaymentEvent:
    return PaymentEvent(
        tx_id=shop.ids.next(),
        order_ids=tuple(order.order_id for order in placed),
        placed_by=tuple(order.tx_id for order in placed),
        providers=(provider,) * len(placed),
    )


def _timeout(order: Order) -> OrderEvent:
    return OrderEvent(tx_id=order.tx_id, order_ids=(order.order_id,))


def _unheld(shop: Shop, order_id: int) -> None:
    row = {"order_id": order_id, "participant": "stock", "found_at": 1}
    shop.database.transact(lambda connection: connection.execute(insert(orders_unheld), [row]))


def test_paid_at_once(shop: Shop) -> None:
    """What the provider takes at once pays the order; pay hears that this is known; again: the same."""
    order_id = shop.order({1: 1}).order_id
    paid = shop.pay(order_id, owner="ann")
    assert (paid.status, paid.paid_through) == (Status.PAID, "sandbox")
    assert shop.payments.headers[order_id].used
    assert shop.settled() == set()
    assert shop.pay(order_id, owner="ann") == paid
    assert _order(shop, order_id).as_created().paid_through is None


def test_marked_paid_with_its_provider(shop: Shop) -> None:
    """Orders of several providers are marked in one go, each with its own; and what needs pay is known by that."""
    first, second = (shop.order({1: 1}).order_id for _ in range(2))
    assert shop.paying.mark({first: "stripe", second: "wechat"}) == []
    assert [_order(shop, o).paid_through for o in (first, second)] == ["stripe", "wechat"]
    assert all(shop.payments.needs(_order(shop, o)) for o in (first, second))
    assert {order_id for order_id, _, fate in shop.payments.told if fate == "paid"} == {first, second}


def test_what_is_marked_was_read_locked(shop: Shop) -> None:
    """In the order of ids: what is closed between the look and the mark would be told as paid, on a real server."""
    order_id, reads = shop.order({1: 1}).order_id, reads_on_mysql(shop.database)
    shop.paying.mark({order_id: "sandbox"})
    assert reads[0].endswith("ORDER BY orders.order_id FOR UPDATE"), reads


def test_one_order_without_what_it_needs_holds_up_no_other(shop: Shop) -> None:
    """Of orders paid together, one that is known to lack its pieces stays unpaid alone."""
    lacking, held = (shop.order({1: 1}).order_id for _ in range(2))
    _unheld(shop, lacking)
    assert shop.paying.mark({lacking: "sandbox", held: "sandbox"}) == [lacking]
    assert [_order(shop, o).status for o in (lacking, held)] == [Status.CREATED, Status.PAID]


def test_somewhere_else(shop: Shop) -> None:
    """Where the customer has to go somewhere, the order stays as it is, and says where."""
    order_id = shop.order({1: 1}).order_id
    assert shop.paying.pay(order_id, "sandbox", "page", owner="ann") == Elsewhere(order_id, PAGE)
    assert _order(shop, order_id).status is Status.CREATED


def test_refused(shop: Shop) -> None:
    """A refusal has the provider's words; the order can still be paid."""
    order_id = shop.order({1: 1}).order_id
    with pytest.raises(PaymentRefused) as refused:
        shop.paying.pay(order_id, "sandbox", "declined", owner="ann")
    assert refused.value.members == {"reason": "card declined"}
    assert shop.pay(order_id).status is Status.PAID


def test_not_decided_yet(shop: Shop) -> None:
    """A try whose end pay does not know yet is no refusal: 503, to look again."""
    order_id = shop.order({1: 1}).order_id
    with pytest.raises(PeerUnavailable, match="under way"):
        shop.paying.pay(order_id, "sandbox", "slow", owner="ann")


def test_unknown_provider(shop: Shop) -> None:
    """Pay says which providers there are."""
    order_id = shop.order({1: 1}).order_id
    with pytest.raises(UnknownProvider):
        shop.paying.pay(order_id, "nobody", None, owner="ann")


def test_a_deployment_without_pay(shop: Shop) -> None:
    """Nothing can be paid there, which the answer says; orders are closed all the same, and show no payment."""
    paying = Paying(shop.database, shop.reader, None, shop.is_held, shop.settlements, shop.tell)
    order = shop.order({1: 1})
    with pytest.raises(UnknownProvider, match="ORDERS_PARTICIPANTS"):
        paying.pay(order.order_id, "sandbox", None, owner="ann")
    assert Payments(None).of([order]) == {}
    assert Overdue(shop.closing, paying, None, last_question=2.0).close([order.order_id]) == [order.order_id]


def test_pay_is_down(shop: Shop) -> None:
    """Nothing is lost: asked again, the order is paid."""
    order_id = shop.order({1: 1}).order_id
    shop.faults.plan("pay.attempt", PAY_DOWN)
    with pytest.raises(PeerUnavailable):
        shop.pay(order_id)
    assert shop.pay(order_id).status is Status.PAID


def test_a_crash_after_the_money_was_taken(shop: Shop) -> None:
    """The message finishes what the answer did not; told once more, it does nothing."""
    order = shop.order({1: 1})
    shop.faults.plan("pay.attempt", PAY_DOWN, "after")
    with pytest.raises(PeerUnavailable):
        shop.pay(order.order_id)
    assert _order(shop, order.order_id).status is Status.CREATED
    for _ in range(2):
        assert shop.successes.handle([_event(shop, order)]) == [True]
    paid = _order(shop, order.order_id)
    assert (paid.status, paid.paid_through) == (Status.PAID, "sandbox")
    assert [fate for _, _, fate in shop.payments.told] == ["paid"]


def test_connection_lost_in_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the order is paid is not known: the client is told to ask later."""
    order_id = shop.order({1: 1}).order_id

    def lost(*_: object) -> None:
        raise CommitOutcomeUnknown

    monkeypatch.setattr(shop.paying._database, "transact", lost)
    with pytest.raises(OutcomeUnknown):
        shop.pay(order_id)


def test_a_closed_order_stays_closed(shop: Shop) -> None:
    """Money that comes late goes back: neither a try nor a message opens the order again, and its stock is free."""
    order = shop.order({1: 1})
    shop.closing.cancel(order.order_id, owner="ann")
    with pytest.raises(OrderClosed):
        shop.pay(order.order_id)
    assert shop.successes.handle([_event(shop, order)]) == [True]
    assert _order(shop, order.order_id).status is Status.CLOSED
    shop.quiet()
    assert shop.available(1) == 10
    shop.payments.succeed(order.order_id)
    assert shop.payments.payments[order.order_id].status is PaymentStatus.REFUNDING


def test_closed_while_it_is_paid(shop: Shop) -> None:
    """The order is closed between the look at it and the try, of which pay knows: 409."""
    order_id = shop.order({1: 1}).order_id
    shop.sweep.run(0.0)

    def cancel() -> None:
        shop.closing.cancel(order_id, owner="ann")
        shop.quiet()

    shop.faults.hooks["pay.attempt"] = cancel
    with pytest.raises(OrderClosed):
        shop.pay(order_id)


def test_closed_before_it_is_marked(shop: Shop) -> None:
    """The money was taken, and the order closed before it was marked: the rollback has pay send the money back."""
    order_id = shop.order({1: 1}).order_id
    shop.payments.succeed(order_id)
    shop.closing.cancel(order_id, owner="ann")
    shop.quiet()
    assert shop.payments.payments[order_id].status is PaymentStatus.REFUNDING
    assert shop.payments.state(order_id) == "released"


def test_a_payment_whose_order_was_restored(shop: Shop) -> None:
    """Pay knows that the order was closed, a restored database does not: it is not paid, and the client hears so."""
    order_id = shop.order({1: 1}).order_id
    shop.sweep.run(0.0)  # from now on nobody is asked whether it is held
    shop.payments.release(order_id, 1)
    with pytest.raises(Unavailable, match="not held"):
        shop.pay(order_id)


def test_money_that_goes_back_pays_no_order(shop: Shop) -> None:
    """A restored order is unpaid again, and pay sends its money back: neither a try nor the last question marks it."""
    order_id = shop.order({1: 1}).order_id
    shop.sweep.run(0.0)
    shop.payments.succeed(order_id)
    shop.payments.release(order_id, 1)
    assert shop.payments.payments[order_id] == Payment(PaymentStatus.REFUNDING, "sandbox")
    with pytest.raises(Unavailable, match="not held"):
        shop.pay(order_id)
    assert shop.overdue.close([order_id]) == [order_id]
    assert _order(shop, order_id).status is Status.CLOSED


def test_told_before_the_order_is_decided(shop: Shop) -> None:
    """A payment of an order that is not written yet comes again, until it is, or is known never to be."""
    shop.ids.age = 0.0
    never = replace(shop.order({1: 1}), order_id=shop.ids.next(), tx_id=shop.ids.next())
    assert shop.successes.handle([_event(shop, never)]) == [False]
    shop.ids.age = OLD
    never = replace(never, tx_id=shop.ids.next())
    assert shop.successes.handle([_event(shop, never)]) == [True]


def test_one_waits_for_no_other(shop: Shop) -> None:
    """Of a batch of messages, those that can be done are; the others come again."""
    there = shop.order({1: 1})
    never = replace(there, order_id=shop.ids.next(), tx_id=shop.ids.next())
    assert shop.successes.handle([_event(shop, never), _event(shop, there)]) == [False, True]
    assert _order(shop, there.order_id).status is Status.PAID


def test_told_while_something_is_not_held(shop: Shop) -> None:
    """An order known to lack what it needs is not paid yet; its payment comes again."""
    order = shop.order({1: 1})
    _unheld(shop, order.order_id)
    assert shop.successes.handle([_event(shop, order)]) == [False]
    assert _order(shop, order.order_id).status is Status.CREATED
    shop.database.transact(lambda connection: connection.execute(orders_unheld.delete()))
    assert shop.successes.handle([_event(shop, order)]) == [True]
    assert _order(shop, order.order_id).status is Status.PAID


def test_a_message_in_parts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many orders it names, each has its own transaction and provider."""
    monkeypatch.setattr("halfmessage.participant.event.ROWS", 2)
    placed = [shop.order({1: 1}) for _ in range(5)]
    event = _event(shop, *placed).model_copy(update={"providers": tuple("abcde")})
    consumer = EventConsumer("payment", PaymentEvent, shop.successes.handle)
    delivery = Delivery("1", Message("payment_succeeded", event.to_body()), 1, 0)
    assert consumer([delivery]) == [Verdict.ACK]
    assert [_order(shop, order.order_id).paid_through for order in placed] == list("abcde")


def test_the_last_question_keeps_an_order(shop: Shop) -> None:
    """What a provider took and did not tell is found out before the order is closed; the others are closed."""
    paid, unpaid = (replace(shop.order({1: 1}), expires_at=0) for _ in range(2))
    shop.database.transact(lambda connection: connection.execute(update(orders).values(expires_at=1)))
    shop.payments.at_provider[paid.order_id] = "sandbox"
    assert shop.timeouts.handle([_timeout(paid), _timeout(unpaid)]) == [True, True]
    assert [_order(shop, o.order_id).status for o in (paid, unpaid)] == [Status.PAID, Status.CLOSED]
    assert _order(shop, paid.order_id).paid_through == "sandbox"
    assert shop.payments.questions == [[paid.order_id, unpaid.order_id]]


def test_the_sweep_asks_too(shop: Shop) -> None:
    """An order whose timeout message was lost is kept as well, and another one closed by its timeout."""
    paid, unpaid = (shop.order({1: 1}).order_id for _ in range(2))
    shop.database.transact(lambda connection: connection.execute(update(orders).values(expires_at=1)))
    shop.payments.at_provider[paid] = "sandbox"
    assert shop.sweep.run(0.0).closed == 1
    assert [_order(shop, o).status for o in (paid, unpaid)] == [Status.PAID, Status.CLOSED]
    assert _order(shop, unpaid).close_reason is CloseReason.TIMEOUT


def test_the_last_question_unanswered(shop: Shop) -> None:
    """While pay is down orders are closed all the same; what comes later goes back."""
    order_id = shop.order({1: 1}).order_id
    shop.faults.plan("pay.ask", PAY_DOWN)
    assert shop.overdue.close([order_id]) == [order_id]


def test_a_deployment_may_ask_no_last_question(shop: Shop) -> None:
    """`ORDERS_LAST_QUESTION` 0: an order is closed without one."""
    order_id = shop.order({1: 1}).order_id
    overdue = Overdue(shop.closing, shop.paying, shop.payments, last_question=0.0)
    assert overdue.close([order_id]) == [order_id]
    assert shop.payments.questions == []


def test_the_last_question_is_about_unpaid_orders(shop: Shop) -> None:
    """A timeout that comes again, of orders that are paid or closed, asks no other service."""
    paid, closed = (shop.order({1: 1}).order_id for _ in range(2))
    shop.pay(paid)
    shop.closing.cancel(closed, owner=None)
    assert shop.overdue.close([paid, closed]) == []
    assert shop.payments.questions == []


def test_cancelling_asks_no_other_service(shop: Shop) -> None:
    """The owner's word is not doubted: money that was on its way goes back."""
    order_id = shop.order({1: 1}).order_id
    shop.payments.at_provider[order_id] = "sandbox"
    assert shop.closing.cancel(order_id, owner="ann").status is Status.CLOSED
    assert shop.payments.questions == []


def test_paid_while_the_last_question_is_asked(shop: Shop) -> None:
    """Closing is a compare-and-set after it: one who pays meanwhile keeps the order."""
    order_id = shop.order({1: 1}).order_id
    shop.payments.while_asked = lambda: shop.pay(order_id)
    assert shop.overdue.close([order_id]) == []
    assert _order(shop, order_id).status is Status.PAID


def test_an_order_that_costs_nothing(tmp_path: Path) -> None:
    """It is paid at once, asks pay for nothing, shows no payment, and paying it is the same again."""
    with closing(Shop(tmp_path, pay=True)) as shop:
        shop.goods.add(1, price=0)
        shop.levels.set_total(1, 5)
        order = shop.order({1: 1})
        assert (order.status, order.paid_through) == (Status.PAID, None)
        assert shop.payments.asked == []
        assert shop.shown.of([order]) == {}
        assert shop.pay(order.order_id).status is Status.PAID
        assert shop.settled() == set()


def _as_of_before(shop: Shop, order_id: int, **values: object) -> None:
    del shop.payments.headers[order_id], shop.payments.payments[order_id]
    change = update(orders).where(orders.c.order_id == order_id).values(values or {"paid_through": None})
    shop.database.transact(lambda connection: connection.execute(change))


def test_an_unpaid_order_of_the_release_before(shop: Shop) -> None:
    """It has no payment, which is no violation; it gets one when it is paid, and a tombstone when it is closed."""
    shop.ids.age = OLD
    first, second = (shop.order({1: 1}).order_id for _ in range(2))
    for order_id in (first, second):
        _as_of_before(shop, order_id)
    assert shop.sweep.run(0.0).violations == []
    assert shop.sweep.run(0.0, full=True).violations == []
    assert shop.pay(first).paid_through == "sandbox"
    assert shop.payments.state(first) == "deducted"
    shop.closing.cancel(second, owner=None)
    shop.quiet()
    assert shop.payments.state(second) == "released"
    assert shop.sweep.run(0.0).violations == []


def test_a_paid_order_of_the_release_before(shop: Shop) -> None:
    """It needs no payment, and shows none."""
    shop.ids.age = OLD
    order_id = shop.order({1: 1}).order_id
    _as_of_before(shop, order_id, status="paid", paid_at=1)
    assert shop.sweep.run(0.0, full=True).violations == []
    assert shop.payments.state(order_id) is None
    assert shop.shown.of([_order(shop, order_id)]) == shop.shown.known([_order(shop, order_id)]) == {}
    assert shop.pay(order_id).paid_through is None


def test_a_payment_that_was_lost(shop: Shop) -> None:
    """A paid order whose payment pay does not know any more is a violation; a full look opens it anew."""
    shop.ids.age = OLD
    order_id = shop.order({1: 1}).order_id
    shop.pay(order_id)
    del shop.payments.headers[order_id], shop.payments.payments[order_id]
    assert shop.sweep.run(0.0).violations == [order_id]
    assert shop.payments.state(order_id) is None
    assert shop.sweep.run(0.0, full=True).violations == []
    assert shop.payments.payments[order_id].status is PaymentStatus.OPEN  # for what the provider tells of it once more
    assert _order(shop, order_id).status is Status.PAID


def test_shown(shop: Shop) -> None:
    """What is open is told by the order alone; what is paid or closed by pay, all of it in one look-up."""
    unpaid, paid, closed = (shop.order({1: 1}).order_id for _ in range(3))
    shop.pay(paid)
    shop.closing.cancel(closed, owner=None)
    shop.quiet()
    shop.payments.payments[closed] = Payment(PaymentStatus.REFUNDED)
    found = shop.shown.of([_order(shop, o) for o in (unpaid, paid, closed)])
    assert found == {
        unpaid: Payment(PaymentStatus.OPEN),
        paid: Payment(PaymentStatus.SUCCEEDED, "sandbox"),
        closed: Payment(PaymentStatus.REFUNDED),
    }
    assert shop.payments.look_ups == [[paid, closed]]
    shop.payments.look_ups.clear()
    assert shop.shown.of([_order(shop, unpaid)]) == {unpaid: Payment(PaymentStatus.OPEN)}
    assert shop.payments.look_ups == []
    del shop.payments.payments[closed]
    assert shop.shown.of([_order(shop, closed)]) == {}


@pytest.mark.parametrize(("at_pay", "expected"), [("open", "closed"), ("succeeded", "refunding"), ("closed", "closed")])
def test_shown_while_the_rollback_is_on_its_way(shop: Shop, at_pay: str, expected: str) -> None:
    """A closed order's payment is as it will be: the same answer before the rollback reached pay and after."""
    order_id = shop.order({1: 1}).order_id
    shop.closing.cancel(order_id, owner=None)
    shop.quiet()
    shop.payments.payments[order_id] = Payment(PaymentStatus(at_pay))
    assert shop.shown.of([_order(shop, order_id)])[order_id].status == expected


def test_shown_while_pay_is_down(shop: Shop) -> None:
    """What the order knows of its payment is shown instead."""
    paid, closed = (shop.order({1: 1}).order_id for _ in range(2))
    shop.pay(paid)
    shop.closing.cancel(closed, owner=None)
    shop.faults.plan("pay.look_up", PAY_DOWN)
    found = shop.shown.of([_order(shop, o) for o in (paid, closed)])
    assert found == {paid: Payment(PaymentStatus.SUCCEEDED, "sandbox"), closed: Payment(PaymentStatus.CLOSED)}


def test_what_pay_refuses_is_one_orders_matter(shop: Shop) -> None:
    """An order that pay does not take drops out alone, and its stock comes back."""
    shop.faults.plan("pay.deduct", PAY_DOWN)
    with pytest.raises(HalfMessageError):
        shop.order({1: 1})
    shop.quiet()
    assert shop.available(1) == 10
