"""Tries of which nothing is heard are asked about, closed, and begun again; in growing distances, so many a second."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from halfmessage.clock import now_ms
from pay.model import CLAIMED_FOR, attempts
from pay.providers.port import Kind, ProviderUnavailable
from pay.service import polling
from pay.service.claims import Claims, distance
from pay.service.crew import Crew
from pay.service.polling import OFTEN, Allowance
from pay.service.tries import LOOK_BACK
from tests.payments import DOWN, Till

pytestmark = pytest.mark.P7


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path)
    yield till
    till.close()


def poll(till: Till) -> int:
    """Poll, as if everything were due."""
    till.make_due()
    return till.polling.run()


def look_on(till: Till) -> None:
    """Poll for as long as a try that took the money is looked at."""
    for _ in range(6):
        poll(till)


def the_try(till: Till, order_id: int = 1) -> Any:
    (row,) = till.tries(order_id)
    return row


def test_a_callback_that_got_lost(till: Till) -> None:
    """Money that no callback told of is found, pays its order, and the try is closed at the provider."""
    till.owe(1)
    page = till.page(1)
    till.provider.take(page)
    assert till.polling.run() == 0  # it is not due yet
    assert poll(till) == 1
    assert till.state(1) == "succeeded"
    assert till.payment(1).events[0].via == "poll"
    assert poll(till) == 1
    look_on(till)
    assert till.provider.closed == [page]
    assert (the_try(till).state, the_try(till).next_poll_at) == ("over", None)
    assert poll(till) == 0


def test_a_try_that_takes_the_money_twice(till: Till) -> None:
    """After a success a try is closed and asked about once more: a second charge is found, though no callback came."""
    till.owe(1)
    page = till.page(1)
    till.hear(till.provider.take(page))
    till.provider.take(page)
    poll(till)
    assert till.charge_states() == {"c1": "kept", "c2": "refunding"}


def test_money_that_was_taken_at_once_and_twice(till: Till) -> None:
    """A try that paid at once is asked about once more, too; there is nothing to close."""
    till.owe(1)
    till.pay(1)
    till.provider.take(next(iter(till.provider.sessions)))
    assert poll(till) == 1
    assert till.charge_states() == {"c1": "kept", "c2": "refunding"}
    assert till.provider.closed == []
    assert poll(till) == 0


def test_a_question_that_failed_is_asked_again(till: Till) -> None:
    """Money was taken at once, and twice: the one look back must be answered, or the second is never heard of."""
    till.owe(1)
    till.pay(1)
    till.provider.take(the_try(till).reference)
    till.provider.faults.plan("ask", DOWN)
    poll(till)
    assert till.charge_states() == {"c1": "kept"}
    poll(till)
    assert till.charge_states() == {"c1": "kept", "c2": "refunding"}
    assert the_try(till).next_poll_at is None


def test_money_that_was_under_way_when_its_page_was_closed(till: Till) -> None:
    """It is taken after the first look, and its callback gets lost: it is looked at on for a minute."""
    till.owe(1)
    page = till.page(1)
    till.hear(till.provider.take(page))
    poll(till)
    assert till.provider.closed == [page]
    for _ in range(3):  # 5, 10 and 20 s later at most
        poll(till)
    till.provider.take(page)
    poll(till)
    assert till.charge_states() == {"c1": "kept", "c2": "refunding"}


@pytest.mark.parametrize("closed_by", ["closing", "another success"])
def test_open_tries_are_closed_when_the_payment_is(till: Till, closed_by: str) -> None:
    """So that no user pays late, or twice, where the provider can help it; and asked about, as long as it may not."""
    till.owe(1)
    page = till.page(1)
    if closed_by == "closing":
        till.release(1)
    else:
        till.pay(1, provider="other")
    till.polling.run()
    assert till.provider.closed == [page]
    (row,) = [row for row in till.tries(1) if row.provider == "fake"]
    assert (row.state, row.to_close, row.polls) == ("open", False, 1)
    till.provider.take(page)  # it can't
    poll(till)
    assert till.charge_states()["c1"] == "refunding"
    assert till.provider.closed.count(page) <= 2


def test_a_try_is_given_up_some_time_after_closing(till: Till) -> None:
    """Not before: money may come late, and its callback may get lost."""
    till.owe(1)
    till.page(1)
    till.release(1)
    till.polling.run()
    assert poll(till) == 1
    assert the_try(till).next_poll_at is not None
    till.database.transact(lambda connection: connection.execute(update(attempts).values(asked_until=now_ms() - 1)))
    assert poll(till) == 1
    assert the_try(till).next_poll_at is None


def absent(till: Till) -> None:
    """Have pay been down for longer than tries are asked about."""
    long_ago = now_ms() - int(3 * till.polling._pace.until * 1000)
    till.database.transact(lambda connection: connection.execute(update(attempts).values(asked_until=long_ago)))


def test_a_try_is_not_given_up_for_our_own_absence(till: Till) -> None:
    """Pay comes back after days, and the first question fails: what was taken meanwhile is heard of all the same."""
    till.owe(1)
    page = till.page(1)
    till.release(1)
    absent(till)
    till.provider.faults.plan("close", DOWN)
    till.provider.faults.plan("ask", DOWN)
    poll(till)
    poll(till)
    assert till.provider.closed == [page]
    till.provider.take(page)  # it was under way
    poll(till)
    assert till.charge_states() == {"c1": "refunding"}


def test_a_try_that_is_begun_after_our_absence_is_closed(till: Till) -> None:
    """Its answer was lost before: begun again, to hear of its money, it must not stay open at the provider unasked."""
    till.owe(1)
    till.provider.faults.plan("begin", DOWN)
    with pytest.raises(ProviderUnavailable):
        till.pay(1, "page")
    till.release(1)
    absent(till)
    poll(till)
    (page,) = till.provider.sessions
    assert till.provider.closed == []
    poll(till)
    assert till.provider.closed == [page]


def test_a_provider_that_never_answers_is_given_up(till: Till) -> None:
    """After the time, and so many questions."""
    till.owe(1)
    till.page(1)
    till.release(1)
    absent(till)
    for _ in range(OFTEN):
        till.provider.faults.plan("close", DOWN)
        till.provider.faults.plan("ask", DOWN)
        assert poll(till) == 1
        assert the_try(till).next_poll_at is not None
    till.provider.faults.plan("close", DOWN)
    till.provider.faults.plan("ask", DOWN)
    assert poll(till) == 1
    assert the_try(till).next_poll_at is None


def test_closing_that_fails_is_tried_again(till: Till) -> None:
    """Though the time for asking is over: the page would take money for ever. It is asked about all the same."""
    till.owe(1)
    page = till.page(1)
    till.hear(till.provider.take(page))
    till.provider.take(page)
    till.provider.faults.plan("close", DOWN)
    poll(till)
    assert till.charge_states() == {"c1": "kept", "c2": "refunding"}
    assert (the_try(till).to_close, the_try(till).next_poll_at is None) == (True, False)
    poll(till)
    assert till.provider.closed == [page]
    look_on(till)
    assert the_try(till).next_poll_at is None


@pytest.mark.parametrize("kind", [Kind.FAILED, Kind.EXPIRED])
def test_a_provider_that_says_no_is_asked_on_for_a_while(till: Till, kind: Kind) -> None:
    """Some take the money all the same; then it is found."""
    till.owe(1)
    page = till.page(1)
    till.provider.no(page, kind)
    poll(till)
    assert (the_try(till).state, the_try(till).refusal) == ("over", kind.value)
    till.provider.take(page)
    poll(till)
    assert till.state(1) == "succeeded"


def test_money_that_is_taken_long_after_the_provider_said_no(till: Till) -> None:
    """Its callback got lost, and the order is closed: asked on in distances that double, pay finds and returns it."""
    till.owe(1)
    page = till.page(1)
    till.hear(till.provider.no(page, Kind.FAILED))
    till.release(1)
    first = the_try(till).next_poll_at - now_ms()
    assert 0 < first <= LOOK_BACK  # however far away the next question was
    for _ in range(8):
        poll(till)
    away = the_try(till).next_poll_at - now_ms()
    assert away > 600_000 * 0.75  # beyond the longest distance of tries that are open: there are few such questions
    till.provider.take(page)
    poll(till)
    assert till.charge_states() == {"c1": "refunding"}
    assert the_try(till).next_poll_at is not None
    till.database.transact(lambda connection: connection.execute(update(attempts).values(asked_until=now_ms() - 1)))
    poll(till)
    assert the_try(till).next_poll_at is None


def test_how_a_try_ended_is_seen_though_its_event_is_known(till: Till) -> None:
    """A callback may not name the try: the poll does."""
    till.owe(1)
    page = till.page(1)
    event = till.provider.take(page)
    till.hear(replace(event, reference=None))
    assert the_try(till).state == "open"
    poll(till)
    assert the_try(till).state == "over"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_try_whose_answer_was_lost_is_begun_again(till: Till, when: str) -> None:
    """Whether the provider had heard of it or not: it is the same try, and money is taken once."""
    till.owe(1)
    till.provider.faults.plan("begin", DOWN, when)
    with pytest.raises(ProviderUnavailable):
        till.pay(1)
    assert the_try(till).reference is None
    assert poll(till) == 1
    assert till.state(1) == "succeeded"
    assert len(till.provider.taken) == 1


def test_money_of_a_try_whose_answer_was_lost_goes_back_when_it_is_late(till: Till) -> None:
    """The order was closed meanwhile."""
    till.owe(1)
    till.provider.faults.plan("begin", DOWN, "after")
    with pytest.raises(ProviderUnavailable):
        till.pay(1)
    till.release(1)
    poll(till)
    assert till.charge_states() == {"c1": "refunding"}


def test_a_provider_that_is_no_longer_configured(till: Till) -> None:
    """Its tries stay, and are asked about when it is there again."""
    till.owe(1)
    page = till.page(1)
    till.provider.take(page)
    gone = till.providers.pop("fake")
    poll(till)
    assert the_try(till).next_poll_at is not None
    till.providers["fake"] = gone
    poll(till)
    assert till.state(1) == "succeeded"


def test_what_a_provider_does_wrong_holds_up_no_other(till: Till) -> None:
    """An exception of its code is told, and the next try is asked about all the same."""
    till.owe(1, 2)
    pages = [till.page(order_id) for order_id in (1, 2)]
    for page in pages:
        till.provider.take(page)
    till.provider.faults.plan("ask", KeyError("its own"))  # type: ignore[arg-type]
    poll(till)
    assert sorted(till.state(order_id) for order_id in (1, 2)) == ["open", "succeeded"]
    poll(till)
    assert till.state(1) == till.state(2) == "succeeded"


@pytest.mark.parametrize("wrong", [{"amount": -1}, {"currency": "euro"}, {"charge_id": "c" * 129}])
def test_what_can_not_be_stored_keeps_nothing_back(till: Till, wrong: dict[str, Any]) -> None:
    """A provider's answer has an event that is none: the money beside it pays, by the last question as well."""
    till.owe(1, 2)
    for order_id in (1, 2):
        reference = till.page(order_id)
        event = till.provider.take(reference)
        till.provider.sessions[reference].events.insert(0, replace(event, event_id=f"wrong {order_id}", **wrong))
    assert [state.value for _, state, _ in till.last_question.ask([1])] == ["succeeded"]
    till.make_due()
    till.polling.run()
    assert till.state(2) == "succeeded"
    assert "wrong 1" not in till.effects()


