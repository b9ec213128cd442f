"""Money goes back once for each charge, again and again until the provider says done; a refusal is never a refund."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from common.errors import IdempotencyMismatch
from common.idempotency import IdempotencyKey
from common.telemetry import Metrics
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import FailpointRaised, NotFound
from pay.instruments import Instruments
from pay.model import NothingToRefund, charges
from pay.providers.port import Kind, ProviderEvent, Refund, RefundState
from pay.service import claims, refunding
from pay.service.ledger import PAYS
from tests.payments import DOWN, Till, success
from tests.support import eventually, reads_on_mysql

pytestmark = pytest.mark.P7


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path)
    yield till
    till.close()


def late(till: Till, *order_ids: int) -> None:
    """Have money come for closed orders: charge c<order id> each."""
    till.owe(*order_ids)
    till.release(*order_ids)
    for order_id in order_ids:
        till.provider.taken[f"c{order_id}"] = (order_id, 500, "EUR")
    till.hear(*(success(f"c{order_id}", order_id) for order_id in order_ids))


def refund(till: Till) -> int:
    """Refund, as if everything were due."""
    till.make_due()
    return till.refunding.run()


def test_late_money_is_sent_back_once(till: Till) -> None:
    """The provider is asked once, with the charge's id as key; then the payment is refunded, and nothing is due."""
    late(till, 1)
    assert till.refunding.run() == 1
    assert till.provider.returned == Counter(c1=1)
    (charge,) = till.payment(1).charges
    assert (charge.status, charge.refund_id, charge.tries, charge.reason) == ("refunded", "r-c1", 1, "late")
    assert charge.refunded_at is not None
    assert till.state(1) == "refunded"
    assert refund(till) == 0
    assert till.counted() == (Counter(EUR=500), Counter(EUR=500))


