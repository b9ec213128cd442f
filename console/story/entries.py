"""Entries of a timeline, checked: as `GET /orders/{id}/timeline` has them, or a story file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from console.story.model import MOST_ENTRIES, StoryError
from halfmessage.clock import from_rfc3339

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a timeline; see `order.schema.EntryOut`."""

    at: int | None
    event: str
    source: str
    known: bool
    evidence: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """Return a member of the evidence, None where it is not there."""
        return self.evidence.get(name)

    def time(self, name: str) -> int | None:
        """Return a member of the evidence that is a time, None where there is none."""
        told = self.evidence.get(name)
        return instant(told) if isinstance(told, str) else None


def read(entries: Sequence[Any]) -> list[Entry]:
    """Check entries. Raise `StoryError` where they are too many, or one is none."""
    if len(entries) > MOST_ENTRIES:
        raise StoryError(f"The timeline has {len(entries):,} entries; at most {MOST_ENTRIES:,} are told.")
    return [_entry(number, given) for number, given in enumerate(entries, 1)]


def _entry(number: int, given: Any) -> Entry:
    if not isinstance(given, Mapping):
        raise StoryError(f"Entry {number} of the timeline is no object.")
    at, event, source, known = (given.get(name) for name in ("at", "event", "source", "known"))
    evidence = given.get("evidence", {})
    if not (isinstance(event, str) and isinstance(source, str) and isinstance(evidence, Mapping)):
        raise StoryError(f"Entry {number} of the timeline lacks an event, a source or its evidence.")
    if at is not None and (not isinstance(at, str) or instant(at) is None):
        raise StoryError(f"Entry {number} of the timeline has a time that is none.")
    return Entry(None if at is None else instant(at), event, source, known is True, evidence)


def instant(text: str) -> int | None:
    """Read an RFC 3339 time; None where it is none."""
    if not _RFC_3339.fullmatch(text):  # one without an offset would be read in this machine's time zone
        return None
    try:
        ms = from_rfc3339(text)
    except (ValueError, OverflowError):
        return None
    return ms if ms >= 0 else None
