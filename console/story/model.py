"""What a story is made of. Times in ms since the epoch, UTC; None: not known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from common.errors import OrdersError

MOST_ENTRIES: Final = 10_000
"""Entries of one timeline that are told; the broker's console gives at most 1,000 messages of a key."""


class StoryError(OrdersError):
    """This is no story: not of the form, too large, or changed."""

    status: ClassVar[int] = 422
    slug: ClassVar[str] = "no-story"
    title: ClassVar[str] = "No story"


class Tone(StrEnum):
    """What a step is for who reads: a mark beside its words, never instead of them."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    WAIT = "wait"


class Mood(StrEnum):
    """Where an order is."""

    ENDED = "ended"
    WAITING = "waiting"
    STUCK = "stuck"
    WRONG = "wrong"
    UNKNOWN = "unknown"


class Agree(StrEnum):
    """Whether witnesses agree. UNKNOWN: one of them is silent, or has still to hear of it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Lane:
    """Somebody, or something, that takes part: a column of the picture."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened, from one lane to another (or within one), and the evidence of it.

    `number`: from 1, in the order of the story. `known` False: that it happened is not known, or not when it is to be;
    the evidence says why. `lost`: it did not get where it was to. `event` and `source` are the timeline's own words.
    """

    number: int
    at: int | None
    begins: str
    ends: str
    label: str
    detail: str
    tone: Tone
    lost: bool
    event: str
    source: str
    known: bool
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """A time of which nothing is on record: `ms` long, before the step of this number."""

    before: int
    ms: int
    note: str


@dataclass(frozen=True, slots=True)
class Say:
    """What one witness says."""

    witness: str
    words: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """One step of the protocol as a question, what each witness says, and whether they agree.

    `answer`: what those that are certain say: `yes`, `no`, both, or nothing.
    """

    step: str
    says: Sequence[Say]
    agree: Agree
    answer: str


@dataclass(frozen=True, slots=True)
class Story:
    """What happened to one order, why it is where it is, and what happens next.

    `status`: the order's, or `none` where there is no such order. `next_at`: when what the sentence foretells is due,
    where that is known. `order` and `entries` are what it was told from.
    """

    order_id: str
    status: str
    sentence: str
    mood: Mood
    next_at: int | None
    lanes: Sequence[Lane]
    steps: Sequence[Step]
    gaps: Sequence[Gap]
    witnesses: Sequence[Agreement]
    now_ms: int
    order: Mapping[str, Any] | None = field(repr=False)
    entries: Sequence[Mapping[str, Any]] = field(repr=False)
