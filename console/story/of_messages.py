"""What the broker tells of messages: sent, and how far each group is with them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from console.story.drawn import BROKER, ORDER, Drawn, joined, message_line, process_line, tx_line
from console.story.entries import Entry
from console.story.model import Tone
from console.story.words import clock, plain, times


def _message(entry: Entry) -> Drawn:
    return Drawn(ORDER, BROKER, f"message {plain(entry.get('topic'))}: delivered at once", tx_line(entry))


def _scheduled(entry: Entry) -> Drawn:
    due = entry.time("deliver_at")
    told = "at a time that is not known" if due is None else f"at {clock(due)}"
    return Drawn(ORDER, BROKER, f"timeout message, due {told}")


def _handled(entry: Entry) -> Drawn:
    what = plain(entry.event.removesuffix(" handled"))
    often = "" if entry.get("deliveries") == 1 else f"delivered {times(entry.get('deliveries'))}"
    detail = joined(often, _by(entry))
    return Drawn(BROKER, _consumer(entry), f"{what} message delivered and handled", detail, Tone.GOOD)


def _dead(entry: Entry) -> Drawn:
    what = plain(entry.event.removesuffix(" dead-lettered"))
    label = f"{what} message given up: a dead letter after {plain(entry.get('deliveries'))} deliveries"
    detail = joined(message_line(entry), _by(entry))
    return Drawn(BROKER, _consumer(entry), label, detail, Tone.BAD, lost=True)


def _under_way(entry: Entry) -> Drawn:
    what = plain(entry.event.removesuffix(" delivered, not handled yet"))
    again = entry.time("next_delivery_at")
    then = "" if again is None else f"unless it is handled before, given again at {clock(again)}"
    detail = joined(_by(entry), then)
    label = f"{what} message delivered {times(entry.get('deliveries'))}, not handled yet"
    return Drawn(BROKER, _consumer(entry), label, detail, Tone.WAIT)


def _by(entry: Entry) -> str:
    return process_line(entry, "by" if entry.get("deliveries") == 1 else "last by")


def _consumer(entry: Entry) -> str:
    """Return whose group it is: a service's further groups are named `<service>_<topic>`."""
    group = entry.get("group")
    group = group if isinstance(group, str) else entry.source
    topic = entry.get("topic")
    return group.removesuffix(f"_{topic}") or group


EXACT: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {
        "message sent": _message,
        "timeout scheduled": _scheduled,
    }
)
ENDINGS: Mapping[str, Callable[[Entry], Drawn]] = MappingProxyType(
    {" dead-lettered": _dead, " delivered, not handled yet": _under_way, " handled": _handled}
)
