"""The sentence: why an order is where it is, what happens next and when; nothing that no witness knows."""

import pytest

from console.story import Agree, Mood, Story
from halfmessage.clock import rfc3339
from tests.stories import AT, agreed, entry, half, order_row, told

NOW = 60_000  # ms after `AT`
SOON = rfc3339(AT + NOW + 5_000)
AT_SOON = "at 20:27:45 UTC"
PLACED = (
    entry("order requested", "order"),
    half(after=1, state="done"),
    entry("stock deducted", "stock", 4),
    entry("local transaction committed", "order", 6, tx_id="77", transaction="placing", order_written=True),
    entry("half message resolved: rollback", "broker", 8, message_id="M1", resolution="rollback"),
)
UNDECIDED = entry("local transaction", "order", None, known=False, tx_id="77", transaction="placing", reason="none")
ABORTED = entry("local transaction aborted", "order", 30, tx_id="77", transaction="placing", order_written=False)
CLOSING = (
    half("closing", 20_000, "M2", "88", state="ready"),
    entry("local transaction committed", "order", 20_001, tx_id="88", transaction="closing"),
    entry("half message resolved: commit", "broker", 20_002, message_id="M2", resolution="commit"),
    entry("order closed", "order", 20_001, close_reason="timeout"),
)
CLOSED = order_row("closed", close_reason="timeout", closed_at=rfc3339(AT + 20_001))
PARKED = entry("half message parked", "broker", None, message_id="M1", checks=15)


def group(event: str, name: str, deliveries: int, after: int | None, **more: object) -> dict[str, object]:
    about = {"message_id": "M2", "topic": "order_rollback", "group": name, "deliveries": deliveries}
    return entry(event, "broker", after, **(about | more))


def says(story: Story, *parts: str) -> None:
    """Hold that the sentence has these parts, and is one."""
    for part in parts:
        assert part in story.sentence
    assert story.sentence.endswith(".")
    assert story.sentence.count(". ") == 0
    assert "soon" not in story.sentence.replace("as soon as", "")


def test_a_half_message_that_is_open_is_asked_about_at_a_time_that_is_told() -> None:
    """No witness has said how placing ended; what is held comes back if it is not done."""
    story = told(half(next_check_at=SOON, check_count=2), entry("stock deducted", "stock", 4), UNDECIDED)
    says(story, "Placing has begun but is not decided: the broker (asked 2 times so far) asks the order service again "
         + AT_SOON, "past its deadline it is given up, and what stock holds is given back")  # fmt: skip
    assert (story.mood, story.next_at) == (Mood.WAITING, AT + NOW + 5_000)
    assert agreed(story, "Does the order stand?")[0] is Agree.UNKNOWN


def test_when_the_broker_asks_is_not_made_up() -> None:
    """Where it does not tell, that is said; where it was due and no process is there, that is said."""
    untold = told(half(), UNDECIDED)
    says(untold, "the broker asks the order service at a time that it does not tell")
    assert untold.next_at is None
    overdue = told(half(next_check_at=rfc3339(AT + 1_000)), UNDECIDED)
    says(overdue, "as soon as one of its processes is there (it was due at 20:26:41 UTC)")
    assert overdue.next_at is None


@pytest.mark.parametrize(
    ("purpose", "record", "expected"),
    [
        ("placing", "committed", "The order is written, but the broker has not heard so yet: "),
        ("placing", "aborted", "Placing was given up, but the broker has not heard so yet: "),
        ("closing", "committed", "The order is closed, but the broker has not heard so yet: "),
        ("closing", "aborted", "Closing was given up, but the broker has not heard so yet: "),
    ],
)
def test_a_half_message_that_is_decided_but_open(purpose: str, record: str, expected: str) -> None:
    """What stands is told by the record, which the broker has still to hear of."""
    decided = entry(f"local transaction {record}", "order", 5, tx_id="77", transaction=purpose)
    order = None if (purpose, record) == ("placing", "aborted") else order_row()
    says(told(half(purpose, next_check_at=SOON), decided, order=order), expected, AT_SOON)


