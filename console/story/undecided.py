"""Sentences of what the broker gave up on, and of what it has still to be told: dead, parked and open messages."""

from console.story.model import Mood
from console.story.reading import Facts, Half
from console.story.saying import Sentence
from console.story.words import names, plain, times, verb, when


def dead(facts: Facts) -> Sentence | None:
    """Tell of a dead letter, and what becomes of what it was to bring about."""
    found = next((one for one in facts.deliveries if one.state == "dead"), None)
    if found is None:
        return None
    meanwhile = ""
    if found.what == "rollback" and found.group in facts.still_held:
        meanwhile = f", and meanwhile the sweep gives back what {plain(found.group)} holds"
    text = (
        f"Stuck: {plain(found.group)} was given the {plain(found.what)} message {times(found.deliveries)} "
        f"without handling it, so it is a dead letter, which is delivered again only when an operator resends it "
        f"(./scripts/messages resend {plain(found.message_id)}){meanwhile}."
    )
    return Sentence(text, Mood.STUCK)


_ELSEWHERE = {"paying": "pay", "buying": "flash"}
"""Who is asked how a half message ended that is not the order service's."""


def parked(facts: Facts) -> Sentence | None:
    """Tell of a half message that the broker asks about no more."""
    half = next((one for one in facts.halves if one.parked is not None), None)
    if half is None or half.parked is None:
        return None
    held = [] if half.purpose in _ELSEWHERE or facts.status == "paid" else facts.still_held
    meanwhile = ""
    if held and facts.status != "created":
        meanwhile = f", and meanwhile the sweep gives back what {names(held)} {verb(held, 'hold')}"
    text = (
        f"Stuck: the broker asked {times(half.parked.get('checks'))} how {half.purpose} ended and got no answer that "
        f"decides, so it parked the half message, about which it asks again only when an operator resumes it "
        f"(./scripts/messages resume {plain(half.message_id)}){meanwhile}."
    )
    return Sentence(text, Mood.STUCK)


_DECIDED = {  # by purpose and the transaction's record: what stands, and what the answer will do
    ("placing", "committed"): ("The order is written", "then it drops the half message and the order stands"),
    ("placing", "aborted"): ("Placing was given up", "then it delivers the rollback"),
    ("closing", "committed"): ("The order is closed", "then it delivers the rollback"),
    ("closing", "aborted"): ("Closing was given up", "then it drops the half message"),
}


def half_open(facts: Facts) -> Sentence | None:
    """Tell of a half message of which the broker has still to hear how it ended."""
    half = next((one for one in facts.halves if one.is_open), None)
    if half is None:
        return None
    asks, next_at = _asks(half, facts.now_ms)
    decided = _DECIDED.get((half.purpose, half.record or ""))
    if decided is not None:
        text = f"{decided[0]}, but the broker has not heard so yet: {asks}, and {decided[1]}."
    else:
        text = f"{_undecided(half, asks, facts)}."
    return Sentence(text, Mood.WAITING, next_at)


def _undecided(half: Half, asks: str, facts: Facts) -> str:
    if half.purpose == "buying":
        return f"The purchase has its order, but that it took its pieces the broker has not heard yet: {asks}"
    if half.purpose == "paying":
        return f"Pay has begun to tell that the order is paid, but whether it is certain has not been said yet: {asks}"
    if half.purpose == "closing":
        return f"Closing has begun but is not decided: {asks}, and past its deadline it is given up"
    held = facts.still_held
    back = f", and what {names(held)} {verb(held, 'hold')} is given back" if held else ""
    return f"Placing has begun but is not decided: {asks}, and past its deadline it is given up{back}"


def _asks(half: Half, now_ms: int) -> tuple[str, int | None]:
    """Return when the broker asks (again), as far as it tells."""
    who = _ELSEWHERE.get(half.purpose, "the order service")
    asked = f"(asked {times(half.check_count)} so far) " if half.check_count else ""
    asks = f"the broker {asked}asks {who}{' again' if half.check_count else ''}"
    if half.next_check_at is None:
        return f"{asks} at a time that it does not tell", None
    if half.next_check_at <= now_ms:  # due, and no process is there
        return f"{asks} as soon as one of its processes is there (it was due {when(half.next_check_at, now_ms)})", None
    return f"{asks} {when(half.next_check_at, now_ms)}", half.next_check_at
