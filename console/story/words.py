"""How things are said: times, lengths, names in a row, and words that come from outside."""

import json
from collections.abc import Sequence
from typing import Any, Final

from halfmessage.clock import rfc3339

LONGEST: Final = 200
"""Characters of a word from outside that a sentence or a label has; the evidence has all of it."""


def plain(word: Any) -> str:
    """Return what came from outside as one line of text: neither control characters nor what turns text around."""
    text = word if isinstance(word, str) else json.dumps(word, default=str)
    return printable(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def printable(text: str) -> str:
    """Return a line of text without what moves, colours or turns around what stands beside it."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def clock(ms: int) -> str:
    """Return the time of day, to the millisecond."""
    return rfc3339(ms)[11:-1]


def when(ms: int, now_ms: int) -> str:
    """Return a time for a sentence, to the second, with the day where it is not that of `now_ms`."""
    told = rfc3339(ms)
    day = "" if told[:10] == rfc3339(now_ms)[:10] else f"{told[:10]} "
    return f"at {day}{told[11:19]} UTC"


def length(ms: int) -> str:
    """Return how long something was."""
    if ms < 1000:  # noqa: PLR2004 - a second
        return f"{ms} ms"
    if ms < 120_000:  # noqa: PLR2004 - two minutes
        return f"{ms / 1000:.1f} s"
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def row(names: Sequence[str]) -> str:
    """Return names in a row: a, b and c."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def times(number: Any) -> str:
    """Return how often."""
    return "once" if number == 1 else f"{plain(number)} times"


def names(given: Sequence[str]) -> str:
    """Return names from outside in a row."""
    return row([plain(name) for name in given])


def verb(subjects: Sequence[str], word: str) -> str:
    """Return a verb for one or several."""
    return f"{word}s" if len(subjects) == 1 else word


def document(value: Any) -> str:
    """Return evidence as indented JSON: what can't be printed, or turns text around, is escaped, all else readable."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return "".join(letter if letter.isprintable() or letter == "\n" else f"\\u{ord(letter):04x}" for letter in text)