def test_closing_or_paying_that_is_not_decided() -> None:
    """Which of them it is is told."""
    says(told(*PLACED, half("closing", 9, "M2", "88"), order=order_row()), "Closing has begun but is not decided")
    paying = half("paying", 9, "M3", "99", topic="payment_succeeded")
    says(told(*PLACED, paying, order=order_row()), "Pay has begun to tell that the order is paid", "asks pay")


def test_a_parked_half_message_waits_for_an_operator() -> None:
    """It does not go on by itself, ever: no time is told, but what to do is; the sweep gives back what is held."""
    story = told(half(state="parked"), PARKED, entry("stock deducted", "stock", 4), UNDECIDED)
    says(story, "Stuck: the broker asked 15 times how placing ended", "only when an operator resumes it "
         "(./scripts/messages resume M1), and meanwhile the sweep gives back what stock holds.")  # fmt: skip
    assert (story.mood, story.next_at) == (Mood.STUCK, None)
    assert "parked" in agreed(story, "Does the order stand?")[1]["broker"]


def test_a_dead_letter_waits_for_an_operator() -> None:
    """Who did not handle it, how often it was tried, and how it is delivered again."""
    dead = group("rollback dead-lettered", "stock", 16, 50_000)
    story = told(*PLACED, *CLOSING, dead, order=CLOSED)
    says(story, "Stuck: stock was given the rollback message 16 times without handling it",
         "only when an operator resends it (./scripts/messages resend M2)",
         "meanwhile the sweep gives back what stock holds")  # fmt: skip
    assert story.mood is Mood.STUCK
    released = entry("stock released", "stock", 55_000)
    assert "meanwhile" not in told(*PLACED, *CLOSING, dead, released, order=CLOSED).sentence


def test_a_rollback_that_is_delivered_again() -> None:
    """At the time that the broker tells, if it tells one."""
    waiting = group("rollback delivered, not handled yet", "stock", 3, None, next_delivery_at=SOON)
    story = told(*PLACED, *CLOSING, waiting, order=CLOSED)
    says(story, "Closed at 20:27:00 UTC, because it was not paid in time; stock still holds something for it: stock "
         f"was given the rollback 3 times, and is given it again {AT_SOON} unless it is handled before.")  # fmt: skip
    assert story.next_at == AT + NOW + 5_000
    untold = group("rollback delivered, not handled yet", "stock", 3, None)
    says(told(*PLACED, *CLOSING, untold, order=CLOSED), "at a time that the broker does not tell")


def test_what_is_held_without_a_message_is_given_back_by_the_sweep() -> None:
    """There is nothing else that would; with a message under way, it is either."""
    says(told(*PLACED, order=CLOSED), "stock still holds something for it, which the sweep gives back.")
    says(told(*PLACED, *CLOSING, order=CLOSED), "until they handle the rollback, or the sweep gives it back.")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((entry("timeout scheduled", "broker", 2),), "its timeout is to be handled; should it be lost, the sweep"),
        ((), "no timeout message is under way, so the sweep closes it."),
        ((entry("timeout scheduled", "broker", 2),
          group("timeout delivered, not handled yet", "order", 2, None, next_delivery_at=SOON)),
         f"order was given its timeout 2 times, and is given it again {AT_SOON}"),
        ((entry("timeout scheduled", "broker", 2), group("timeout handled", "order", 1, 40_000)),
         "no timeout message is under way, so the sweep closes it."),
    ],
)  # fmt: skip
def test_an_order_that_is_overdue(entries: tuple[dict[str, object], ...], expected: str) -> None:
    """It is not said to wait until a time that is over."""
    story = told(*PLACED, *entries, order=order_row(expires_at=rfc3339(AT + 30_000)))
    says(story, "Not paid, and due to be closed at 20:27:10 UTC: ", expected)
    assert story.mood is Mood.WAITING


