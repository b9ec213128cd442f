"""A chart of what a bench found: one HTML file that needs nothing else, bars and curves as SVG in it."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

_PAGE = Template(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; color: #222; background: #fff }
svg { width: 100%; height: auto } text { font: 12px system-ui, sans-serif; fill: #222 }
.grid { stroke: #ddd } .spread { stroke: #222; stroke-width: 1.5 } .wrong { color: #b00020; font-weight: bold }
</style></head><body>
<h1>$title</h1>
<p>$facts</p>
$verdict
$panels
</body></html>
"""
)
_WIDTH, _LEFT, _RIGHT = 900, 300, 90  # units of the drawing: all of it, what names take, what figures take
_ROW = 24
_ROUNDED_FROM = 100
_COLOURS = {"per second": "#2a6f97", "p50": "#8ecae6", "p99": "#e07a5f"}

Bar = tuple[str, float, float, float, str]
"""What it is, median, lowest, highest, colour."""


def draw(found: Mapping[str, Any]) -> str:
    """Return the page for a document of `lab.bench.report`."""
    loads = found["measured"]
    timed = [load for load in loads if load["milliseconds"]["p50"]]
    panels = [
        _panel("Per second", [_bar(load["name"], load["per_second"], "per second") for load in loads], _linear),
        _panel(
            "Milliseconds: half were faster (light), 99 of 100 were (dark); logarithmic",
            [
                _bar(f"{load['name']} {which}", load["milliseconds"][which], which)
                for load in timed
                for which in ("p50", "p99")
            ],
            _logarithmic,
        ),
    ]
    machine = found["machine"]
    facts = (
        f"{found['at']}, commit {machine['commit'] or 'unknown'}, {machine['processors']} x {machine['model']}, "
        f"data on {machine['file_system']}, load before {machine['load_before']:.1f}. Bars are medians of the runs, "
        "whiskers the lowest and the highest."
    )
    wrong = "".join(f"<p class=wrong>wrong: {escape(line)}</p>" for line in found["wrong"])
    return _PAGE.substitute(
        title=escape(f"orders bench {found['command']}"),
        facts=escape(facts),
        verdict=wrong or "<p>The ledger was exact after every run.</p>",
        panels="".join(panels),
    )


def _bar(name: str, figure: Mapping[str, float], colour: str) -> Bar:
    return name, figure["median"], figure["low"], figure["high"], _COLOURS[colour]


def _panel(title: str, bars: Sequence[Bar], scale: Callable[[float, float, float], float]) -> str:
    if not bars:
        return ""
    least = min(low for _, _, low, _, _ in bars)
    most = max(high for _, _, _, high, _ in bars)
    height = _ROW * len(bars) + 4
    rows = [_row(index, bar, lambda value: scale(value, least, most)) for index, bar in enumerate(bars)]
    return (
        f'<h2>{escape(title)}</h2><svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f'<line class="grid" x1="{_LEFT}" x2="{_LEFT}" y1="0" y2="{height}"/>{"".join(rows)}</svg>'
    )


def _row(index: int, bar: Bar, share: Callable[[float], float]) -> str:
    name, median, low, high, colour = bar
    room = _WIDTH - _LEFT - _RIGHT
    top, middle = index * _ROW + 4, index * _ROW + _ROW / 2 + 2
    end, left, right = (_LEFT + room * share(value) for value in (median, low, high))
    return (
        f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{_LEFT}" y="{top}" width="{end - _LEFT:.1f}" height="{_ROW - 6}" fill="{colour}"/>'
        f'<line class="spread" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text x="{max(end, right) + 6:.1f}" y="{middle + 4}">{_short(median)}</text>'
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= _ROUNDED_FROM else f"{value:.1f}"


def _linear(value: float, _least: float, most: float) -> float:
    return value / most if most else 0.0


def _logarithmic(value: float, least: float, most: float) -> float:
    """Return a share of the room; the least value has a tenth of it."""
    if value <= 0 or most <= least:
        return 1.0 if value >= most else 0.0
    return 0.1 + 0.9 * math.log(value / least) / math.log(most / least)
