"""A chart of what a bench found: bars and curves, laid out for a page."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.report.page import render

WIDTH, LEFT, RIGHT = 900, 300, 90  # units of the drawing: all of it, what names take, what figures take
ROW = 24
_ROUNDED_FROM = 100
_COLOURS = {"per second": "#2a6f97", "p50": "#8ecae6", "p99": "#e07a5f"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure of one load: its median, and the lowest and the highest of all runs."""

    name: str
    median: float
    low: float
    high: float
    colour: str

    @property
    def words(self) -> str:
        """The median, as it stands beside the bar."""
        return f"{self.median:,.0f}" if self.median >= _ROUNDED_FROM else f"{self.median:.1f}"


Scale = Callable[[float, float, float], float]
"""The share of the room that a value takes, of the least and the most of all."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars below each other, to one scale."""

    title: str
    bars: Sequence[Bar]
    scale: Scale

    def place(self, value: float) -> float:
        """Return where a value lies, from the left."""
        least, most = min(bar.low for bar in self.bars), max(bar.high for bar in self.bars)
        return LEFT + (WIDTH - LEFT - RIGHT) * self.scale(value, least, most)


def draw(found: Mapping[str, Any]) -> str:
    """Return the page for a document of `lab.bench.report`."""
    loads = found["measured"]
    timed = [load for load in loads if load["milliseconds"]["p50"]]
    panels = [
        Panel("Per second", [_bar(load["name"], load["per_second"], "per second") for load in loads], _linear),
        Panel(
            "Milliseconds: half were faster (light), 99 of 100 were (dark); logarithmic",
            [
                _bar(f"{load['name']} {which}", load["milliseconds"][which], which)
                for load in timed
                for which in ("p50", "p99")
            ],
            _logarithmic,
        ),
    ]
    shown = [panel for panel in panels if panel.bars]
    return render("bench.html.j2", found=found, panels=shown, width=WIDTH, left=LEFT, row=ROW)


def _bar(name: str, figure: Mapping[str, float], colour: str) -> Bar:
    return Bar(name, figure["median"], figure["low"], figure["high"], _COLOURS[colour])


def _linear(value: float, _least: float, most: float) -> float:
    return value / most if most else 0.0


def _logarithmic(value: float, least: float, most: float) -> float:
    """Return a share of the room; the least value has a tenth of it."""
    if value <= 0 or most <= least:
        return 1.0 if value >= most else 0.0
    return 0.1 + 0.9 * math.log(value / least) / math.log(most / least)
