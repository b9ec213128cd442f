"""The overview: what runs, how it does, and what needs attention."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import orjson

from common.errors import Malformed
from console.pages.site import Raw, Result, Shown, Site
from console.pages.viewer import Viewer
from console.service.looking import Silent
from console.service.overview import MOST_DELAYED, Overview, Point
from console.service.reconciling import Standing

_FAILED: Final = frozenset({"unavailable", "outcome-unknown", "internal"})
_STOOD: Final = frozenset({"created", "replayed"})
_MEANING: Final[Mapping[str, str]] = {
    "created": "placed",
    "replayed": "asked for again with the same key",
    "insufficient-stock": "refused: not enough stock",
    "coupon-not-usable": "refused: coupon not usable",
    "unavailable": "failed: something was down, nothing was created",
    "outcome-unknown": "failed: not known yet, the check-back settles it",
    "internal": "failed: an error of ours",
}


def install(site: Site, overview: Overview, standings: Callable[[], Sequence[Standing]]) -> None:
    """Add the pages; `standings`: of each participant, whether its invariants held when they were last looked at."""

    @site.page("/", menu="Overview")
    def show(viewer: Viewer) -> Result:  # noqa: ARG001 - what every view is given
        look = overview.now()
        return Shown(
            "overview.html",
            {
                "look": look,
                "stats": _known(look.stats),
                "delayed": _known(look.delayed),
                "backlog": _known(look.backlog),
                "silent": {
                    name: found.why
                    for name in ("stats", "delayed", "backlog")
                    if isinstance(found := getattr(look, name), Silent)
                },
                "most_delayed": MOST_DELAYED,
                "meaning": _MEANING,
                "standings": standings(),
            },
        )

    @site.page("/live", query=("after",))
    def numbers(viewer: Viewer, query: Mapping[str, str]) -> Result:  # noqa: ARG001
        """Answer with the points of the chart later than `after`, in columns as uPlot takes them."""
        after = query.get("after", "0")
        if not after.isdecimal() or len(after) > 16:  # noqa: PLR2004 - digits of a time in ms, and some
            raise Malformed("after is a time in ms since the epoch.")
        points = overview.points(int(after))
        columns = {
            "at": [point.at for point in points],
            "placed": [_rate(point, failed=False) for point in points],
            "failed": [_rate(point, failed=True) for point in points],
        }
        return Raw(orjson.dumps(columns), "application/json")


def _known(found: object) -> object:
    return None if isinstance(found, Silent) else found


def _rate(point: Point, *, failed: bool) -> float | None:
    """Return orders per second that stand, or that failed; None where that is not known: a gap in the chart."""
    if point.rates is None:
        return None
    wanted = _FAILED if failed else _STOOD
    return round(sum(rate for outcome, rate in point.rates.items() if outcome in wanted), 3)
