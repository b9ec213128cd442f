"""What a drill writes down as it goes: steps, faults and claims, with their times."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from halfmessage.clock import now_ms, rfc3339
from lab.drill.result import Event, Kind
from ops.client import Answer
from ops.errors import CommandFailed


class Broken(CommandFailed):
    """Something that a drill holds true was not."""


class NotStaged(CommandFailed):
    """What a drill needs did not come about: a crowd came too late for its batch, say. It shows nothing so far."""


class EventLog:
    """One drill's record of events."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        """Tell each event to `tell` as it is written down."""
        self.events: list[Event] = []
        self._tell = tell
        self._last_fault = time.monotonic()

    @property
    def since_last_fault(self) -> float:
        """Seconds since the last fault, or since the end of one that lasted."""
        return time.monotonic() - self._last_fault

    def say(self, what: str, kind: Kind = Kind.STEP) -> None:
        """Write down what is done or seen."""
        self.events.append(Event(now_ms(), kind, what))
        self._tell(self.events[-1])

    def fault(self, what: str) -> None:
        """Write down what was broken, just now."""
        self._last_fault = time.monotonic()
        self.say(what, Kind.FAULT)

    def mended(self, what: str) -> None:
        """Write down the end of a fault that lasted: recovery is counted from here."""
        self._last_fault = time.monotonic()
        self.say(what, Kind.MENDED)

    def claim(self, what: str, holds: object) -> None:
        """Hold something true. Raise `Broken` if it is not."""
        self.say(what, Kind.HELD if holds else Kind.BROKEN)
        if not holds:
            raise Broken(f"This did not hold: {what}.")

    def same(self, what: str, found: object, expected: object) -> None:
        """Hold that something is as it must be; both are told. Raise `Broken`."""
        instead = "" if found == expected else f", not {_plain(expected)}"
        self.claim(f"{what}: {_plain(found)}{instead}", found == expected)


def written_to(file: Path, tell: Callable[[str, Event], None]) -> Callable[[str, Event], None]:
    """Return what tells `tell` of each event, and appends it to a file: one JSON object a line."""

    def both(name: str, event: Event) -> None:
        tell(name, event)
        line = {"drill": name, "at": rfc3339(event.at), "kind": event.kind.value, "text": event.text}
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    return both


def in_words(answer: Answer | None) -> str:
    """Return an answer in words."""
    if answer is None:
        return "the connection was cut, no answer"
    slug = str((answer.body or {}).get("type", "")).rpartition("/")[2]
    return f"{answer.status} {slug}".strip()


def _plain(value: object) -> str:
    """Return a value as a reader writes it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
