"""The report for people: one HTML file, nothing loaded from anywhere, readable on a phone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from halfmessage.clock import rfc3339
from lab.drill.result import Event, Kind, Report, Result
from lab.drill.show import evidence

_TEMPLATE = "page.html.j2"


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
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["clock"] = lambda ms: rfc3339(ms)[11:-1]
    environment.filters["evidence"] = evidence
    template = environment.from_string(files("lab.drill").joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        report=report, axes={result.name: axis(result) for result in report.results}, day=_day(report.began_at)
    )


def axis(result: Result) -> Axis:
    """Lay a drill's events out over its duration."""
    events = result.events
    first = events[0].at if events else result.began_at
    span = max(events[-1].at - first, 1) if events else 1
    marks = [Mark(e, round(100 * (e.at - first) / span, 2), (e.at - first) / 1000) for e in events]
    faults = [mark.left for mark in marks if mark.event.kind in {Kind.FAULT, Kind.MENDED}]
    settled = [mark.left for mark in marks if mark.event.kind is Kind.SETTLED]
    return Axis(marks, span / 1000, faults[-1] if faults else None, settled[-1] if settled else None)


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%-d %B %Y, %H:%M UTC")
