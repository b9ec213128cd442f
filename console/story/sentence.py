"""Why an order is where it is, what happens next, and when: in one sentence.

The rules are asked in this order, the most pressing first; the first that has something to say is told. A time is told
where a witness knows it; where the broker or a provider does not tell, that is what the sentence says.
"""

from collections.abc import Callable, Sequence

from console.story import undecided
from console.story.model import Agree, Agreement, Mood
from console.story.reading import Delivery, Facts, Held
from console.story.saying import Sentence, comes_again, money_going, waits_for_rollback
from console.story.words import names, plain, times, verb, when


def sentence_of(facts: Facts, witnesses: Sequence[Agreement]) -> Sentence:
    """Return the sentence of an order; who did not answer is told in it."""
    found = _disagreement(witnesses) or next(filter(None, (rule(facts) for rule in _RULES)), None)
    if found is None:
        found = Sentence(f"The order is {plain(facts.status)}, which is no state that is known here.", Mood.UNKNOWN)
    if not facts.silent:
        return found
    silent = f"what {names(facts.silent)} would say is not known, as there was no answer"
    mood = Mood.UNKNOWN if found.mood is Mood.ENDED else found.mood
    return Sentence(f"{found.text.removesuffix('.')}; {silent}.", mood, found.next_at)


def _disagreement(witnesses: Sequence[Agreement]) -> Sentence | None:
    for one in witnesses:
        if one.agree is Agree.NO:
            told = "; ".join(f"{say.witness}: {say.words}" for say in one.says)
            text = (
                f"Wrong: the witnesses contradict each other ({told}), so compare and repair with ./scripts/reconcile."
            )
            return Sentence(text, Mood.WRONG)
    return None


def _never(facts: Facts) -> Sentence | None:
    """Tell of an order that does not exist."""
    if facts.exists:
        return None
    why = f"The order never came to be: {_why_not(facts)}"
    return waits_for_rollback(facts, why) or money_going(facts, why) or _nothing_left(facts, why)


def _why_not(facts: Facts) -> str:
    half = next((one for one in facts.halves if one.purpose == "placing"), None)
    record = facts.record_of("placing")
    if record == "committed":
        return "it was refused, and dropped out of its batch"
    decided = next((check for check in half.checks if check.get("answer") == "commit"), None) if half else None
    if decided is not None and decided.at is not None:
        number = plain(decided.get("check"))
        return (
            f"nothing had been written by its deadline (its process died, or was too slow), "
            f"so check-back {number} gave it up {when(decided.at, facts.now_ms)}"
        )
    if record == "aborted":
        return "nothing had been written by its deadline (its process died, or was too slow), so it was given up"
    return "it was refused, or failed, before anything was written"


def _nothing_left(facts: Facts, why: str) -> Sentence:
    gave = [one.name for one in facts.holdings if one.state is Held.RELEASED]
    if not facts.holdings and facts.silent:
        return Sentence(f"{why}.", Mood.UNKNOWN)
    back = f"{names(gave)} gave back what was reserved" if gave else "nothing was reserved"
    return Sentence(f"{why}; {back}, and nothing is left to happen.", Mood.ENDED)


def _created(facts: Facts) -> Sentence | None:
    if facts.status != "created":
        return None
    if facts.payment == "succeeded":
        return _told_of_payment(facts)
    if any(entry.event == "payment event handled" and not entry.known for entry in facts.entries):
        text = "The order is not paid yet, but a provider has said something, which pay stored and handles until done."
        return Sentence(text, Mood.WAITING)
    expires = _expires(facts)
    if expires is None:
        return Sentence("The order stands and is not paid; until when it can be is not known.", Mood.UNKNOWN)
    if expires > facts.now_ms:
        closes = f"unless it is paid before, it is closed by its timeout {when(expires, facts.now_ms)}"
        return Sentence(f"The order stands and is not paid yet{_trying(facts)}; {closes}.", Mood.WAITING, expires)
    return _overdue(facts, f"Not paid, and due to be closed {when(expires, facts.now_ms)}")


def _expires(facts: Facts) -> int | None:
    requested = facts.last("order requested")
    return facts.order_time("expires_at") or (None if requested is None else requested.time("expires_at"))


