"""What the broker tells: messages, check-backs, how they ended and how far they are delivered."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from common.registry import PAYMENT_TOPIC
from console.story.drawn import BROKER, ORDER, PAY, Drawn, mapping, tx_line
from console.story.model import Tone
from console.story.reading import Entry
from console.story.words import clock, plain, times


def _half(entry: Entry) -> Drawn:
    sender = PAY if entry.get("topic") == PAYMENT_TOPIC else ORDER
    properties = mapping(entry.get("properties"))
    deliver_if = plain(properties.get("deliver_if"))
    label = f"half message {plain(entry.get('topic'))}: the broker keeps it back"
    detail = f"it is delivered only if transaction {plain(properties.get('tx_id'))} ends {deliver_if}"
    return Drawn(sender, BROKER, label, detail)


def _message(entry: Entry) -> Drawn:
    return Drawn(ORDER, BROKER, f"message {plain(entry.get('topic'))}: delivered at once", tx_line(entry))


def _scheduled(entry: Entry) -> Drawn:
    due = entry.time("deliver_at")
    told = "at a time that is not known" if due is None else f"at {clock(due)}"
    return Drawn(ORDER, BROKER, f"timeout message, due {told}")


def _check(entry: Entry) -> Drawn:
    answer = entry.get("answer")
    number = plain(entry.get("check"))
    words = {
        "unknown": ("not decided yet, ask again", Tone.WAIT),
        "commit": ("deliver it", Tone.PLAIN),
        "rollback": ("drop it", Tone.GOOD),
    }
    if answer in words:
        said, tone = words[str(answer)]
        return Drawn(BROKER, ORDER, f"check-back {number}: how did it end? Answer: {said}", "", tone)
    return Drawn(BROKER, ORDER, f"check-back {number}: nobody was there to answer", "", Tone.BAD)


def _resolved(entry: Entry) -> Drawn:
    sender = PAY if entry.get("topic") == PAYMENT_TOPIC else ORDER
    if entry.get("resolution") == "rollback":
        return Drawn(sender, BROKER, "half message dropped: nobody hears of it", _message_line(entry), Tone.GOOD)
    return Drawn(sender, BROKER, "half message committed: now it is delivered", _message_line(entry))


def _parked(entry: Entry) -> Drawn:
    label = f"half message parked: asked {times(entry.get('checks'))} and given up"
    return Drawn(BROKER, BROKER, label, _message_line(entry), Tone.BAD)


def _handled(entry: Entry) -> Drawn:
    what = plain(entry.event.removesuffix(" handled"))
    detail = "" if entry.get("deliveries") == 1 else f"delivered {times(entry.get('deliveries'))}"
    return Drawn(BROKER, _consumer(entry), f"{what} message delivered and handled", detail, Tone.GOOD)


def _dead(entry: Entry) -> Drawn:
    what = plain(entry.event.removesuffix(" dead-lettered"))
    label = f"{what} message given up: a dead letter after {plain(entry.get('deliveries'))} deliveries"
    return Drawn(BROKER, _consumer(entry), label, _message_line(entry), Tone.BAD)


def _under_way(entry: Entry) -> Drawn:
    what = plain(entry.event.removesuffix(" delivered, not handled yet"))
    again = entry.time("next_delivery_at")
    detail = "" if again is None else f"unless it is handled before, given again at {clock(again)}"
    label = f"{what} message delivered {times(entry.get('deliveries'))}, not handled yet"
    return Drawn(BROKER, _consumer(entry), label, detail, Tone.WAIT)


def _consumer(entry: Entry) -> str:
    """Return whose group it is: a service's further groups are named `<service>_<topic>`."""
    group = entry.get("group")
    group = group if isinstance(group, str) else entry.source
    topic = entry.get("topic")
    return group.removesuffix(f"_{topic}") or group


def _message_line(entry: Entry) -> str:
    return f"message {plain(entry.get('message_id'))}"


EXACT: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {
        "half message sent": _half,
        "message sent": _message,
        "timeout scheduled": _scheduled,
        "half message parked": _parked,
    }
)
ENDINGS: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {" dead-lettered": _dead, " delivered, not handled yet": _under_way, " handled": _handled}
)
BEGINNINGS: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {"check-back ": _check, "half message resolved": _resolved}
)