def test_two_processes_share_the_work(till: Till) -> None:
    """What one has claimed the other leaves alone, until the claim ends."""
    till.owe(*range(1, 6))
    for order_id in range(1, 6):
        till.page(order_id)
    till.make_due()
    claims = [Claims(till.database, attempts.c.next_poll_at) for _ in range(2)]
    taken = [[row.order_id for row in claim.take(3).rows] for claim in claims]
    assert sorted(order_id for part in taken for order_id in part) == [1, 2, 3, 4, 5]
    assert claims[0].take(9).rows == []
    assert the_try(till).next_poll_at > now_ms() + (CLAIMED_FOR - 5) * 1000
    assert claims[0].take(0).rows == []


def test_so_many_calls_a_second(tmp_path: Path) -> None:
    """More than that are due: they wait, open tries before those that are over; closing counts as a call."""
    till = Till(tmp_path, per_second=2.0)
    till.owe(*range(1, 6))
    for order_id in range(1, 6):
        till.page(order_id)
    till.hear(till.provider.take(till.tries(1)[0].reference))
    assert poll(till) == 2
    assert till.provider.closed == []
    assert till.polled == 2
    till.make_due()
    assert till.polling.run() == 0
    till.close()


def test_what_was_not_used_is_not_kept() -> None:
    """After a quiet hour there is no burst; and what was used too much is waited for."""
    allowance = Allowance(5.0)
    allowance._since -= 3600
    assert allowance.left() == 5
    allowance.spend(6)
    assert allowance.left() == 0
    slow = Allowance(0.5)
    slow.spend(slow.left())
    slow._since -= 2
    assert slow.left() == 1


