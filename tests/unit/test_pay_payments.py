"""What pay's reservations do beside the contract of participants: money goes back, is told, and never forgotten."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from sqlalchemy import select, update

from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from halfmessage.ids import EPOCH
from pay.app import purge_records
from pay.model import Via, attempts, payment_events, payments, transaction_records
from pay.providers.port import Kind
from pay.service.payments import Payments
from tests.fakes import BROKER_DOWN
from tests.payments import OWED, TX, Till, success

pytestmark = pytest.mark.P7


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path)
    yield till
    till.close()


def forget(till: Till) -> int:
    """Forget what was released until now."""
    return till.reservations.purge(now_ms() + 1000)


def settle(till: Till, order_id: int, fate: str) -> None:
    till.reservations.settle({order_id: (TX, fate)})  # type: ignore[dict-item]


def test_what_only_the_database_refuses(till: Till) -> None:
    """An order that owes nothing has no payment: nothing of it is kept, and others of its batch have theirs."""
    free = replace(OWED, amount=0)
    with structlog.testing.capture_logs():
        decisions = till.reservations.deduct(TX, {1: free, 2: OWED})
    assert [decision.verdict for decision in decisions] == ["refused", "deducted"]
    assert Payments(1.0).unfit(free).members == {}
    with pytest.raises(NotFound):
        till.payment(1)


def test_each_reservation_tells_what_it_is_for(till: Till) -> None:
    """What its own order owes."""
    till.owe(1)
    till.owe(2, want=replace(OWED, amount=700))
    assert till.reservations.get(2).held == {"amount": 700, "currency": "EUR"}


def test_closing_gives_back_each_as_it_stands(till: Till) -> None:
    """Open: closed. Succeeded: its money goes back. In one transaction, doubled or not."""
    till.owe(1, 2, 3)
    till.pay(2)
    for _ in range(2):
        till.release(1, 2, 3, 4)
    assert [till.state(order_id) for order_id in (1, 2, 3)] == ["closed", "refunding", "closed"]
    assert till.charge_states() == {"c1": "refunding"}
    assert None not in {till.payment(order_id).closed_at for order_id in (1, 2, 3)}


def test_paid_is_known(till: Till) -> None:
    """What the order service says is noted, and it is told no more; of a closed one it means nothing."""
    till.owe(1, 2)
    till.pay(1)
    till.release(2)
    settle(till, 1, "paid")
    settle(till, 2, "paid")
    assert (till.payment(1).known, till.payment(2).known) == (True, False)
    till.make_due()
    assert till.telling.run() == 0


def test_a_success_that_is_not_known_is_told_again(till: Till) -> None:
    """The broker may have given up on its message: another tells it, later each time, until the order service knows."""
    till.owe(1, 2)
    till.pay(1, provider="other")
    till.pay(2)
    settle(till, 2, "paid")
    (first, _) = till.told()
    assert till.telling.run() == 0  # not at once
    for _ in range(2):
        till.make_due()
        assert till.telling.run() == 1
    again = till.told()[2:]
    assert [(event.order_ids, event.placed_by, event.providers) for event in again] == [((1,), (TX,), ("other",))] * 2
    assert len({event.tx_id for event in [first, *again]}) == 3
    with till.database.read() as connection:
        row = connection.execute(select(payments).where(payments.c.order_id == 1)).one()
    assert row.tellings == 2
    assert row.tell_at > now_ms() + 60_000


def test_what_is_known_before_is_not_told(till: Till) -> None:
    """Of a restored database: the order service has said that it is paid, and the success is heard of again."""
    till.owe(1)
    settle(till, 1, "paid")
    till.pay(1)
    till.make_due()
    assert till.telling.run() == 0


def test_telling_that_fails_is_done_again(till: Till) -> None:
    """What was claimed is due again."""
    till.owe(1)
    till.pay(1)
    till.make_due()
    till.faults.plan("send", BROKER_DOWN)
    with pytest.raises(type(BROKER_DOWN)):
        till.telling.run()
    till.make_due()
    assert till.telling.run() == 1


def test_a_payment_that_is_sent_back_while_it_is_told(till: Till) -> None:
    """It is not told once more."""
    till.owe(1)
    till.pay(1)
    till.make_due()
    till.faults.hooks["send"] = lambda: till.release(1)
    till.telling.run()
    till.make_due()
    assert till.telling.run() == 0


def test_money_is_never_forgotten(till: Till) -> None:
    """Payments that money was taken for are kept, whatever became of it; so are those that news may come of."""
    till.owe(1, 2, 3, 4, 5)
    till.provider.taken["c1"] = (1, 500, "EUR")
    page = till.page(2)
    till.hear(till.provider.no(page, Kind.FAILED))
    till.page(3)
    till.release(1, 2, 3, 4, 5, 6)
    till.hear(success("c1", 1))
    till.refunding.run()
    till.inbox.store("fake", success("c4", 4), Via.CALLBACK)
    till.polling.run()
    assert forget(till) == 2  # 5, and the tombstone
    assert [till.state(order_id) for order_id in (1, 2, 3, 4)] == ["refunded", "closed", "closed", "closed"]
    done = update(attempts).values(next_poll_at=None)
    till.database.transact(lambda connection: connection.execute(done))
    assert forget(till) == 2
    with till.database.read() as connection:
        assert connection.scalars(select(payments.c.order_id).order_by(payments.c.order_id)).all() == [1, 4]
        assert connection.scalars(select(payment_events.c.order_id)).all() == [1, 4]
        assert connection.scalars(select(attempts.c.order_id)).all() == []


def test_old_transaction_records_go(till: Till) -> None:
    """Those that may not be asked for any more; others stay."""
    till.owe(1)
    till.pay(1)

    def records() -> int:
        with till.database.read() as connection:
            return len(connection.execute(select(transaction_records)).all())

    purge_records(till.database, till.records)
    assert records() == 1
    old = update(transaction_records).values(decided_at=1)
    till.database.transact(lambda connection: connection.execute(old))
    purge_records(till.database, till.records)
    assert records() == 0


def test_late_money_of_a_forgotten_order_goes_back(till: Till) -> None:
    """It is an order that is not known."""
    till.owe(1)
    till.release(1)
    forget(till)
    till.hear(success("c1", 1))
    assert till.effects() == {"taken-c1": ("refunding", "unknown-order")}


def test_what_forgetting_weighs(till: Till) -> None:
    """A transaction is bounded by all the rows that go, tries and events too."""
    till.owe(1, 2)
    for _ in range(3):
        till.pay(1, "refuse")
    with till.database.read() as connection:
        assert Payments(1.0).weigh(connection, [1, 2]) == {1: 7, 2: 1}


def test_a_revived_order_may_be_paid(till: Till) -> None:
    """The audit says that it stands, after a restore: its payment is open again, unless money was taken for it."""
    till.owe(1, 2)
    till.release(1, 2)
    till.hear(success("c2", 2))
    decisions = till.reservations.deduct(TX, {1: OWED, 2: OWED}, revive=True)
    assert [decision.verdict for decision in decisions] == ["deducted", "released"]
    till.hear(success("c1", 1))
    assert [till.state(order_id) for order_id in (1, 2)] == ["succeeded", "refunding"]


def test_ids_of_orders_are_snowflakes(till: Till) -> None:
    """As the others, whatever their size: beyond 32 bits, too."""
    order_id = (now_ms() - EPOCH) << 22
    till.owe(order_id)
    till.pay(order_id)
    assert till.state(order_id) == "succeeded"
    assert till.payment(order_id).payment_id == order_id


def test_another_users_payment_is_not_there(till: Till) -> None:
    """Nor is one that never was."""
    till.owe(1)
    assert till.reader.get(1, owner="ann").user_id == "ann"
    for order_id, owner in ((1, "bob"), (2, "ann"), (2, None)):
        with pytest.raises(NotFound):
            till.reader.get(order_id, owner=owner)
