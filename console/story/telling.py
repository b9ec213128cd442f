"""Tells the story of an order."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from console.story.entries import read
from console.story.model import Story, StoryError
from console.story.reading import Facts
from console.story.sentence import sentence_of
from console.story.steps import gaps_of, lanes_of, steps_of
from console.story.witnesses import witnesses_of
from console.story.words import plain

_YEAR_10000: Final = 253_402_300_800_000  # ms; no RFC 3339 time has it


def tell(order: Mapping[str, Any] | None, entries: Sequence[Mapping[str, Any]], *, order_id: str, now_ms: int) -> Story:
    """Return the story of an order.

    `order`: the document of `GET /orders/{id}`, None where there is no such order. `entries`: those of its timeline.
    `now_ms`: when they were asked for (ms since the epoch). Raise `StoryError` where they are not of that form.
    """
    if not isinstance(order_id, str) or not re.fullmatch(r"[0-9]{1,20}", order_id):
        raise StoryError("An order's id has 1 to 20 digits.")
    if type(now_ms) is not int or not 0 <= now_ms < _YEAR_10000:
        raise StoryError("The time at which the story was seen is none.")
    if order is not None and not isinstance(order.get("status"), str):
        raise StoryError("The order has no status.")
    shown = None if order is None else {name: value for name, value in order.items() if name != "receiver"}
    facts = Facts(shown, read(entries), now_ms)
    steps = steps_of(facts)
    witnesses = witnesses_of(facts)
    sentence = sentence_of(facts, witnesses)
    return Story(
        order_id=order_id,
        status=plain(facts.status),
        sentence=sentence.text,
        mood=sentence.mood,
        next_at=sentence.next_at,
        lanes=lanes_of(steps),
        steps=steps,
        gaps=gaps_of(steps, facts),
        witnesses=witnesses,
        now_ms=now_ms,
        order=shown,
        entries=entries,
    )
