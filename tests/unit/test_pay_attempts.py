"""Tries to pay: each begun once at its provider, whatever gets lost; what is said at once is handled at once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import Invalid
from halfmessage import failpoints
from halfmessage.errors import FailpointRaised, HalfMessageError
from pay.model import PaymentState, UnknownProvider
from pay.providers.port import Kind, ProviderUnavailable
from pay.service import attempts
from pay.service.attempts import Tried
from tests.fakes import BROKER_DOWN
from tests.payments import DOWN, OWED, TX, Till

pytestmark = pytest.mark.P7

PAID = Tried(1, PaymentState.SUCCEEDED, "fake")


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path)
    yield till
    till.close()


def test_paid_at_once(till: Till) -> None:
    """What the provider takes at once is stored, handled and told before the answer; again: the same, no money more."""
    till.owe(1)
    for _ in range(2):
        assert till.pay(1) == PAID
    assert len(till.provider.taken) == len(till.told()) == 1
    (event,) = till.payment(1).events
    assert (event.via, event.effect) == ("answer", "paid")


def test_an_order_of_the_release_before(till: Till) -> None:
    """It gets its payment when it is paid, under the transaction that placed it."""
    assert till.pay(1) == PAID
    assert till.reservations.get(1).tx_id == TX


def test_an_order_that_was_closed_before_it_had_a_payment(till: Till) -> None:
    """Its tombstone says so: nothing is begun."""
    till.release(1)
    assert till.pay(1) == Tried(1, PaymentState.CLOSED, "fake")
    assert till.provider.begun == []


def test_a_closed_payment_is_not_tried(till: Till) -> None:
    """Nor one whose money goes back."""
    till.owe(1, 2)
    till.pay(2)
    till.release(1, 2)
    assert till.pay(1).state == "closed"
    assert till.pay(2).state == "refunding"
    assert len(till.provider.begun) == 1


def test_what_is_owed_is_asked_for(till: Till) -> None:
    """What the payment says, whatever this call says."""
    till.owe(1)
    till.pay(1, want=replace(OWED, amount=1, currency="USD"))
    assert list(till.provider.taken.values()) == [(1, 500, "EUR")]


def test_a_provider_that_is_not_there(till: Till) -> None:
    """Nothing is made for it."""
    with pytest.raises(UnknownProvider):
        till.pay(1, provider="else")
    assert till.reservations.states([1]) == {}


def test_a_page_is_answered_again(till: Till) -> None:
    """An open try at the same provider with the same scenario is the same try; others are others."""
    till.owe(1)
    first = till.pay(1, "page")
    assert first.pay_url is not None
    assert first.pay_url.startswith("https://")
    assert till.pay(1, "page") == first
    assert till.pay(1, "other-page") != first
    assert till.pay(1, "page", provider="other").pay_url is not None
    assert len(till.provider.begun) == 2


def test_a_refused_card(till: Till) -> None:
    """The payment stays open, the answer says why; the next try is another."""
    till.owe(1)
    assert till.pay(1, "refuse") == Tried(1, PaymentState.OPEN, "fake", refusal="card declined")
    assert till.pay(1) == PAID
    assert [row.state for row in till.tries(1)] == ["over", "over"]


def test_a_scenario_that_is_none(till: Till) -> None:
    """The provider knows that it never begins: the try is over."""
    till.owe(1)
    with pytest.raises(Invalid):
        till.pay(1, "nonsense")
    (row,) = till.tries(1)
    assert (row.state, row.next_poll_at) == ("over", None)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_provider_that_does_not_answer(till: Till, when: str) -> None:
    """Whether it heard or not, the same call again is the same try: money is taken once."""
    till.owe(1)
    till.provider.faults.plan("begin", DOWN, when)
    with pytest.raises(ProviderUnavailable):
        till.pay(1)
    assert till.pay(1) == PAID
    assert len(till.provider.taken) == len(till.tries(1)) == 1


@pytest.mark.parametrize("point", ["attempt.stored", "attempt.begun", "event.stored", "success.committed"])
def test_a_fault_after_each_step(till: Till, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Whatever step it fails after, the next call ends what it began: one try, one charge."""
    hits: list[str] = []

    def fail(passed: str) -> None:
        hits.append(passed)
        if passed == point and hits.count(point) == 1:
            raise FailpointRaised

    till.owe(1)
    monkeypatch.setattr(failpoints, "hit", fail)
    with pytest.raises(HalfMessageError):
        till.pay(1)
    assert till.pay(1) == PAID
    assert len(till.provider.taken) == len(till.tries(1)) == 1


