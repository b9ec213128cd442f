"""What a rule says of an order, and what several rules say alike."""

from dataclasses import dataclass

from console.story.model import Mood
from console.story.reading import Delivery, Facts
from console.story.words import names, plain, times, verb, when


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence; `next_at`: when what it foretells is due, where that is known and to come."""

    text: str
    mood: Mood
    next_at: int | None = None


def waits_for_rollback(facts: Facts, why: str) -> Sentence | None:
    """Tell what is still held of an order that is not to hold anything, and how that ends; None: nothing is held."""
    held = facts.still_held
    if not held:
        return None
    waiting = f"{why}; {names(held)} still {verb(held, 'hold')} something for it"
    found = [facts.delivery("rollback", name) for name in held]
    under_way = next((one for one in found if one is not None and one.state == "under way"), None)
    if under_way is not None:
        again, next_at = comes_again(under_way, facts.now_ms)
        given = f"{plain(under_way.group)} was given the rollback {times(under_way.deliveries)}, {again}"
        return Sentence(f"{waiting}: {given}.", Mood.WAITING, next_at)
    if any(half.resolution == "commit" for half in facts.halves if half.purpose in {"placing", "closing"}):
        return Sentence(f"{waiting} until they handle the rollback, or the sweep gives it back.", Mood.WAITING)
    return Sentence(f"{waiting}, which the sweep gives back.", Mood.WAITING)


def comes_again(delivery: Delivery, now_ms: int) -> tuple[str, int | None]:
    """Return when a message that is not handled yet is delivered again, as far as the broker tells."""
    if delivery.next_at is None or delivery.next_at <= now_ms:
        return "and is given it again until it is handled, at a time that the broker does not tell", None
    return f"and is given it again {when(delivery.next_at, now_ms)} unless it is handled before", delivery.next_at


def money_going(facts: Facts, why: str) -> Sentence | None:
    """Tell of money that has to go back; None: there is none."""
    waiting = [entry for entry in facts.entries if entry.event == "money to be sent back"]
    if not waiting:
        return None
    reason = plain(waiting[-1].get("reason"))
    if waiting[-1].get("status") == "refused":
        refused = f"the provider refused to send its money back ({reason})"
        told = "pay asks it again, slowly and at a time that is not told, so an operator should ask the provider"
        return Sentence(f"{why}; {refused}: {told}.", Mood.STUCK)
    told = "pay asks the provider again until it is done, at times that are not told"
    return Sentence(f"{why}; its money has still to go back ({reason}): {told}.", Mood.WAITING)