def test_an_order_that_can_be_paid() -> None:
    """Until when, and what its customer last tried; another day is named."""
    says(told(*PLACED, order=order_row()), "The order stands and is not paid yet; unless it is paid before, it is "
         "closed by its timeout at 20:41:40 UTC.")  # fmt: skip
    attempt = entry("payment attempt", "pay", 9, provider="sandbox", status="open")
    says(told(*PLACED, attempt, order=order_row()), "(its customer is to pay at sandbox)")
    refused = entry("payment attempt", "pay", 9, provider="sandbox", status="over", refusal="no")
    says(told(*PLACED, refused, order=order_row()), "(sandbox refused the last try to pay it)")
    says(told(*PLACED, order=order_row(expires_at="2026-06-01T00:00:00.000Z")), "at 2026-06-01 00:00:00 UTC.")
    unknown = told(*PLACED, order=order_row(expires_at=None))
    says(unknown, "until when it can be is not known")


def test_money_that_has_come_and_is_not_told_yet() -> None:
    """Pay has it, or has only stored what was said of it."""
    paid = order_row(payment={"status": "succeeded"})
    says(
        told(*PLACED, order=paid), "The money has come, but the order has not heard of it yet: pay's message is on its"
    )
    again = group("payment delivered, not handled yet", "order_payment_succeeded", 2, None, next_delivery_at=SOON)
    says(told(*PLACED, again, order=paid), "order was given pay's message 2 times", AT_SOON)
    stored = entry("payment event handled", "pay", None, known=False, event_id="e1", reason="stored")
    says(told(*PLACED, stored, order=order_row()), "a provider has said something, which pay stored and handles")


def test_a_refund_that_the_provider_refuses() -> None:
    """It is asked again; an operator is told to look."""
    released = entry("stock released", "stock", 25_000)
    going = entry("money to be sent back", "pay", None, known=False, status="refused", reason="late")
    story = told(*PLACED, *CLOSING, released, going, order=CLOSED)
    says(story, "the provider refused to send its money back (late)", "so an operator should ask the provider.")
    assert story.mood is Mood.STUCK
    asked = entry("money to be sent back", "pay", None, known=False, status="refunding", reason="late")
    says(told(*PLACED, *CLOSING, released, asked, order=CLOSED), "its money has still to go back (late): pay asks")
    back = entry("money sent back", "pay", 30_000, amount=250, currency="EUR")
    says(told(*PLACED, *CLOSING, released, back, order=CLOSED), "money that came for it went back, and nothing is left")


def test_an_order_that_is_paid() -> None:
    """When and through whom, and that nothing is left to happen."""
    paid = entry("order paid", "order", 9_000, paid_through="sandbox")
    row = order_row("paid", paid_at=rfc3339(AT + 9_000), payment={"status": "succeeded"})
    story = told(*PLACED, paid, order=row)
    says(story, "Paid at 20:26:49 UTC through sandbox; it keeps what it holds, and nothing is left to happen.")
    assert (story.mood, agreed(story, "Is it paid?")[0]) == (Mood.ENDED, Agree.YES)
    says(told(*PLACED, paid, order=row | {"payment": {"status": "refunded"}}), "its money went back later")


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ((half(state="done"), ABORTED, entry("check-back 2: commit", "broker", 29, message_id="M1", check=2,
          answer="commit")), "so check-back 2 gave it up at 20:26:40 UTC; nothing was reserved, and nothing is left"),
        ((half(state="done"), ABORTED), "nothing had been written by its deadline (its process died, or was too slow)"),
        ((entry("local transaction committed", "order", 9, transaction="placing", order_written=False),),
         "it was refused, and dropped out of its batch"),
        ((half(state="done"), UNDECIDED), "it was refused, or failed, before anything was written"),
    ],
)  # fmt: skip
def test_an_order_that_never_came_to_be(entries: tuple[dict[str, object], ...], why: str) -> None:
    """Why not, as far as that is known; and that nothing is left of it."""
    resolved = entry("half message resolved: commit", "broker", 31, message_id="M1", resolution="commit")
    story = told(*entries, resolved, entry("deduction", "stock", None, known=False, reason="stock has no reservation"))
    says(story, "The order never came to be: ", why)
    assert (story.status, story.mood) == ("none", Mood.ENDED)


