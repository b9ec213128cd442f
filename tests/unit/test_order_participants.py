"""Several participants: all hold what an order needs or none does, whichever refuses, fails or is restored."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from common.aside import ThreadedAside
from common.errors import PeerUnavailable
from halfmessage.clock import now_ms
from halfmessage.errors import BrokerError, Unavailable
from halfmessage.mq.port import Resolution
from order.model import CloseReason, CouponNotUsable, InsufficientStock, Line, Order, Status, idempotency_keys, orders
from order.service import participants
from order.service.placing import Draft, IdempotencyKey, KeyTaken
from order.service.sweeping import Findings, sweep_once
from tests.fakes import PRICE, Shop

COUPON = 5
OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path, coupons=True)) as shop:
        shop.sell(1, 3)
        yield shop


def _draft(shop: Shop, quantity: int = 1, *, coupon: bool = True, key: str | None = None, discount: int = 50) -> Draft:
    now = now_ms()
    line = Line(1, "Tea", "", None, quantity, PRICE, None)
    order = Order(
        shop.ids.next(), 0, "ann", Status.CREATED, None, (line,), None, PRICE * quantity, "EUR", now, now + 900_000
    )
    if coupon:
        order = replace(order, coupon_id=COUPON, discount_amount=discount)
    return Draft(order, IdempotencyKey("ann", key, "hash") if key else None)


def _free(shop: Shop) -> Draft:
    """Return one whose coupon pays all of it."""
    draft = _draft(shop, discount=PRICE)
    return replace(draft, order=replace(draft.order, status=Status.PAID, paid_at=draft.order.created_at))


def _placed(shop: Shop, **kind: Any) -> int:
    (answer,) = shop.placing.place([_draft(shop, **kind)])
    assert isinstance(answer, Order)
    return answer.order_id


def _states(shop: Shop, *order_ids: int) -> list[tuple[str | None, str | None]]:
    """Return what stock and coupon have of each order."""
    return [(shop.state(order_id), shop.coupon.state(order_id)) for order_id in order_ids]


def _ids(*drafts: Draft) -> list[int]:
    return [draft.order.order_id for draft in drafts]


def _stands(shop: Shop, draft: Draft) -> bool:
    return bool(shop.reader._find([draft.order.order_id])[0])


def _resolutions(shop: Shop, draft: Draft) -> list[Resolution | None]:
    return [view.resolution for view in shop.rollbacks(draft.order.order_id)]


HELD, RELEASED = ("deducted", "deducted"), ("released", "released")


def test_each_is_asked_for_what_needs_it(shop: Shop) -> None:
    """One call to each for the whole batch, of the orders that need it; what was agreed is written."""
    drafts = [_draft(shop), _draft(shop, coupon=False), _draft(shop)]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [Order] * 3
    assert shop.coupon.asked == [[drafts[0].order.order_id, drafts[2].order.order_id]]
    assert _states(shop, *_ids(*drafts)) == [HELD, ("deducted", None), HELD]
    order = shop.reader.get(drafts[0].order.order_id, owner="ann")
    assert (order.coupon_id, order.goods_amount, order.discount_amount, order.total_amount) == (5, 250, 50, 200)


def test_who_is_not_needed_is_not_asked(shop: Shop) -> None:
    """A batch of orders without coupon costs the coupon service no call, nor a thread."""
    answers = shop.placing_with(_NoThreads(shop)).place([_draft(shop, coupon=False)])
    assert isinstance(answers[0], Order)
    assert shop.coupon.asked == []


class _NoThreads:
    """Starts what is not a participant's."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def start(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        assert "deduct" not in getattr(work, "__name__", "")
        return ThreadedAside("test", 1).start(work, *args, **kwargs)


def test_all_are_asked_at_once(shop: Shop) -> None:
    """The second is asked while the first has not answered."""
    both = threading.Barrier(2, timeout=10)
    shop.faults.hooks["deduct"] = shop.faults.hooks["coupon.deduct"] = both.wait
    with closing(ThreadedAside("test", 4)) as aside:
        (answer,) = shop.placing_with(aside).place([_draft(shop)])
    assert isinstance(answer, Order)


def test_one_refuses_what_the_other_holds(shop: Shop) -> None:
    """The order drops out alone; what the other holds is released by a message of its own, before the rest commits."""
    shop.coupon.uses = 1
    drafts = [_draft(shop), _draft(shop), _draft(shop, coupon=False)]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [Order, CouponNotUsable, Order]
    shop.quiet()
    assert _states(shop, *_ids(*drafts)) == [HELD, RELEASED, ("deducted", None)]
    assert [_stands(shop, draft) for draft in drafts] == [True, False, True]
    assert shop.available(1) == 1
    batch, own = shop.rollbacks(drafts[1].order.order_id)
    assert batch.resolution is Resolution.ROLLBACK
    assert own.message.keys == (str(drafts[1].order.order_id),)


