"""Returning: the order's move begins a saga that lets go of all it held, once, whatever fails or comes meanwhile."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from common.errors import PeerUnavailable
from common.payments import PaymentEvent
from halfmessage.errors import CommitOutcomeUnknown, NotFound, OutcomeUnknown
from halfmessage.saga.engine import Engine
from halfmessage.saga.model import Run, RunState, StepState
from halfmessage.saga.operating import Counts, Sagas
from order.clients.pay import Payment, PaymentStatus
from order.model import OrderClosed, OrderNotPaid, OrderPaid, ReturnTooLate, Status, orders, settlements
from order.model import sagas as logs
from order.service.return_saga import return_sagas
from tests.fakes import Shop
from tests.participants import InMemoryParticipant
from tests.support import eventually

BACK = Payment(PaymentStatus.REFUNDED, "sandbox")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path, pay=True, coupons=True)) as shop:
        shop.sell(1, 10)
        shop.rules.add(5)
        yield shop


def _paid(shop: Shop) -> int:
    """Place and pay an order of two pieces with a coupon; return its id."""
    order_id = shop.order({1: 2}, coupon=5).order_id
    shop.pay(order_id)
    return order_id


def _steps(run: Run) -> dict[str, str]:
    return {name: step.state.value for name, step in run.steps.items()}


def test_begun_with_the_orders_move(shop: Shop) -> None:
    """The order is returned, and there is a run with the reason: one transaction, and nothing else yet."""
    order_id = _paid(shop)
    run = shop.returning.give_back(order_id, "too small", owner="ann")
    order = shop.reader.get(order_id, owner=None)
    assert (order.status, order.returned_at is not None) == (Status.RETURNED, True)
    assert (run.key, run.input, run.state) == (str(order_id), {"reason": "too small"}, RunState.RUNNING)
    assert shop.returning.of(order_id, owner="ann") == run
    with pytest.raises(NotFound):
        shop.returning.of(order_id, owner="bob")
    assert shop.available(1) == 8
    assert order.as_created().returned_at is None


def test_lets_go_of_everything_once(shop: Shop) -> None:
    """Pieces, coupon and money: each participant says that the order is void; the refund is done once money is back."""
    order_id = _paid(shop)
    shop.returning.give_back(order_id, "", owner=None)
    engine = shop.engine()
    engine.sweep()
    run = shop.returning.of(order_id, owner=None)
    assert _steps(run) == {"refund": "waiting", "restock": "done", "coupon": "done"}
    assert run.steps["refund"].error == "PeerUnavailable: The money is on its way back: the payment is refunding."
    assert (shop.available(1), shop.coupon.uses, shop.payments.state(order_id)) == (10, 10, "released")
    shop.payments.payments[order_id] = BACK
    eventually(lambda: _drive(shop, engine, order_id).state is RunState.DONE)  # once its next try is due
    assert shop.returning.of(order_id, owner=None).steps["refund"].result == {"payment": "refunded"}
    assert (shop.available(1), shop.coupon.uses) == (10, 10)


@pytest.mark.parametrize("where", ["settle", "coupon.settle", "pay.settle", "pay.look_up"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_fails_is_done_again(shop: Shop, where: str, when: str) -> None:
    """A participant that does not answer holds up its own step alone; what it did all the same is done once."""
    order_id = _paid(shop)
    shop.returning.give_back(order_id, "x", owner=None)
    for _ in range(3):
        shop.faults.plan(where, PeerUnavailable("down"), when)
    engine = shop.engine()
    eventually(lambda: _drive(shop, engine, order_id).state is RunState.DONE)
    assert (shop.available(1), shop.coupon.uses) == (10, 10)


def _drive(shop: Shop, engine: Engine, order_id: int) -> Run:
    """Drive a return on, the provider sending the money back as soon as it is asked to; return the run."""
    engine.sweep()
    if shop.payments.payments[order_id].status is PaymentStatus.REFUNDING:
        shop.payments.payments[order_id] = BACK
    return shop.returning.of(order_id, owner=None)


def test_a_participant_that_does_not_let_go(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers with another state than released has not done it."""
    order_id = _paid(shop)
    shop.returning.give_back(order_id, "x", owner=None)
    monkeypatch.setattr(shop.stock, "settle", lambda _: {order_id: "deducted"})
    shop.engine().sweep()
    step = shop.returning.of(order_id, owner=None).steps["restock"]
    assert (step.state, step.error) == (
        StepState.WAITING,
        "PeerUnavailable: The stock service has not let go of the order.",
    )