def test_a_provider_that_does_not_answer_in_time(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """The try counts, and the next one comes after the distance: under the same key, the money goes back once."""
    monkeypatch.setattr(refunding, "CALLS_WITHIN", 0.1)
    late(till, 1)
    answer = threading.Event()
    till.provider.faults.hooks["refund"] = lambda: answer.wait(5)
    assert till.refunding.run() == 1
    (charge,) = till.payment(1).charges
    assert (charge.status, charge.tries) == ("refunding", 1)
    with till.database.read() as connection:
        assert connection.scalar(select(charges.c.next_try_at)) <= now_ms() + 1000
    answer.set()
    assert eventually(lambda: till.provider.returned["c1"]) == 1
    refund(till)
    assert (till.state(1), till.provider.returned) == ("refunded", Counter(c1=1))


def test_a_closed_order_gives_back_what_paid_it(till: Till) -> None:
    """The rollback that closes an order sends its kept charge back, and its message is not told again."""
    till.owe(1)
    till.pay(1)
    till.release(1)
    assert (till.state(1), till.charge_states()) == ("refunding", {"c1": "refunding"})
    assert till.payment(1).charges[0].reason == "order-closed"
    refund(till)
    assert (till.state(1), till.provider.returned) == ("refunded", Counter(c1=1))
    assert till.telling.run() == 0


@pytest.mark.parametrize("when", ["before", "after"])
def test_no_answer(till: Till, when: str) -> None:
    """Done or not: it is asked again under the same key, later each time, and the money goes back once."""
    late(till, 1)
    for _ in range(3):
        till.provider.faults.plan("refund", DOWN, when)
        refund(till)
    assert till.charge_states() == {"c1": "refunding"}
    assert till.payment(1).charges[0].tries == 3
    assert till.refunding.run() == 0  # it is not due
    refund(till)
    assert till.charge_states() == {"c1": "refunded"}
    assert till.provider.returned == Counter(c1=1)


def test_a_pending_refund_is_no_refund(till: Till) -> None:
    """It is asked about until it is done."""
    late(till, 1)
    till.provider.refunds = lambda _: RefundState.PENDING
    refund(till)
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunding"}, "refunding")
    assert till.counted()[1] == Counter()
    assert sum(tally.refused for tally in till.tallies) == 0
    till.provider.refunds = lambda _: RefundState.DONE
    refund(till)
    assert till.state(1) == "refunded"


def test_what_goes_back_says_since_when(till: Till) -> None:
    """However it came to: operators are told for how long the oldest has been on its way."""
    late(till, 7)
    till.owe(2)
    till.pay(2)
    till.release(2)
    with till.database.read() as connection:
        since = connection.scalars(select(charges.c.refund_since)).all()
    assert len(since) == 2
    assert None not in since


def test_one_refund_waits_for_no_other(till: Till) -> None:
    """A payment whose money is back is refunded, though another order's is still on its way."""
    late(till, 1, 2)
    till.provider.refunds = lambda charge_id: RefundState.DONE if charge_id == "c1" else RefundState.PENDING
    refund(till)
    assert [till.state(order_id) for order_id in (1, 2)] == ["refunded", "refunding"]


def test_a_refusal_is_kept_and_asked_about_again(till: Till) -> None:
    """With the provider's words, counted once, asked again only slowly; and no refund until it is one."""
    late(till, 1)
    till.provider.refunds = lambda _: RefundState.REFUSED
    till.refunding.run()
    (charge,) = till.payment(1).charges
    assert (charge.status, charge.refusal) == ("refused", "account closed")
    assert till.state(1) == "refunding"
    assert till.refunding.run() == 0
    refund(till)
    assert sum(tally.refused for tally in till.tallies) == 1
    assert till.provider.asked_back == Counter(c1=2)
    till.provider.refunds = lambda _: RefundState.PENDING
    refund(till)
    assert till.charge_states() == {"c1": "refunding"}
    till.provider.refunds = lambda _: RefundState.DONE
    refund(till)
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")


def test_the_providers_name_of_a_refund_is_kept(till: Till) -> None:
    """An answer that does not name it again takes it from nobody who asks the provider about the money."""
    late(till, 1)
    till.provider.refunds = lambda _: RefundState.PENDING
    till.refunding.run()
    till.provider.refunds = lambda _: RefundState.REFUSED
    refund(till)
    (charge,) = till.payment(1).charges
    assert (charge.status, charge.refund_id) == ("refused", "r-c1")


def test_what_is_written_was_read_locked(till: Till) -> None:
    """Payments, then charges, as handling does: an answer is written on nothing that moves meanwhile."""
    late(till, 1)
    reads = reads_on_mysql(till.database)
    till.refunding.run()
    of_payments, of_charges = (read for read in reads if read.endswith("FOR UPDATE"))
    assert of_payments.endswith("ORDER BY payments.order_id FOR UPDATE")
    assert of_charges.endswith("ORDER BY charges.charge_id FOR UPDATE")


def test_what_is_due_longest_comes_first(till: Till) -> None:
    """Whatever its name: while more is due than is claimed together, none waits for ever."""
    late(till, 1, 2, 3)
    for order_id, at in ((1, 30), (2, 10), (3, 20)):
        due = update(charges).where(charges.c.order_id == order_id).values(next_try_at=at)
        till.database.transact(lambda connection, due=due: connection.execute(due))
    due_first = claims.Claims(till.database, charges.c.next_try_at).take(2).rows
    assert sorted(row.order_id for row in due_first) == [2, 3]


def test_a_refusal_waits_long(till: Till) -> None:
    """Ten minutes, where a try that got no answer waits seconds."""
    late(till, 1, 2)
    till.provider.refunds = lambda charge_id: RefundState.REFUSED if charge_id == "c1" else RefundState.PENDING
    till.refunding.run()
    with till.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT charge_id, next_try_at FROM charges").all()
    waits = {row.charge_id: row.next_try_at - now_ms() for row in rows}
    assert waits["c1"] > 590_000
    assert waits["c2"] <= 1_000


@pytest.mark.parametrize("point", ["refund.asked", "refund.stored"])
def test_a_fault_after_each_step(till: Till, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Whatever step it fails after, the money goes back once."""
    hits: list[str] = []

    def fail(passed: str) -> None:
        hits.append(passed)
        if passed == point and hits.count(point) == 1:
            raise FailpointRaised

    late(till, 1, 2)
    monkeypatch.setattr(failpoints, "hit", fail)
    for _ in range(3):
        try:
            refund(till)
        except FailpointRaised:
            assert point == "refund.stored"
    assert till.provider.returned == Counter(c1=1, c2=1)
    assert till.state(1) == till.state(2) == "refunded"


def test_an_event_that_says_more_than_the_answer(till: Till) -> None:
    """A refund that is heard of while it is asked for is counted once, and not undone by a late `pending`."""
    late(till, 1)
    till.provider.refunds = lambda _: RefundState.PENDING
    back = ProviderEvent("back", Kind.REFUNDED, 1, b"", "c1", 500, "EUR")
    till.provider.faults.hooks["refund"] = lambda: till.hear(back)
    till.refunding.run()
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    assert till.counted()[1] == Counter(EUR=500)


def test_the_payment_is_refunded_when_all_of_it_is(till: Till) -> None:
    """Two charges of one order: while one of them is not back, the payment is refunding."""
    late(till, 1)
    till.provider.taken["d1"] = (1, 500, "EUR")
    till.hear(success("d1", 1))
    till.provider.refunds = lambda charge_id: RefundState.DONE if charge_id == "c1" else RefundState.REFUSED
    refund(till)
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded", "d1": "refused"}, "refunding")
    till.provider.refunds = lambda _: RefundState.DONE
    refund(till)
    assert till.state(1) == "refunded"


def test_a_provider_that_is_no_longer_configured(till: Till) -> None:
    """The money waits for it."""
    late(till, 1)
    gone = till.providers.pop("fake")
    refund(till)
    assert till.charge_states() == {"c1": "refunding"}
    till.providers["fake"] = gone
    refund(till)
    assert till.charge_states() == {"c1": "refunded"}


def test_many_go_back_together(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Part after part, until nothing is due, or the time of a run is over."""
    monkeypatch.setattr(refunding, "TOGETHER", 10)
    late(till, *range(1, 36))
    assert claims.while_any(till.refunding.run) == 35
    assert set(till.charge_states().values()) == {"refunded"}
    assert sum(till.provider.returned.values()) == 35
    monkeypatch.setattr(claims, "AT_A_TIME", 0.0)
    late(till, 100)
    assert claims.while_any(till.refunding.run) == 0


def test_money_of_no_order_goes_back(till: Till) -> None:
    """There is no payment that it could be shown at, but the charge."""
    till.provider.taken["c9"] = (None, 500, "EUR")
    till.hear(success("c9", None))
    refund(till)
    assert (till.charge_states(), till.provider.returned) == ({"c9": "refunded"}, Counter(c9=1))


FAILED = ProviderEvent("failed", Kind.REFUND_REFUSED, 1, b"", "c1", 500, "EUR", reason="account closed")


def test_a_refund_that_fails_after_it_was_done_is_no_refund(till: Till) -> None:
    """A bank may send a refund back, weeks later: the provider is asked, and only its answer moves the money."""
    late(till, 1)
    refund(till)
    till.provider.refunds = lambda _: RefundState.REFUSED
    till.hear(FAILED)
    assert till.effects()["failed"] == ("refund-refused", "account closed")
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    assert till.refunding.run() == 1
    assert (till.charge_states(), till.state(1)) == ({"c1": "refused"}, "refunding")
    assert sum(tally.refused for tally in till.tallies) == 1
    till.provider.refunds = lambda _: RefundState.DONE
    refund(till)
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    assert till.counted() == (Counter(EUR=500), Counter(EUR=500))
    assert refund(till) == 0


def test_a_refusal_that_comes_late_undoes_no_refund(till: Till) -> None:
    """It was said before the money went back: the provider, asked, says so; nothing goes back twice."""
    late(till, 1)
    refund(till)
    till.hear(FAILED)
    assert refund(till) == 1
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    assert till.provider.returned == Counter(c1=1)
    assert till.counted() == (Counter(EUR=500), Counter(EUR=500))
    assert refund(till) == 0


def test_a_refund_that_failed_is_not_done_by_an_old_event(till: Till) -> None:
    """What told of the refund before it failed may come after that: the provider is asked at once, not believed."""
    late(till, 1)
    refund(till)
    till.provider.refunds = lambda _: RefundState.REFUSED
    till.hear(FAILED)
    refund(till)
    till.hear(ProviderEvent("done", Kind.REFUNDED, 1, b"", "c1", 500, "EUR"))
    assert (till.charge_states(), till.state(1)) == ({"c1": "refused"}, "refunding")
    till.provider.refunds = lambda _: RefundState.DONE
    assert till.refunding.run() == 1
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    assert till.counted() == (Counter(EUR=500), Counter(EUR=500))


def test_a_refund_that_fails_while_the_provider_is_asked(till: Till) -> None:
    """An answer is written on what was asked about alone: of money that was refunded meanwhile it says nothing."""
    late(till, 1)
    refund(till)
    till.hear(FAILED)
    till.provider.refunds = lambda _: RefundState.PENDING
    refund(till)
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunding"}, "refunding")


def test_what_a_provider_sent_back_by_itself_is_not_asked_for(till: Till) -> None:
    """Nobody wanted it back: a refund of it that fails leads to no other, which would be of what pays an order."""
    till.owe(1)
    till.pay(1)
    till.hear(ProviderEvent("done", Kind.REFUNDED, 1, b"", "c1", 500, "EUR"), FAILED)
    assert till.effects()["failed"] == ("none", "account closed")
    assert refund(till) == 0


def test_a_providers_long_name_of_a_refund_holds_up_no_other(till: Till) -> None:
    """MariaDB takes no longer one, and both databases no half of a character: it is for people, and cut."""
    late(till, 1, 2)
    answered = till.provider.refund

    def answer(charge_id: str, amount: int, currency: str, key: str) -> Refund:
        return replace(answered(charge_id, amount, currency, key), refund_id="r" * 200 + "\ud800")

    till.provider.refund = answer  # type: ignore[method-assign]
    till.provider.refunds = lambda charge_id: RefundState.DONE if charge_id == "c1" else RefundState.PENDING
    refund(till)
    assert till.charge_states() == {"c1": "refunded", "c2": "refunding"}
    assert till.payment(1).charges[0].refund_id == "r" * 128


def test_an_admin_sends_money_back_once(till: Till) -> None:
    """Of a payment that succeeded; again, it is told where it stands; the order is not told of it as paid any more."""
    till.owe(1)
    till.pay(1)
    for _ in range(2):
        sent = till.sending_back.send_back(1, "broken", None)
        assert (sent.answer.order_id, sent.answer.state) == (1, "refunding")
    (charge,) = till.payment(1).charges
    assert (charge.reason, charge.note) == ("by-admin", "broken")
    refund(till)
    assert till.sending_back.send_back(1, "broken", None).answer.state == "refunded"
    assert till.provider.returned == Counter(c1=1)
    assert till.telling.run() == 0


def test_an_admin_finds_nothing_to_send_back(till: Till) -> None:
    """No money, no payment."""
    till.owe(1, 2)
    till.release(2)
    for order_id in (1, 2):
        with pytest.raises(NothingToRefund):
            till.sending_back.send_back(order_id, "broken", None)
    with pytest.raises(NotFound):
        till.sending_back.send_back(3, "broken", None)


def test_an_admins_call_again_under_its_key(till: Till) -> None:
    """It gets its first answer, whatever came after; another call under the key is refused."""
    till.owe(1)
    till.pay(1)
    first, other = (IdempotencyKey("boss", "k", request_hash) for request_hash in "ab")
    assert till.sending_back.send_back(1, "broken", first).answer.state == "refunding"
    refund(till)
    again = till.sending_back.send_back(1, "broken", first)
    assert (again.answer.state, again.replayed) == ("refunding", True)
    with pytest.raises(IdempotencyMismatch):
        till.sending_back.send_back(1, "other", other)


def test_what_is_in_between_is_told_by_currency_and_age(till: Till) -> None:
    """What is back or kept is not; refusals are; a currency that a provider made up is one of the others."""
    now, hour = now_ms(), 3_600_000
    rows = [
        ("EUR", 500, "refunding", 0), ("EUR", 70, "refused", hour // 2), ("EUR", 9, "refunding", 30 * hour),
        ("JPY", 800, "refunding", 2 * hour), ("ZZZ", 3, "refunding", 0), ("ZZY", 4, "refunding", 0),
        ("EUR", 1000, "refunded", 0),
    ]  # fmt: skip
    for number, (currency, amount, state, ago) in enumerate(rows):
        row = {"charge_id": f"c{number}", "currency": currency, "amount": amount, "state": state, "taken_at": now - ago}
        till.database.transact(
            lambda c, row=row, ago=ago: c.execute(  # type: ignore[misc]
                insert(charges).values(row | {"provider": "fake", "refund_since": now - ago})
            )
        )
    metrics = Metrics("pay")
    Instruments(metrics, till.database)
    told = re.findall(
        r'^orders_money_going_back{age="(\w+)",currency="(\w+)"} (\S+)', metrics.render().decode(), re.MULTILINE
    )
    assert sorted(told) == [
        ("days", "EUR", "9.0"), ("hours", "JPY", "800.0"), ("minutes", "EUR", "570.0"), ("minutes", "other", "7.0")
    ]  # fmt: skip


def test_charges_are_counted_by_why_they_go_back(till: Till) -> None:
    """What pays its order, what is of another amount, and what is late; each once, however often it is told."""
    till.owe(1, 2)
    till.hear(success("c1", 1, 499))
    till.hear(success("c2", 1), success("c3", 1))
    till.release(2)
    till.hear(success("c4", 2))
    till.hear(replace(success("c4", 2), event_id="again"))
    counted = Counter[str]()
    for tally in till.tallies:
        counted.update(tally.charges)
    assert counted == Counter({"other-amount": 1, PAYS: 1, "double": 1, "late": 1})