def test_stock_refuses_what_the_coupon_holds(shop: Shop) -> None:
    """The other way round: the use of the coupon is free again."""
    drafts = [_draft(shop, 4), _draft(shop)]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [InsufficientStock, Order]
    shop.quiet()
    assert _states(shop, *_ids(*drafts)) == [RELEASED, HELD]
    assert shop.coupon.uses == 9


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_held_in_vain_can_not_be_released(shop: Shop, when: str) -> None:
    """Then the batch is given up whole: nothing was created, all comes back."""
    drafts = [_draft(shop, 4), _draft(shop)]
    shop.faults.plan("send", BrokerError(), when)
    with pytest.raises(BrokerError):
        shop.placing.place(drafts)
    shop.quiet()
    assert _states(shop, *_ids(*drafts)) == [RELEASED, RELEASED]
    assert not _stands(shop, drafts[1])
    assert (shop.coupon.uses, shop.available(1)) == (10, 3)


def test_nothing_stands_and_something_is_held(shop: Shop) -> None:
    """A batch of which nothing is left is not dropped while a participant holds anything: its own message releases."""
    drafts = [_draft(shop, 4), _draft(shop, 4, coupon=False)]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [InsufficientStock] * 2
    assert _resolutions(shop, drafts[0]) == [Resolution.COMMIT]
    shop.quiet()
    assert _states(shop, *_ids(*drafts)) == [RELEASED, RELEASED]
    assert shop.coupon.uses == 10


