"""What the witnesses say of money: the order's row, the payment, and the message between them."""

from collections.abc import Iterator

from console.story.reading import Facts
from console.story.testimony import BROKER, PAYMENT, ROW, Stand, Testimony
from console.story.words import plain

_OF_MONEY = ("payment attempt", "provider's ", "payment event", "money ")
_STATES = {  # see pay.model.PaymentState
    "open": ("open: no money kept", Stand.OPEN),
    "closed": ("closed: no money kept", Stand.NO),
    "succeeded": ("money kept", Stand.YES),
    "refunding": ("money is going back", Stand.NO),
    "refunded": ("money went back", Stand.NO),
}


def was_spoken_of(facts: Facts) -> bool:
    """Say whether anybody ever tried to pay the order, or did."""
    return facts.status == "paid" or any(entry.event.startswith(_OF_MONEY) and entry.known for entry in facts.entries)


def testimonies(facts: Facts) -> Iterator[Testimony]:
    """Say who knows of money."""
    paid = facts.status == "paid"
    yield Testimony(ROW, "paid" if paid else f"not paid: {plain(facts.status)}", Stand.YES if paid else Stand.NO)
    yield _payment(facts, paid=paid)
    message = next((one for one in reversed(facts.deliveries) if one.what == "payment"), None)
    if message is not None:
        words = {"handled": "payment message handled", "dead": "payment message: a dead letter"}
        stand = Stand.ASIDE if message.state == "handled" else Stand.OPEN
        yield Testimony(BROKER, words.get(message.state, "payment message delivered, not handled yet"), stand)


def _payment(facts: Facts, *, paid: bool) -> Testimony:
    status = facts.payment
    if status is None:
        free = (facts.order or {}).get("total_amount") == 0
        return Testimony(PAYMENT, "none: it costs nothing", Stand.ASIDE) if free else _untold(facts)
    words, stand = _STATES.get(status, (plain(status), Stand.OPEN))
    if paid and stand is Stand.NO and status != "closed":  # after it was paid: an operator's or the provider's doing
        stand = Stand.ASIDE
    if not paid:  # money that came is told to the order, or goes back: both take a moment
        stand = Stand.OPEN if status == "succeeded" else Stand.NO
    return Testimony(PAYMENT, words, stand)


def _untold(facts: Facts) -> Testimony:
    """Say so where the order's document has no payment: there is no order, or pay could not be asked."""
    if not facts.exists:
        return Testimony(PAYMENT, "not told of what is no order", Stand.ASIDE)
    return Testimony(PAYMENT, "not known", Stand.OPEN)
