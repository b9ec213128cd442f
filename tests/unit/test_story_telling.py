"""Stories as they are told from real timelines: steps, lanes, gaps, sentence and witnesses."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from common.errors import PeerUnavailable
from console.story import Agree, Mood, StoryError, draw, tell
from halfmessage.errors import BrokerError
from halfmessage.participant.event import OrderEvent
from order.service.ordering import Request
from order.service.submitting import Submitted
from tests.fakes import Shop
from tests.stories import AT, ID, agreed, entry, half, order_row, story_of, told

OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 10)
        yield shop


def test_an_order_that_stands(shop: Shop) -> None:
    """It says until when it can be paid; all witnesses agree; each step is between the right lanes."""
    order = shop.order({1: 1})
    story = story_of(shop, order.order_id)
    assert (story.status, story.mood, story.next_at) == ("created", Mood.WAITING, order.expires_at)
    assert "not paid yet; unless it is paid before, it is closed by its timeout at " in story.sentence
    agree, says = agreed(story, "Does the order stand?")
    assert agree is Agree.YES
    assert says["broker"] == "half message dropped: it stands"
    assert [lane.key for lane in story.lanes] == ["client", "order", "database", "broker", "stock"]
    ways = {(step.event, step.begins, step.ends) for step in story.steps}
    assert {
        ("order requested", "client", "order"),
        ("half message sent", "order", "broker"),
        ("stock deducted", "order", "stock"),
        ("local transaction committed", "order", "database"),
    } <= ways
    assert [step.number for step in story.steps] == list(range(1, len(story.steps) + 1))


def test_an_order_that_was_submitted(shop: Shop) -> None:
    """Its story begins when its client asked for it to be placed soon, and tells when it was."""
    (taken,) = shop.submitting.take_in([Request("ann", {1: 1}, None, None)])
    assert isinstance(taken, Submitted)
    found = taken.request
    shop.working_off.handle([OrderEvent(tx_id=found.tx_id, order_ids=(found.request_id,))])
    order_id = shop.requests.get(found.request_id, owner="ann").order_id
    assert order_id is not None
    story = story_of(shop, order_id)
    assert story.status == "created"
    told = {step.event: (step.begins, step.ends, step.label, step.detail) for step in story.steps}
    about = f"order request {found.request_id}"
    assert told["order submitted"] == ("client", "order", "order submitted, to be placed soon", about)
    assert told["order request decided"] == ("order", "database", "order request created", about)


def test_a_cancelled_order(shop: Shop) -> None:
    """Nothing is left to happen, and no participant holds anything."""
    order = shop.order({1: 1})
    shop.closing.cancel(order.order_id, owner="ann")
    shop.quiet()
    story = story_of(shop, order.order_id)
    assert (story.status, story.mood, story.next_at) == ("closed", Mood.ENDED, None)
    assert "because it was cancelled; what it held is given back, and nothing is left to happen." in story.sentence
    assert agreed(story, "Is nothing held")[0] is Agree.YES


def test_an_order_whose_process_died(shop: Shop) -> None:
    """That its transaction was not there in time is told, by which check-back, and that its pieces are back."""
    shop.ids.age = OLD
    shop.faults.hooks["deduct"] = shop.check_back
    with pytest.raises(Exception, match="given up"):
        shop.order({1: 1})
    shop.quiet()
    order_id = int(shop.console.find(topic="order_rollback")[0].message.keys[0])
    story = story_of(shop, order_id)
    assert (story.status, story.mood) == ("none", Mood.ENDED)
    assert story.sentence.startswith("The order never came to be: nothing had been written by its deadline")
    assert story.sentence.endswith("and nothing is left to happen.")
    assert agreed(story, "Does the order stand?")[0] is Agree.YES


def test_a_participant_that_does_not_answer(shop: Shop) -> None:
    """It is said to be silent; nothing is made up in its place, nor does it contradict any other."""
    order = shop.order({1: 1})
    shop.faults.plan("reservation", PeerUnavailable())
    story = story_of(shop, order.order_id)
    assert story.sentence.endswith("; what stock would say is not known, as there was no answer.")
    agree, says = agreed(story, "Does the order stand?")
    assert (agree, says["stock"]) == (Agree.UNKNOWN, "does not answer")
    (step,) = [step for step in story.steps if step.source == "stock"]
    assert (step.at, step.known) == (None, False)


def test_a_broker_that_does_not_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of messages nothing is said but that."""
    order = shop.order({1: 1})

    def down(**_: object) -> None:
        raise BrokerError

    monkeypatch.setattr(shop.console, "find", down)
    story = story_of(shop, order.order_id)
    assert "what broker would say is not known" in story.sentence
    assert agreed(story, "Does the order stand?")[1]["broker"] == "does not answer"


