"""The steps of a story, the lanes that they are between, and the times of which nothing is on record."""

from collections.abc import Sequence
from itertools import islice, pairwise
from typing import Final

from common.registry import PARTICIPANTS
from console.story.drawn import BROKER, CLIENT, DATABASE, ORDER, PROVIDER
from console.story.entries import Entry
from console.story.model import Gap, Lane, Step, StoryError
from console.story.of_orders import drawn
from console.story.reading import Facts, Half
from console.story.words import length, plain

IDLE: Final = 1_500
"""Milliseconds without anything on record from which a gap is told."""
MOST_LANES: Final = 32
"""Lanes of one picture; a deployment has about ten."""
_MOST_HALVES = 100  # of which a gap may be told; an order has one or two
_FIRST = (CLIENT, ORDER, DATABASE, BROKER, *PARTICIPANTS)
_NAMES = {DATABASE: "order's database"}


def steps_of(facts: Facts) -> list[Step]:
    """Return the steps of a story, those whose time is not known last."""
    ordered = sorted(facts.entries, key=lambda entry: (entry.at is None, entry.at or 0))
    purposes = {half.message_id: half.purpose for half in facts.halves}
    about = [purposes.get(str(entry.get("message_id")), "") for entry in ordered]
    return [_step(number, *each) for number, each in enumerate(zip(ordered, about, strict=True), 1)]


def lanes_of(steps: Sequence[Step]) -> list[Lane]:
    """Return the lanes that steps need: ours in the order of the protocol, then others by name, the provider last."""
    used = {lane for step in steps for lane in (step.begins, step.ends)}
    others = sorted(used - {*_FIRST, PROVIDER})
    if len(used) > MOST_LANES:
        raise StoryError(f"The timeline has {len(used):,} sources; at most {MOST_LANES} are drawn.")
    keys = [key for key in (*_FIRST, *others, PROVIDER) if key in used]
    return [Lane(key, plain(_NAMES.get(key, key))) for key in keys]


def gaps_of(steps: Sequence[Step], facts: Facts) -> list[Gap]:
    """Return the times of which nothing is on record, each with what was open meanwhile."""
    known = [(step.number, step.at) for step in steps if step.at is not None]
    return [
        Gap(number, at - before, _note(before, at, facts))
        for (_, before), (number, at) in pairwise(known)
        if at - before >= IDLE
    ]


def _note(begins: int, ends: int, facts: Facts) -> str:
    told = f"nothing on record for {length(ends - begins)}"
    first = islice(facts.halves, _MOST_HALVES)
    open_then = next((half for half in first if _was_open(half, begins, ends, facts.now_ms)), None)
    return told if open_then is None else f"{told}: {open_then.purpose} was not decided"


def _was_open(half: Half, begins: int, ends: int, now_ms: int) -> bool:
    """Say whether a half message was open all the time; of one that ended at a time not known nothing is said."""
    until = now_ms if half.is_open else half.resolved_at
    return half.sent_at is not None and until is not None and half.sent_at <= begins and ends <= until


def _step(number: int, entry: Entry, purpose: str) -> Step:
    found = drawn(entry, purpose)
    return Step(
        number=number,
        at=entry.at,
        begins=found.begins,
        ends=found.ends,
        label=found.label,
        detail=found.detail,
        tone=found.tone,
        lost=found.lost,
        event=entry.event,
        source=entry.source,
        known=entry.known,
        evidence=entry.evidence,
    )