def test_distances_grow_up_to_the_longest() -> None:
    """Twice the last each, up to a quarter less by chance, and never an overflow."""
    for tries in range(12):
        whole = min(600.0, 5.0 * 2**tries) * 1000
        assert 0.75 * whole - 1 <= distance(5.0, 600.0, tries) <= whole
    assert distance(5.0, 600.0, 10**9) <= 600_000
    assert len({distance(5.0, 600.0, 3) for _ in range(20)}) > 1


def test_a_move_meanwhile_has_its_own_time(till: Till) -> None:
    """What is closed while a question is under way is closed at the provider at once, not after the distance."""
    till.owe(1)
    page = till.page(1)
    till.make_due()
    till.provider.faults.hooks["ask"] = lambda: till.release(1)
    till.polling.run()
    assert the_try(till).to_close
    assert till.polling.run() == 1
    assert till.provider.closed == [page]


def test_what_there_is_no_time_for_is_left() -> None:
    """It is claimed, and due again when the claim ends."""
    crew = Crew("calls", 2)
    assert crew.each(str, [1, 2, 3], within=0.0) == []
    assert sorted(crew.each(str, [1, 2, 3], within=5.0)) == [(1, "1"), (2, "2"), (3, "3")]
    crew.close()


def test_what_does_not_answer_in_time_has_failed() -> None:
    """As what fails at once: or it would be tried again with no distance, before all else."""
    crew, answer = Crew("calls", 2), threading.Event()
    assert sorted(crew.each(lambda _: answer.wait(5), [1, 2, 3], within=0.1)) == [(1, None), (2, None)]
    answer.set()
    crew.close()