def test_idle_time_is_told_with_its_length_and_what_was_open() -> None:
    """A gap is a length between two times that are known; a time that is not known makes none."""
    story = told(
        half(state="done"),
        entry("stock deducted", "stock", 400, items=[{"goods_id": "1", "quantity": 2}]),
        entry("check-back 1: unknown", "broker", 2_700, message_id="M1", check=1, answer="unknown"),
        entry("half message resolved: commit", "broker", 2_710, message_id="M1", resolution="commit"),
        entry("deduction", "coupon", None, known=False, reason="no answer"),
    )
    (gap,) = story.gaps
    assert (gap.before, gap.ms, gap.note) == (3, 2_300, "nothing on record for 2.3 s: placing was not decided")


def test_the_receiver_is_no_part_of_a_story() -> None:
    """Who gets the goods, and where, is not for those who are shown what happened."""
    receiver = {"name": "Ann Example", "phone": "+44 20 7946 0000", "address": "1 High Street"}
    story = told(order=order_row(receiver=receiver))
    assert "Ann Example" not in repr(story.order)
    assert "receiver" not in (story.order or {})


@pytest.mark.parametrize(
    "entries",
    [
        ["text"],
        [{"event": 1, "source": "x", "at": None, "known": True, "evidence": {}}],
        [{"event": "x", "source": "x", "at": "yesterday", "known": True, "evidence": {}}],
        [{"event": "x", "source": "x", "at": "2026-01-01T00:00:00", "known": True, "evidence": {}}],
        [{"event": "x", "source": "x", "at": 5, "known": True, "evidence": {}}],
        [{"event": "x", "source": "x", "at": None, "known": True, "evidence": []}],
        [entry("x", "x")] * 10_001,
        [entry("x", f"source {number}") for number in range(33)],
    ],
)
def test_what_is_no_timeline_is_refused(entries: list[object]) -> None:
    """So is one of more entries, or lanes, than are drawn."""
    with pytest.raises(StoryError):
        tell(None, entries, order_id=ID, now_ms=AT)  # type: ignore[arg-type]
    with pytest.raises(StoryError, match="status"):
        tell({}, [], order_id=ID, now_ms=AT)


def test_the_picture_has_every_step_in_order_each_with_a_name_and_a_link(shop: Shop) -> None:
    """A screen reader gets them one after the other."""
    story = story_of(shop, shop.order({1: 1}).order_id)
    picture = draw(story)
    places = [picture.index(f'href="#step-{step.number}" aria-label="Step {step.number}, ') for step in story.steps]
    assert places == sorted(places)
    assert picture.startswith("<svg ")


def test_which_process_answered_and_was_given_a_message_is_told_where_the_broker_knows() -> None:
    """RocketMQ does not: then nothing is said of it."""
    about = {"message_id": "M1", "topic": "order_rollback"}
    group = about | {"group": "stock", "deliveries": 2, "state": "done"}
    known = told(
        half(state="done"),
        entry("check-back 1: commit", "broker", 10, check=1, answer="commit", pid=4711, **about),
        entry("rollback handled", "broker", 20, pid=4712, **group),
        entry("rollback handled", "broker", 21, **(group | {"group": "coupon", "deliveries": 1, "pid": 4713})),
    )
    assert [step.detail for step in known.steps[1:]] == [
        "answered by process 4711",
        "delivered 2 times; last by process 4712",
        "by process 4713",
    ]
    unknown = told(
        half(state="done"),
        entry("check-back 1: commit", "broker", 10, check=1, answer="commit", **about),
        entry("rollback handled", "broker", 20, **(group | {"deliveries": 1})),
    )
    assert [step.detail for step in unknown.steps[1:]] == ["", ""]


