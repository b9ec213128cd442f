"""Where everything of the picture goes: one row a step, from above in time order; lengths in pixels.

The words are left of the lanes: on a narrow screen they are read without scrolling. Rows are as high as their words,
never as long as a time was: times are written.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from console.story.model import Gap, Mood, Story
from console.story.runs import Run, runs_of
from console.story.words import clock, length

TIME: Final = 100
"""Width of the column of times."""
WORDS: Final = 224
"""Width of the column of words: with that of times, what a phone shows."""
LANE: Final = 92
"""Distance between lanes."""
TIMELESS: Final = "timeless"
"""Kind of the note where the time not known begins."""
HEAD: Final = 40
LINE: Final = 17
PAD: Final = 9
_LABEL, _DETAIL = 28, 34  # characters of a line of the words' width, 13 and 12 px high
_MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Row:
    """A step, or several that are drawn as one, and how their words are broken into lines."""

    run: Run
    top: float
    height: float
    label: Sequence[str]
    detail: Sequence[str]
    time: str
    since: str

    @property
    def middle(self) -> float:
        """Where its arrow is."""
        return self.top + self.height / 2


@dataclass(frozen=True, slots=True)
class Note:
    """Words across the picture: a gap, where the time not known begins, what is to come. `kind` is its class."""

    top: float
    height: float
    kind: str
    words: Sequence[str]


@dataclass(frozen=True, slots=True)
class Layout:
    """All of it; `timeless`: where the band of what has no time that is known begins; the end where there is none."""

    items: Sequence[Row | Note]
    x: dict[str, float]
    width: float
    height: float
    timeless: float


def lay_out(story: Story) -> Layout:
    """Lay a story out."""
    x = {lane.key: TIME + WORDS + LANE * (number + 0.5) for number, lane in enumerate(story.lanes)}
    items = list(_items(story))
    height = items[-1].top + items[-1].height + PAD
    timeless = next((item.top for item in items if isinstance(item, Note) and item.kind == TIMELESS), height)
    return Layout(items, x, TIME + WORDS + LANE * max(1, len(x)), height, timeless)


def _items(story: Story) -> Iterator[Row | Note]:
    top: float = HEAD
    gaps = {gap.before: gap for gap in story.gaps}
    before: int | None = None
    runs = list(runs_of(story.steps))
    timeless = [run for run in runs if run.first.at is None]
    for run in runs[: len(runs) - len(timeless)]:
        if run.first.number in gaps:  # those within a run are told by its times
            yield (note := _gap(gaps[run.first.number], top))
            top += note.height
        yield (row := _row(run, top, before))
        top, before = top + row.height, run.last.at
    for note in _ends(story, before, top):
        yield note
        top += note.height
    if timeless:
        yield (note := _note(top, TIMELESS, "time not known"))
        top += note.height
    for run in timeless:
        yield (row := _row(run, top, None))
        top += row.height


def _ends(story: Story, last: int | None, top: float) -> Iterator[Note]:
    """Say when this was told, and what is to come, where a time is known for it."""
    seen = f"seen at {clock(story.now_ms)}"
    waited = "" if last is None or story.mood is Mood.ENDED else f", {length(max(0, story.now_ms - last))} later"
    yield (now := _note(top, "now", seen + waited))
    if story.next_at is not None and story.next_at > story.now_ms:
        yield _note(top + now.height, "ahead", f"expected at {clock(story.next_at)}: see above, what happens next")


def _row(run: Run, top: float, before: int | None) -> Row:
    at = run.first.at
    label = _lines(f"{run.number}. {run.label}", _LABEL)
    detail = _lines(run.detail, _DETAIL)
    height = LINE * max(2, len(label) + len(detail)) + 2 * PAD
    time = "not known" if at is None else clock(at)
    since = "" if at is None or before is None else f"+{length(at - before)}"
    return Row(run, top, height, label, detail, time, since)


def _gap(gap: Gap, top: float) -> Note:
    return _note(top, "gap", gap.note)


def _note(top: float, kind: str, words: str) -> Note:
    lines = _lines(words, _DETAIL)
    return Note(top, LINE * len(lines) + 2 * PAD, kind, lines)


def _lines(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width, break_on_hyphens=False)
    return (
        lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], lines[_MOST_LINES - 1][: width - 1] + "…"]
    )
