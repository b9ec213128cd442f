"""A message's body for people: formatted where it is JSON, as it came where it is text, in hex where it is neither."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from unicodedata import category

MOST_TEXT: Final = 64 * 1024  # bytes of a body that are shown
MOST_HEX: Final = 16 * 1024  # bytes of one in hex, which takes five times as much room
_MOST_FORMATTED: Final = 4 * MOST_TEXT  # characters: what is nested deep is mostly spaces
_LINE: Final = 16  # bytes of a line in hex
_FIRST_VISIBLE, _LAST_VISIBLE = 0x20, 0x7E
_SPACES: Final = frozenset("\n\r\t")


class Kind(StrEnum):
    """How a body is shown."""

    EMPTY = "empty"
    JSON = "JSON"
    TEXT = "text"
    HEX = "hex"


@dataclass(frozen=True, slots=True)
class Body:
    """What is shown of a body: `shown` of its `size` bytes; `raw` is JSON as it came, where `text` is formatted."""

    kind: Kind
    text: str
    shown: int
    size: int
    raw: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether all of it is shown."""
        return self.shown == self.size


def body_of(octets: bytes) -> Body:
    """Return what is shown of a body."""
    size = len(octets)
    if not octets:
        return Body(Kind.EMPTY, "", 0, 0)
    text = _text(octets[:MOST_TEXT], is_cut=size > MOST_TEXT)
    if text is None:
        return Body(Kind.HEX, "\n".join(_hex(octets[:MOST_HEX])), min(size, MOST_HEX), size)
    formatted = _formatted(text) if size <= MOST_TEXT else None
    if formatted is None:
        return Body(Kind.TEXT, _visible(text), len(text.encode()), size)
    return Body(Kind.JSON, _visible(formatted), size, size, "" if formatted == text else _visible(text))


def _text(octets: bytes, *, is_cut: bool) -> str | None:
    """Return UTF-8 text, None for what is none; where it is cut, a character may be cut with it."""
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        if not is_cut or error.end < len(octets) or error.reason != "unexpected end of data":
            return None
        text = octets[: error.start].decode()
    return None if any(category(each) == "Cc" and each not in _SPACES for each in text) else text


def _visible(text: str) -> str:
    """Write what would not be seen, or would turn the text around it, by its number."""
    return "".join(c if c.isprintable() or c in _SPACES else f"\\u{ord(c):04x}" for c in text)


def _formatted(text: str) -> str | None:
    """Return JSON with a line for each value; None for what is none, or would not be the same any more."""
    try:
        document = json.loads(text, object_pairs_hook=_object)
        formatted = json.dumps(document, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return formatted if len(formatted) <= _MOST_FORMATTED else None


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raise `ValueError` where a name comes twice: one of the two would be hidden."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name that comes twice")
    return found


def _hex(octets: bytes) -> list[str]:
    """Return lines of an offset, bytes in hex, and what of them is visible ASCII."""
    lines = []
    for at in range(0, len(octets), _LINE):
        part = octets[at : at + _LINE]
        visible = "".join(chr(byte) if _FIRST_VISIBLE <= byte <= _LAST_VISIBLE else "." for byte in part)
        lines.append(f"{at:08x}  {part.hex(' '):<{3 * _LINE - 1}}  {visible}")
    return lines