def _trying(facts: Facts) -> str:
    attempt = facts.last("payment attempt")
    if attempt is None:
        return ""
    provider = plain(attempt.get("provider"))
    if attempt.get("refusal") is not None:
        return f" ({provider} refused the last try to pay it)"
    return f" (its customer is to pay at {provider})" if attempt.get("status") == "open" else ""


def _overdue(facts: Facts, due: str) -> Sentence:
    delivery = facts.delivery("timeout", "order")
    if delivery is not None and delivery.state == "under way":
        again, next_at = comes_again(delivery, facts.now_ms)
        return Sentence(f"{due}: order was given its timeout {_count(delivery)}, {again}.", Mood.WAITING, next_at)
    if facts.last("timeout scheduled") is None or delivery is not None:
        return Sentence(f"{due}: no timeout message is under way, so the sweep closes it.", Mood.WAITING)
    return Sentence(f"{due}: its timeout is to be handled; should it be lost, the sweep closes it.", Mood.WAITING)


def _told_of_payment(facts: Facts) -> Sentence:
    come = "The money has come, but the order has not heard of it yet"
    delivery = next((one for one in reversed(facts.deliveries) if one.what == "payment"), None)
    if delivery is None or delivery.state != "under way":
        return Sentence(f"{come}: pay's message is on its way.", Mood.WAITING)
    again, next_at = comes_again(delivery, facts.now_ms)
    return Sentence(f"{come}: order was given pay's message {_count(delivery)}, {again}.", Mood.WAITING, next_at)


def _count(delivery: Delivery) -> str:
    return times(delivery.deliveries)


def _closed(facts: Facts) -> Sentence | None:
    if facts.status != "closed":
        return None
    closed = facts.last("order closed")
    reason = (facts.order or {}).get("close_reason") or (None if closed is None else closed.get("close_reason"))
    because = {"timeout": "it was not paid in time", "cancelled": "it was cancelled"}.get(str(reason), plain(reason))
    at = facts.order_time("closed_at") or (None if closed is None else closed.at)
    why = f"Closed{_at(at, facts)}, because {because}"
    waiting = waits_for_rollback(facts, why) or money_going(facts, why)
    if waiting is not None:
        return waiting
    late = ", money that came for it went back" if facts.last("money sent back") else ""
    return Sentence(f"{why}; what it held is given back{late}, and nothing is left to happen.", Mood.ENDED)


def _paid(facts: Facts) -> Sentence | None:
    if facts.status != "paid":
        return None
    paid = facts.last("order paid")
    through = None if paid is None else paid.get("paid_through")
    at = facts.order_time("paid_at") or (None if paid is None else paid.at)
    why = f"Paid{_at(at, facts)}{'' if through is None else f' through {plain(through)}'}"
    if facts.payment == "refunded":
        return Sentence(f"{why}; its money went back later, and nothing is left to happen.", Mood.ENDED)
    return money_going(facts, why) or Sentence(
        f"{why}; it keeps what it holds, and nothing is left to happen.", Mood.ENDED
    )


def _returned(facts: Facts) -> Sentence | None:
    if facts.status != "returned":
        return None
    returned = facts.last("order returned")
    why = f"Returned{_at(None if returned is None else returned.at, facts)}"
    going = money_going(facts, why)
    if going is not None:
        return going
    if facts.still_held or facts.payment in {"succeeded", "refunding"}:
        held = facts.still_held
        what = f"what {names(held)} {verb(held, 'hold')}" if held else "its money"
        return Sentence(f"{why}; its return tells until it is done that {what} has to go back.", Mood.WAITING)
    return Sentence(f"{why}; what it held is given back, and nothing is left to happen.", Mood.ENDED)


def _at(ms: int | None, facts: Facts) -> str:
    return "" if ms is None else f" {when(ms, facts.now_ms)}"


_RULES: Sequence[Callable[[Facts], Sentence | None]] = (
    undecided.dead,
    undecided.parked,
    undecided.half_open,
    _never,
    _created,
    _closed,
    _returned,
    _paid,
)