def test_a_broker_that_is_down(till: Till) -> None:
    """The money is taken and its event stored; the next call handles it, and takes no more."""
    till.owe(1)
    till.faults.plan("begin", BROKER_DOWN)
    with pytest.raises(HalfMessageError):
        till.pay(1)
    assert till.pay(1) == PAID
    assert len(till.provider.taken) == 1


def test_money_that_comes_while_the_order_is_closed(till: Till) -> None:
    """The answer says that it goes back."""
    till.owe(1)
    till.provider.faults.hooks["begin"] = lambda: till.release(1)
    assert till.pay(1) == Tried(1, PaymentState.REFUNDING, "fake")


def test_too_many_tries(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is an end, and a word for it."""
    monkeypatch.setattr(attempts, "MOST_TRIES", 2)
    till.owe(1)
    refusals = [till.pay(1, "refuse").refusal for _ in range(3)]
    assert refusals == ["card declined", "card declined", "This order was tried too often."]
    assert len(till.provider.begun) == 2


def test_the_last_question(till: Till) -> None:
    """Open tries of open payments are asked about, and what is said is handled before the answer."""
    till.owe(1, 2, 3, 4)
    pages = {order_id: till.page(order_id) for order_id in (1, 2, 3)}
    till.provider.take(pages[1])
    till.provider.take(pages[3])
    till.release(3)
    assert till.last_question.ask([1, 2, 3, 4, 5]) == [
        (1, "succeeded", "fake"), (2, "open", None), (3, "closed", None), (4, "open", None)
    ]  # fmt: skip
    assert sorted(till.provider.questions) == sorted([pages[1], pages[2]])
    assert till.payment(1).events[0].via == "poll"


def test_the_last_question_asks_about_the_newest_tries(till: Till) -> None:
    """So many of each order, so that one order can't use up the time of all."""
    till.owe(1)
    pages = [till.pay(1, f"page{n}").pay_url for n in range(5)]
    till.last_question.ask([1])
    assert sorted(till.provider.questions) == sorted(str(page).rpartition("/")[2] for page in pages[2:])


def test_the_last_question_is_not_answered(till: Till) -> None:
    """Then payments stand as they do."""
    till.owe(1)
    till.page(1)
    till.provider.faults.plan("ask", DOWN)
    assert till.last_question.ask([1]) == [(1, "open", None)]


def test_no_last_question(tmp_path: Path) -> None:
    """Where it takes no time, none is asked."""
    till = Till(tmp_path, last_question=0)
    till.owe(1)
    till.provider.take(till.page(1))
    assert till.last_question.ask([1]) == [(1, "open", None)]
    assert till.provider.questions == []
    till.close()


def test_the_last_question_ends_in_time(tmp_path: Path) -> None:
    """A provider that takes too long is not waited for; what it says then is stored, and handled as any event."""
    till = Till(tmp_path, last_question=0.05)
    till.owe(1)
    page = till.page(1)
    till.provider.take(page)
    is_asked_in_vain = till.crew_waits(till.provider)
    assert till.last_question.ask([1]) == [(1, "open", None)]
    is_asked_in_vain.set()
    till.crew.close()
    till.make_due()
    till.handling.handle_due()
    assert till.state(1) == "succeeded"
    till.close()


def test_a_no_on_the_answer_without_words(till: Till) -> None:
    """A refusal is one, though the provider says nothing more."""
    till.owe(1)
    page = till.page(1)
    till.hear(till.provider.no(page, Kind.FAILED))
    assert till.tries(1)[0].refusal == "failed"
