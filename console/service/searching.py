"""Searching messages: what is asked for in an address, page by page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from common.errors import Malformed
from common.schema import LAST_INSTANT
from console.clients.broker import Messages
from halfmessage.errors import NotFound
from halfmessage.mq.port import Cursor, MessageView, State

PAGE: Final = 50  # messages of a page
LONGEST: Final = 255  # characters of what is searched for
FIELDS: Final = ("topic", "group", "state", "key", "from", "until")
"""What can be asked for."""
_CURSOR: Final = re.compile(r"(\d{1,15})-([0-9A-Za-z]{1,64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Page:
    """Messages, newest first; `next_cursor` goes on after them, None at the end."""

    items: tuple[MessageView, ...]
    next_cursor: str | None


class Search:
    """Messages of one broker."""

    def __init__(self, messages: Messages) -> None:
        """Take where the broker's console is."""
        self._messages = messages

    def page(self, asked: Mapping[str, str]) -> Page:
        """Return the messages that `asked` (`FIELDS`, and `cursor`) is for. Raise `Malformed`, `BrokerError`."""
        wanted = conditions(asked)
        found = self._messages.console().find(**wanted, limit=PAGE + 1)
        return Page(tuple(found[:PAGE]), _written(found[PAGE - 1].cursor) if len(found) > PAGE else None)

    def around(self, topic: str, since: int, until: int, *, most: int) -> list[MessageView]:
        """Return the newest messages of a topic that were born in a time (ms since the epoch). Raise `BrokerError`."""
        return self._messages.console().find(topic=topic, born_from=max(0, since), born_until=max(0, until), limit=most)

    def one(self, message_id: str) -> MessageView:
        """Return a message. Raise `NotFound`, `BrokerError`."""
        found = self._messages.console().find(message_id=message_id, limit=1)
        if not found:
            raise NotFound("The broker has no message with this id: it keeps messages for a while only.")
        return found[0]


def conditions(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return what `Console.find` takes. Raise `Malformed` for what means nothing."""
    if any(len(value) > LONGEST for value in asked.values()):
        raise Malformed(f"Search for at most {LONGEST} characters.")
    return {
        "topic": asked.get("topic"),
        "group": asked.get("group"),
        "key": asked.get("key"),
        "state": _state(asked["state"]) if "state" in asked else None,
        "born_from": _time(asked["from"]) if "from" in asked else None,
        "born_until": _time(asked["until"]) if "until" in asked else None,
        "before": _cursor(asked["cursor"]) if "cursor" in asked else None,
    }


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError:
        raise Malformed(f"A message's state is one of {', '.join(State)}.") from None


def _time(text: str) -> int:
    """Read a time as a form sends it, in UTC where it names no zone."""
    try:
        read = datetime.fromisoformat(text)
        at = round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Malformed("Write a time as 2026-12-01T08:30, in UTC.") from None
    if not 0 <= at <= LAST_INSTANT:
        raise Malformed("Search between the years 1970 and 9999.")
    return at


def _cursor(text: str) -> Cursor:
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise Malformed("This is no place in a list of messages: begin at its first page.")
    return int(found[1]), found[2]


def _written(cursor: Cursor) -> str:
    return f"{cursor[0]}-{cursor[1]}"
