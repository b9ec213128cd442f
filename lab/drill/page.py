"""The page of drills: each with its events on an axis of time."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from console.story import draw, evidence, style
from lab.drill.result import Event, Kind, Report, Result
from lab.report.page import render as render_page


@dataclass(frozen=True, slots=True)
class Mark:
    """An event on a drill's time axis: `left` in per cent, `after` in seconds since the first."""

    event: Event
    left: float
    after: float


@dataclass(frozen=True, slots=True)
class Axis:
    """A drill's time axis; `fault` and `settled` are where recovery begins and ends, in per cent."""

    marks: Sequence[Mark]
    seconds: float
    fault: float | None
    settled: float | None


def render(report: Report) -> str:
    """Return the page."""
    axes = {result.name: axis(result) for result in report.results}
    return render_page(
        "drills.html.j2",
        report=report,
        axes=axes,
        picture=_picture,
        evidence=evidence,
        story_style=Markup(style()),  # noqa: S704  # nosec B704 - ours
    )


def _picture(result: Result) -> Markup:
    """Draw the story of a drill's order; its ids begin with the drill's name, which no other on the page has."""
    story = result.story
    if story is None:
        return Markup()
    picture = draw(story, title_id=f"{result.name}-story", anchor=f"{result.name}-step-")
    return Markup(picture)  # noqa: S704  # nosec B704 - everything in it is escaped where it is made


def axis(result: Result) -> Axis:
    """Lay a drill's events out over its duration."""
    events = result.events
    first = events[0].at if events else result.began_at
    span = max(events[-1].at - first, 1) if events else 1
    marks = [Mark(e, round(100 * (e.at - first) / span, 2), (e.at - first) / 1000) for e in events]
    faults = [mark.left for mark in marks if mark.event.kind in {Kind.FAULT, Kind.MENDED}]
    settled = [mark.left for mark in marks if mark.event.kind is Kind.SETTLED]
    return Axis(marks, span / 1000, faults[-1] if faults else None, settled[-1] if settled else None)
