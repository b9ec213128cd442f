"""What the broker tells of half messages: sent, asked about, ended or parked; in words of what each is for."""

from collections.abc import Mapping
from types import MappingProxyType

from console.story.drawn import BROKER, FLASH, ORDER, PAY, Drawn, mapping, message_line, process_line
from console.story.entries import Entry
from console.story.model import Tone
from console.story.words import plain, times

_MEANS: Mapping[tuple[str, str], str] = MappingProxyType(
    {  # of a purpose and how its half message ended
        ("placing", "rollback"): "placing stands",
        ("placing", "commit"): "placing is off",
        ("closing", "rollback"): "closing is off",
        ("closing", "commit"): "closing stands",
        ("paying", "rollback"): "the payment is off",
        ("paying", "commit"): "the payment stands",
        ("buying", "rollback"): "buying is off",
        ("buying", "commit"): "buying stands",
    }
)
_SENDERS: Mapping[str, str] = MappingProxyType({"paying": PAY, "buying": FLASH})
_GOES_OUT: Mapping[str, str] = MappingProxyType({"paying": "payment message", "buying": "purchase message"})


def of_half(entry: Entry, purpose: str) -> Drawn | None:
    """Draw what is told of a half message for a purpose; None: it is told of any message."""
    sender = _SENDERS.get(purpose, ORDER)
    if entry.event == "half message sent":
        return _sent(entry, purpose, sender)
    if entry.event == "half message parked":
        label = f"half message parked: asked {times(entry.get('checks'))} how {purpose} ended, and no more"
        return Drawn(BROKER, BROKER, label, message_line(entry), Tone.BAD)
    if entry.event.startswith("check-back "):
        return _check(entry, purpose, sender)
    if entry.event.startswith("half message resolved"):
        return _resolved(entry, purpose, sender)
    return None


def _sent(entry: Entry, purpose: str, sender: str) -> Drawn:
    properties = mapping(entry.get("properties"))
    label = f"half message {plain(entry.get('topic'))}: kept back until {purpose} has ended"
    detail = (
        f"delivered only if transaction {plain(properties.get('tx_id'))} ends {plain(properties.get('deliver_if'))}"
    )
    return Drawn(sender, BROKER, label, detail)


def _check(entry: Entry, purpose: str, sender: str) -> Drawn:
    answer, asked = entry.get("answer"), f"check-back {plain(entry.get('check'))}"
    by = process_line(entry, "answered by")
    if answer == "unknown":
        return Drawn(BROKER, sender, f"{asked}: how did {purpose} end? Not decided yet, ask again", by, Tone.WAIT)
    means = _MEANS.get((purpose, str(answer)))
    if means is None:
        return Drawn(
            BROKER, sender, f"{asked}: how did {purpose} end? No process was there to answer", "", Tone.BAD, lost=True
        )
    return Drawn(BROKER, sender, f"{asked}: how did {purpose} end? Answer: {means}", by, _tone(means))


def _resolved(entry: Entry, purpose: str, sender: str) -> Drawn:
    resolution = str(entry.get("resolution"))
    means = _MEANS.get((purpose, resolution), plain(resolution))
    what = _GOES_OUT.get(purpose, "rollback")
    then = f"the {what} goes out" if resolution == "commit" else "half message dropped"
    return Drawn(sender, BROKER, f"{means}: {then}", message_line(entry), _tone(means))


def _tone(means: str) -> Tone:
    return Tone.GOOD if means.endswith("stands") else Tone.BAD