@pytest.mark.parametrize("payment", [None, Payment(PaymentStatus.CLOSED)])
def test_nothing_to_refund(shop: Shop, payment: Payment | None) -> None:
    """No provider took money for the order, and pay knows of none, or never did: the step is done."""
    order_id = _paid(shop)
    shop.database.transact(lambda connection: connection.execute(update(orders).values(paid_through=None)))
    shop.returning.give_back(order_id, "x", owner=None)
    _have_pay_say(shop, order_id, payment)
    shop.engine().sweep()
    run = shop.returning.of(order_id, owner=None)
    assert (run.state, run.steps["refund"].result) == (RunState.DONE, None)


@pytest.mark.parametrize("payment", [None, Payment(PaymentStatus.CLOSED)])
def test_money_that_pay_has_forgotten(shop: Shop, payment: Payment | None) -> None:
    """Pay was restored from before the payment: the refund waits until pay has heard of the money and sent it back."""
    order_id = _paid(shop)
    shop.returning.give_back(order_id, "x", owner=None)
    _have_pay_say(shop, order_id, payment)
    engine = shop.engine()
    engine.sweep()
    run = shop.returning.of(order_id, owner=None)
    assert _steps(run) == {"refund": "waiting", "restock": "done", "coupon": "done"}
    assert "have the provider send its events again" in str(run.steps["refund"].error)
    shop.payments.payments[order_id] = BACK
    eventually(lambda: _drive(shop, engine, order_id).state is RunState.DONE)


def test_a_deployment_without_pay(shop: Shop) -> None:
    """There is nobody to send the money back: whoever took it does, and the step is done."""
    order_id = _paid(shop)
    shop.returning.give_back(order_id, "x", owner=None)
    sagas = return_sagas(shop.reader, [shop.stock, shop.coupon], None, within=5.0)
    Engine(shop.database, logs, shop.ids, sagas, name="return").sweep()
    run = shop.returning.of(order_id, owner=None)
    assert (run.state, run.steps["refund"].result) == (RunState.DONE, None)


def _have_pay_say(shop: Shop, order_id: int, payment: Payment | None) -> None:
    """Have pay know this payment of the order, or none, and hold nothing for it."""
    shop.payments.release(order_id, 1)
    del shop.payments.payments[order_id]
    if payment is not None:
        shop.payments.payments[order_id] = payment


def test_what_holds_nothing_is_not_asked(shop: Shop) -> None:
    """An order without a coupon: the coupon service is told nothing, down as it is, and its step is done."""
    order_id = shop.order({1: 2}).order_id
    shop.pay(order_id)
    shop.returning.give_back(order_id, "x", owner=None)
    shop.faults.plan("coupon.settle", PeerUnavailable("down"), "before")
    shop.engine().sweep()
    assert _steps(shop.returning.of(order_id, owner=None))["coupon"] == "done"


def test_again_is_the_first(shop: Shop) -> None:
    """One run, whichever client asks again and why; also a request that read the order before another returned it."""
    order_id = _paid(shop)
    order = shop.reader.get(order_id, owner=None)
    first = shop.returning.give_back(order_id, "too small", owner="ann")
    shop.returning._begin(order, "too late to be first")  # the moment between its look and its move
    assert shop.returning.give_back(order_id, "too large", owner="ann") == first