def test_witnesses_that_contradict_each_other_are_the_first_thing_told() -> None:
    """Whatever else there is to say: a paid order whose stock was given back is wrong."""
    row = order_row("paid", paid_at=rfc3339(AT + 9_000), payment={"status": "succeeded"})
    story = told(*PLACED, entry("stock released", "stock", 9_500), order=row)
    assert story.sentence.startswith("Wrong: the witnesses contradict each other (order's row: paid; ")
    assert "stock: held its part, and gave it back" in story.sentence
    assert "./scripts/reconcile" in story.sentence
    assert (story.mood, agreed(story, "Does the order stand?")[0]) == (Mood.WRONG, Agree.NO)


@pytest.mark.parametrize(
    ("entries", "order"),
    [
        ((*PLACED, entry("stock released", "stock", 9)), order_row()),
        ((*PLACED[:2], *PLACED[3:], entry("deduction", "stock", None, known=False, reason="stock has no reservation")),
         order_row()),
        ((*PLACED, *CLOSING, group("rollback handled", "stock", 1, 21_000)), CLOSED),
        ((*PLACED, entry("provider's poll: succeeded", "pay", 9)),
         order_row("paid", payment={"status": "closed"})),
        ((*PLACED[:3], ABORTED), order_row()),
        ((*PLACED[:4], entry("half message resolved: commit", "broker", 8, message_id="M1", resolution="commit")),
         order_row()),
    ],
    ids=["released", "nothing reserved", "handled and still held", "paid by a closed payment", "aborted", "delivered"],
)  # fmt: skip
def test_contradictions(entries: tuple[dict[str, object], ...], order: dict[str, object]) -> None:
    """Each breaks the promise; no one may be taken for something that is still under way."""
    assert told(*entries, order=order).mood is Mood.WRONG


@pytest.mark.parametrize(
    ("entries", "order"),
    [
        ((*PLACED, entry("stock released", "stock", 9), half("closing", 8, "M2", "88")), order_row()),
        ((*PLACED, *CLOSING, entry("stock released", "stock", 9)), order_row()),
        ((*PLACED, *CLOSING, entry("deduction", "stock", None, known=False, reason="no answer")), CLOSED),
        ((*PLACED, *CLOSING, entry("stock released", "stock", 9)), None),
    ],
    ids=["closing begins", "order read before, timeline after", "silent", "order read before it was there"],
)  # fmt: skip
def test_what_was_read_at_different_moments_is_no_contradiction(
    entries: tuple[dict[str, object], ...], order: dict[str, object] | None
) -> None:
    """An order goes on while it is looked at."""
    assert told(*entries, order=order).mood is not Mood.WRONG


def test_a_status_that_is_not_known_here() -> None:
    """It is said, and nothing is made up about it."""
    story = told(*PLACED, order=order_row("exchanged"))
    says(story, "The order is exchanged, which is no state that is known here")
    assert story.mood is Mood.UNKNOWN


RETURNED = (
    *PLACED,
    entry("payment attempt", "pay", 8_000, provider="sandbox", status="over"),
    entry("order paid", "order", 9_000, paid_through="sandbox"),
    entry("order returned", "order", 20_000),
)
GAVE_BACK = entry("stock released", "stock", 20_100)


def test_a_returned_order_waits_for_what_goes_back() -> None:
    """Pieces first, then money; then nothing is left to happen, and no sentence says that it is paid."""
    holds = told(*RETURNED, order=order_row("returned", paid_at=rfc3339(AT + 9_000)))
    says(holds, "Returned at 20:27:00 UTC", "its return tells until it is done that what stock holds has to go back")
    going = told(*RETURNED, GAVE_BACK, order=order_row("returned", payment={"status": "refunding"}))
    says(going, "that its money has to go back")
    back = told(*RETURNED, GAVE_BACK, order=order_row("returned", payment={"status": "refunded"}))
    says(back, "what it held is given back, and nothing is left to happen")
    assert [story.mood for story in (holds, going, back)] == [Mood.WAITING, Mood.WAITING, Mood.ENDED]
    assert agreed(back, "Did the order stand before it was returned?")[0] is Agree.YES
    assert agreed(back, "Is nothing held for it any more?") == (
        Agree.YES, {"order's row": "returned: nothing may be held", "stock": "gave it back"},
    )  # fmt: skip
    assert agreed(back, "Is it paid?") == (
        Agree.YES, {"order's row": "not paid: returned", "payment": "money went back"},
    )  # fmt: skip
