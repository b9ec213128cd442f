"""What pay tells: tries to pay, what the provider said, and what became of the money."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from console.story.drawn import PROVIDER, Drawn, money
from console.story.entries import Entry
from console.story.model import Tone
from console.story.words import plain


def _attempt(entry: Entry) -> Drawn:
    refusal = entry.get("refusal")
    detail = f"through {plain(entry.get('provider'))}, now {plain(entry.get('status'))}"
    if refusal is not None:
        return Drawn(entry.source, PROVIDER, "payment tried, and refused", plain(refusal), Tone.BAD)
    return Drawn(entry.source, PROVIDER, "payment tried", detail)


def _said(entry: Entry) -> Drawn:
    label = plain(entry.event)
    if entry.get("via") == "callback":
        return Drawn(PROVIDER, entry.source, label, money(entry))
    return Drawn(entry.source, PROVIDER, label, money(entry))


def _acted(entry: Entry) -> Drawn:
    effects = {  # see pay.model.EventEffect
        "paid": "the money is kept, the order is told",
        "refunding": "the money goes back",
        "known": "nothing new",
        "ended": "the try is over",
        "refunded": "the money went back",
        "refund-refused": "the provider does not send it back",
        "none": "it means nothing here",
    }
    effect = str(entry.get("effect"))
    tone = Tone.BAD if effect == "refund-refused" else Tone.PLAIN
    label = f"what was said is handled: {effects.get(effect, plain(effect))}"
    return Drawn(entry.source, entry.source, label, "", tone)


def _sent_back(entry: Entry) -> Drawn:
    return Drawn(entry.source, PROVIDER, "money sent back", money(entry), Tone.GOOD)


def not_done(entry: Entry) -> Drawn:
    """Draw money that has still to go back."""
    status = "refused by the provider, asked again" if entry.get("status") == "refused" else "not done yet"
    return Drawn(entry.source, PROVIDER, f"money to be sent back: {status}", money(entry), Tone.WAIT)


EXACT: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {"payment attempt": _attempt, "money sent back": _sent_back}
)
BEGINNINGS: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {"provider's ": _said, "payment event handled: ": _acted}
)