def test_refused(shop: Shop) -> None:
    """What is not paid, was paid too long ago, or is another's; and nothing was begun."""
    open_id, paid_id = shop.order({1: 1}).order_id, _paid(shop)
    with pytest.raises(OrderNotPaid):
        shop.returning.give_back(open_id, "x", owner="ann")
    shop.closing.cancel(open_id, owner="ann")
    with pytest.raises(OrderNotPaid):
        shop.returning.give_back(open_id, "x", owner="ann")
    with pytest.raises(ReturnTooLate):
        shop.returning_within(-1.0).give_back(paid_id, "x", owner="ann")
    for deed in (
        lambda: shop.returning.give_back(paid_id, "x", owner="bob"),
        lambda: shop.returning.of(paid_id, owner="bob"),
    ):
        with pytest.raises(NotFound):
            deed()
    with pytest.raises(NotFound):
        shop.returning.of(paid_id, owner="ann")
    assert shop.reader.get(paid_id, owner=None).status is Status.PAID


def test_connection_lost_in_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known whether it was begun: ask again."""
    order_id = _paid(shop)

    def lost(_work: object) -> None:
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patched:
        patched.setattr(shop.database, "transact", lost)
        with pytest.raises(OutcomeUnknown) as raised:
            shop.returning.give_back(order_id, "x", owner="ann")
    assert raised.value.members == {"order_id": str(order_id)}
    assert shop.returning.give_back(order_id, "x", owner="ann").state is RunState.RUNNING


def test_nothing_else_moves_it(shop: Shop) -> None:
    """A success that is told again, a timeout, a cancel, a try to pay: it stays returned."""
    order_id = _paid(shop)
    order = shop.reader.get(order_id, owner=None)
    shop.returning.give_back(order_id, "x", owner=None)
    told = PaymentEvent(tx_id=1, order_ids=(order_id,), placed_by=(order.tx_id,), providers=("sandbox",))
    assert shop.successes.handle([told]) == [True]
    assert shop.overdue.close([order_id]) == []
    with pytest.raises(OrderPaid):
        shop.closing.cancel(order_id, owner="ann")
    with pytest.raises(OrderClosed, match="returned"):
        shop.pay(order_id)
    assert shop.reader.get(order_id, owner=None).status is Status.RETURNED


def test_no_participant_has_to_hear_of_the_payment_any_more(shop: Shop) -> None:
    """What was to be confirmed of it is forgotten: who lets go can't confirm it. Of others' payments it still hears."""
    order_id, other = _paid(shop), _paid(shop)
    row = {"participant": "coupon", "fate": "paid", "tx_id": 1, "since": 1}
    rows = [row | {"order_id": one} for one in (order_id, other)]
    shop.database.transact(lambda connection: connection.execute(insert(settlements), rows))
    shop.returning.give_back(order_id, "x", owner=None)
    assert shop.settled() == {(other, "coupon", "paid")}


def test_the_sweep_voids_what_a_returned_order_holds(shop: Shop) -> None:
    """Also where its run was given up: a returned order stands no more, and is no violation."""
    order_id = _paid(shop)
    run = shop.returning.give_back(order_id, "x", owner=None)
    sagas = Sagas(shop.engine())
    assert sagas.counts(1) == Counts(open=1, troubled=0)
    assert sagas.give_up(run.run_id, "settled by hand").state is RunState.GIVEN_UP
    assert sagas.counts(1) == Counts(open=0, troubled=0)
    findings = shop.sweep.run(-1.0, full=True)
    assert (findings.released, findings.violations) == (3, [])
    assert shop.available(1) == 10


def test_an_order_that_is_returned_while_it_is_repaired(shop: Shop) -> None:
    """What the repair reserved anew for it is let go again."""
    order_id = _paid(shop)
    shop.reservations.release({order_id: 1})
    shop.faults.hooks["deduct"] = lambda: shop.returning.give_back(order_id, "x", owner=None)
    shop.sweep.run(-1.0, full=True)
    assert (shop.state(order_id), shop.available(1)) == ("released", 10)


def test_added_participants_have_steps_of_their_own(shop: Shop) -> None:
    """And what was begun before they were added is still known: by the definition without them."""
    base = return_sagas(shop.reader, shop.participants, None, within=5.0)
    added = InMemoryParticipant(shop.faults)
    added.name = "points"
    both = return_sagas(shop.reader, [*shop.participants, added], None, within=5.0)
    assert [list(saga.steps) for saga in both] == [
        ["refund", "restock", "coupon", "points"],
        ["refund", "restock", "coupon"],
    ]
    assert [saga.definition for saga in base] == [both[1].definition]
