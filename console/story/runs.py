"""Steps that say the same again, one after the other: the picture has one row for all of them.

An undecided half message is asked about every some seconds: twelve arrows alike would hide what differs. Each
stays a step with its own evidence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from console.story.model import Step
from console.story.words import clock, plain

_CHECK = "check-back "


@dataclass(frozen=True, slots=True)
class Run:
    """Steps that are drawn as one, in order: one step, or check-backs of one half message with the same answer."""

    steps: Sequence[Step]

    @property
    def first(self) -> Step:
        """The step whose words, lanes and tone all of them have."""
        return self.steps[0]

    @property
    def last(self) -> Step:
        """The last of them."""
        return self.steps[-1]

    @property
    def number(self) -> str:
        """Their numbers in the story."""
        return str(self.first.number) if self.is_one else f"{self.first.number}\u2013{self.last.number}"

    @property
    def is_one(self) -> bool:
        """Whether it is one step alone."""
        return len(self.steps) == 1

    @property
    def label(self) -> str:
        """What happened, each time."""
        if self.is_one:
            return self.first.label
        one, other = (plain(step.evidence.get("check")) for step in (self.first, self.last))
        return f"check-backs {one} to {other}{self.first.label.removeprefix(_CHECK + one)}"

    @property
    def detail(self) -> str:
        """What belongs to it: of several, how often and from when to when, where that is known."""
        if self.is_one:
            return self.first.detail
        often = f"\u00d7{len(self.steps)}"
        if self.first.at is None or self.last.at is None:
            return f"{often}, at times not known"
        return f"{often}, from {clock(self.first.at)} to {clock(self.last.at)}"


def runs_of(steps: Sequence[Step]) -> Iterator[Run]:
    """Put the steps together that are drawn as one; those that something else came between are not."""
    for _, alike in groupby(steps, _same):
        yield Run(tuple(alike))


def _same(step: Step) -> tuple[object, ...]:
    """Return what steps of one run have in common; a step that is no check-back has nothing in common with others."""
    if not step.event.startswith(_CHECK):
        return (step.number,)
    message, check = step.evidence.get("message_id"), plain(step.evidence.get("check"))
    if not step.label.startswith(_CHECK + check):  # no half message of this order's that we know: told in other words
        return (step.number,)
    said = step.label.removeprefix(_CHECK + check)
    return (_CHECK, plain(message), said, step.known, step.at is None)  # lanes and tone follow from what is said