def _purchase(after: int = 0, **more: Any) -> dict[str, Any]:
    properties = {"tx_id": "70", "deliver_if": "committed", "sale_id": "5"}
    return half("buying", after, "P1", topic="flash_purchase", properties=properties, **more)


def _bought(*, checked: bool = False) -> list[dict[str, Any]]:
    """Return the entries of an order that was bought in a sale."""
    about = {"sale_id": "5", "purchase_id": "6"}
    asked = entry("check-back 1: commit", "broker", 20, message_id="P1", check=1, answer="commit")
    return [
        entry("purchase begun", "flash", 0, **about),
        _purchase(2, state="done"),
        entry("purchase taken", "flash", 20, **about, quantity=2, tx_id="70"),
        *([asked] if checked else []),
        entry("half message resolved: commit", "broker", 20, message_id="P1", resolution="commit"),
        entry("purchase answered", "flash", 20, purchase_id="6", status=202),
        entry("order requested", "order", 30),
        entry("flash deducted", "flash", 31, **about, quantity=2),
        entry("purchase placed", "order", 32, **about, state="created"),
    ]


def test_an_order_that_was_bought_in_a_sale() -> None:
    """Its buyer, the sale, the message that is kept back until the pieces are taken, then the 202, and its order."""
    story = told(*_bought(), order=order_row(sale_id="5", purchase_id="6"))
    ways = [(step.begins, step.ends, step.label) for step in story.steps]
    assert ways == [
        ("client", "flash", "buys in flash sale 5"),
        ("flash", "broker", "half message flash_purchase: kept back until buying has ended"),
        ("flash", "flash", "its pieces are taken, at the latest now"),
        ("flash", "broker", "buying stands: the purchase message goes out"),
        ("flash", "client", "from now on the buyer is told: 202, taken in"),
        ("client", "order", "order requested"),
        ("order", "flash", "reserved at flash"),
        ("order", "database", "purchase created"),
    ]
    assert story.steps[6].detail == "2 of sale 5 by purchase 6"
    assert [lane.key for lane in story.lanes] == ["client", "order", "database", "broker", "flash"]
    assert story.mood is Mood.WAITING
    assert "not paid yet" in story.sentence


def test_how_buying_ended_may_be_open_still() -> None:
    """The message came, so the order is there, but the broker has not kept that it did; flash is asked, not order."""
    story = told(_purchase(), entry("order requested", "order", 30), order=order_row())
    assert "The purchase has its order, but that it took its pieces the broker has not heard yet" in story.sentence
    assert "asks flash" in story.sentence


def test_a_purchase_s_message_gives_nothing_back() -> None:
    """Of a closed order that still holds pieces it is not the purchase's message that is waited for."""
    closed = entry("order closed", "order", 40, close_reason="cancelled")
    story = told(*_bought(), closed, order=order_row("closed", close_reason="cancelled"))
    assert "which the sweep gives back" in story.sentence


def test_a_participant_that_holds_nothing_is_not_said_to_be_unknown() -> None:
    """It answered: nothing so far. One that did not answer is drawn as not known."""
    nothing = entry("deduction", "coupon", None, known=False, reason="coupon has no reservation")
    silent = entry("deduction", "stock", None, known=False, reason="stock did not answer")
    labels = {step.begins: (step.label, step.tone.value) for step in told(nothing, silent).steps}
    assert labels == {
        "coupon": ("nothing is reserved at coupon", "plain"),
        "stock": ("what stock holds: not known", "wait"),
    }