def test_a_question_that_is_not_answered_in_time(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts, and the next one comes after the distance; what is said late is stored, and handled when due."""
    monkeypatch.setattr(polling, "CALLS_WITHIN", 0.1)
    till.owe(1)
    till.provider.take(till.page(1))
    answer = threading.Event()
    till.provider.faults.hooks["ask"] = lambda: answer.wait(5)
    assert poll(till) == 1
    assert (the_try(till).polls, till.state(1)) == (1, "open")
    assert the_try(till).next_poll_at <= now_ms() + 5000
    answer.set()
    till.crew.close()
    till.make_due()
    till.handling.handle_due()
    assert till.state(1) == "succeeded"


def test_questions_are_counted_by_provider_and_result(till: Till) -> None:
    """Nothing new, how a try ended, no answer, and a try that is begun again."""
    till.owe(1, 2)
    page = till.page(1)
    poll(till)
    till.provider.take(page)
    till.provider.faults.plan("ask", DOWN)
    poll(till)
    poll(till)
    till.provider.faults.plan("begin", DOWN, "before")
    with pytest.raises(ProviderUnavailable):
        till.pay(2)
    poll(till)
    results = {"nothing": 1, "unanswered": 1, "succeeded": 2, "begun": 1}
    assert till.polls == Counter({("fake", result): times for result, times in results.items()})