def test_all_refuse(shop: Shop) -> None:
    """Nothing is held by any participant: the message is dropped, and no tombstone written."""
    shop.coupon.uses = 0
    drafts = [_draft(shop, 4), _draft(shop, 4, coupon=False)]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [InsufficientStock] * 2
    assert _resolutions(shop, drafts[0]) == [Resolution.ROLLBACK]
    shop.quiet()
    assert _states(shop, *_ids(*drafts)) == [(None, None), (None, None)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("where", ["deduct", "coupon.deduct"])
def test_one_does_not_answer(shop: Shop, where: str, when: str) -> None:
    """It may hold something, so may the other: the rollback is delivered to both, and nothing was created."""
    draft = _draft(shop)
    shop.faults.plan(where, PeerUnavailable(), when)
    with pytest.raises(PeerUnavailable):
        shop.placing.place([draft])
    assert _resolutions(shop, draft) == [Resolution.COMMIT]
    shop.quiet()
    assert _states(shop, draft.order.order_id) == [RELEASED]
    assert (shop.coupon.uses, shop.available(1), _stands(shop, draft)) == (10, 3, False)


def test_an_answer_beside_that_never_comes_is_not_waited_for_without_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that hangs holds up its batch for so long, then nothing was created."""
    monkeypatch.setattr(participants, "_ANSWERED_WITHIN", 0.05)
    over = threading.Event()
    shop.faults.hooks["coupon.deduct"] = lambda: over.wait(10)
    draft = _draft(shop)
    with closing(ThreadedAside("test", 4)) as aside:
        with pytest.raises(Unavailable):
            shop.placing_with(aside).place([draft])
        over.set()
    shop.quiet()
    assert _states(shop, draft.order.order_id)[0] == RELEASED
    assert not _stands(shop, draft)


def test_a_key_taken_releases_at_both(shop: Shop) -> None:
    """What drops out in the local transaction is released at each participant."""
    row = {"user_id": "ann", "idempotency_key": "k", "request_hash": "hash", "order_id": 1}
    shop.database.transact(lambda c: c.execute(insert(idempotency_keys), [row]))
    drafts = [_draft(shop, key="k"), _draft(shop)]
    assert [type(answer) for answer in shop.placing.place(drafts)] == [KeyTaken, Order]
    shop.quiet()
    assert _states(shop, *_ids(*drafts)) == [RELEASED, HELD]


def test_an_order_that_costs_nothing_is_paid_at_once(shop: Shop) -> None:
    """It is written as paid, and the coupon hears of it."""
    draft = _free(shop)
    shop.placing.place([draft, _draft(shop, coupon=False)])
    order = shop.reader.get(draft.order.order_id, owner="ann")
    assert (order.status, order.paid_at, order.total_amount) == (Status.PAID, order.created_at, 0)
    assert order.as_created() == order
    assert shop.coupon.headers[order.order_id].used
    assert shop.settled() == set()


def test_a_free_order_beside_one_that_drops_out(shop: Shop) -> None:
    """Written one by one, it is told all the same."""
    row = {"user_id": "ann", "idempotency_key": "k", "request_hash": "hash", "order_id": 1}
    shop.database.transact(lambda c: c.execute(insert(idempotency_keys), [row]))
    free = _free(shop)
    shop.placing.place([free, _draft(shop, key="k")])
    assert shop.coupon.headers[free.order.order_id].used
    assert [told[2] for told in shop.coupon.told] == ["paid"]


def test_a_payment_is_told_at_once(shop: Shop) -> None:
    """The use of the coupon is used when the answer is there; stock need not hear of it."""
    order_id = _placed(shop)
    shop.pay(order_id)
    assert shop.coupon.headers[order_id].used
    assert shop.settled() == set()
    assert shop.stock.settled == []


def test_a_payment_is_told_whatever_is_paid_beside_it(shop: Shop) -> None:
    """Of orders that are paid together, one without a coupon keeps no other's from being used."""
    with_coupon, without = _placed(shop), shop.order({1: 1}).order_id
    shop.paying.mark({with_coupon: "sandbox", without: "sandbox"})
    assert shop.coupon.headers[with_coupon].used
    assert without not in shop.coupon.headers


def test_a_payment_that_none_hears_of_is_told_to_none(shop: Shop) -> None:
    """An order without a coupon costs no look at what is to be told, nor is a closed order told with payments."""
    without, closed = shop.order({1: 1}).order_id, _placed(shop)
    shop.faults.plan("resolve", BrokerError())
    shop.closing.close([closed], CloseReason.TIMEOUT)
    told: list[str] = []
    shop.faults.hooks["tell"] = lambda: told.append("asked")
    shop.paying.mark({without: "sandbox"})
    assert told == []
    shop.settlements.confirm_payments()
    assert shop.settled() == {(closed, "stock", "void"), (closed, "coupon", "void")}


def test_paid_again_is_not_told_again(shop: Shop) -> None:
    """Nor does a payment that came too late write anything down."""
    paid, closed = _placed(shop), _placed(shop)
    shop.closing.cancel(closed, owner=None)
    shop.sweep.run(0.0)
    shop.coupon.told.clear()
    for _ in range(2):
        assert shop.paying.mark({paid: "sandbox", closed: "sandbox"}) == []
    assert [told[2] for told in shop.coupon.told] == ["paid"]
    assert shop.settled() == set()


@pytest.mark.parametrize("fault", ["tell", "coupon.settle"])
def test_a_payment_that_is_not_told_at_once_is_told_by_the_sweep(shop: Shop, fault: str) -> None:
    """The order is paid; its row says that the coupon does not know yet."""
    order_id = _placed(shop)
    shop.sweep.run(0.0)
    shop.faults.plan(fault, _Ended() if fault == "tell" else PeerUnavailable())
    try:
        shop.pay(order_id)
    except _Ended:
        assert fault == "tell"
    assert shop.settled() == {(order_id, "coupon", "paid")}
    assert not shop.coupon.headers[order_id].used
    assert shop.sweep.run(0.0).confirmed == 1
    assert shop.coupon.headers[order_id].used
    assert shop.settled() == set()


class _Ended(Exception):
    """The process ended here."""


def test_each_confirms_a_closed_order(shop: Shop) -> None:
    """Who needs to let go has a row until it said so; who held nothing has none."""
    with_coupon, without = _placed(shop), _placed(shop, coupon=False)
    shop.faults.plan("resolve", BrokerError())
    shop.closing.close([with_coupon, without], CloseReason.TIMEOUT)
    rows = {(with_coupon, "stock", "void"), (with_coupon, "coupon", "void"), (without, "stock", "void")}
    assert shop.settled() == rows
    assert shop.sweep.run(0.0) == Findings(released=3, confirmed=3)
    assert shop.settled() == set()
    assert _states(shop, with_coupon, without) == [RELEASED, ("released", None)]


def test_one_that_is_down_confirms_nothing_for_the_other(shop: Shop) -> None:
    """What stock confirmed is done with, what the coupon did not is asked for again."""
    order_id = _placed(shop)
    shop.sweep.run(0.0)
    shop.faults.plan("resolve", BrokerError())
    shop.closing.close([order_id], CloseReason.TIMEOUT)
    shop.faults.plan("coupon.settle", PeerUnavailable())
    assert sweep_once(shop.sweep, 0.0) is None
    assert shop.settled() == {(order_id, "coupon", "void")}
    assert sweep_once(shop.sweep, 0.0) == Findings(confirmed=1)
    assert _states(shop, order_id) == [RELEASED]


@pytest.mark.parametrize("where", ["unverified", "coupon.unverified"])
def test_one_that_is_down_holds_up_no_other(shop: Shop, where: str) -> None:
    """The other is swept, overdue orders are closed; then the sweep says which was down, and the next one finishes."""
    order_id, overdue = _placed(shop), _placed(shop, coupon=False)
    shop.database.transact(
        lambda c: c.execute(update(orders).where(orders.c.order_id == overdue).values(expires_at=now_ms() - 1))
    )
    shop.faults.plan(where, PeerUnavailable())
    with pytest.raises(PeerUnavailable):
        shop.sweep.run(0.0)
    assert shop.reader.get(overdue, owner=None).status is Status.CLOSED
    verified = {"stock": shop.reservations.get(order_id).verified, "coupon": shop.coupon.headers[order_id].verified}
    assert verified == {"stock": where != "unverified", "coupon": where == "unverified"}
    shop.quiet()
    findings = shop.sweep.run(0.0)
    assert (findings.verified, findings.confirmed) == (1, 1)


def test_a_participant_restored_lacks_reservations(shop: Shop) -> None:
    """An order is not paid while one of them does not hold what it needs; the repair has it hold that again."""
    shop.ids.age = OLD
    order_id, other = _placed(shop), _placed(shop, coupon=False)
    shop.sweep.run(0.0)
    shop.coupon.headers.clear()
    shop.coupon.uses = 10
    assert shop.sweep.run(0.0) == Findings(violations=[order_id])
    with pytest.raises(Unavailable, match="not held"):
        shop.pay(order_id)
    shop.pay(other)
    findings = shop.sweep.run(0.0, full=True)
    assert (findings.reserved, findings.closed, findings.violations) == (1, 0, [])
    assert shop.pay(order_id).status is Status.PAID
    assert shop.coupon.headers[order_id].used


def test_what_a_repair_reserves_for_a_paid_order_is_used_up(shop: Shop) -> None:
    """What a paid order gets anew is used up at once: no sweep need come to it."""
    shop.ids.age = OLD
    order_id = _placed(shop)
    shop.pay(order_id)
    shop.sweep.run(0.0)
    shop.coupon.headers.clear()
    shop.coupon.uses = 10
    assert shop.sweep.run(0.0, full=True).reserved == 1
    assert shop.coupon.headers[order_id].used


def test_a_participant_restored_can_not_hold_it_again(shop: Shop) -> None:
    """The unpaid order is closed, which releases at the others; the paid one is told to a person."""
    shop.ids.age = OLD
    unpaid, paid = _placed(shop), _placed(shop)
    shop.pay(paid)
    shop.sweep.run(0.0)
    shop.coupon.headers.clear()
    shop.coupon.uses = 0
    findings = shop.sweep.run(0.0, full=True)
    assert (findings.reserved, findings.closed, findings.violations) == (0, 1, [paid])
    shop.quiet()
    assert shop.state(unpaid) == "released"


def test_the_first_payment_asks_each(shop: Shop) -> None:
    """Until the first look of a process, each participant that the order needs is asked."""
    with_coupon, without = _placed(shop), _placed(shop, coupon=False)
    del shop.coupon.headers[with_coupon]
    shop.pay(without)
    with pytest.raises(Unavailable, match="not held"):
        shop.pay(with_coupon)


def test_a_participant_restored_hears_of_payments_again(shop: Shop) -> None:
    """A backup from before the payment: the sweep finds the reservation unverified, and says that it is paid."""
    order_id = _placed(shop)
    shop.pay(order_id)
    header = shop.coupon.headers[order_id]
    header.verified = header.used = False
    assert shop.sweep.run(0.0).verified == 2
    assert header.used


def test_held_for_an_order_that_does_not_need_it(shop: Shop) -> None:
    """What a participant holds for an order that stands without it is given back."""
    shop.ids.age = OLD
    draft = _draft(shop, coupon=False)
    (answer,) = shop.placing.place([draft])
    assert isinstance(answer, Order)
    shop.coupon.deduct(answer.tx_id, [answer])
    assert shop.sweep.run(0.0) == Findings(verified=1, released=1)
    assert _states(shop, answer.order_id) == [("deducted", "released")]


def test_the_timeline_tells_of_each(shop: Shop) -> None:
    """Each participant that the order needs tells what it did; one that has nothing says so."""
    with_coupon, without = _placed(shop), _placed(shop, coupon=False)
    told = {(entry.source, entry.event) for entry in shop.timeline.of(with_coupon, owner=None)}
    assert {("stock", "stock deducted"), ("coupon", "coupon deducted")} <= told
    assert "coupon" not in {entry.source for entry in shop.timeline.of(without, owner=None)}
    shop.closing.cancel(with_coupon, owner=None)
    shop.quiet()
    told = {(entry.source, entry.event) for entry in shop.timeline.of(with_coupon, owner=None)}
    assert {("stock", "stock released"), ("coupon", "coupon released")} <= told
