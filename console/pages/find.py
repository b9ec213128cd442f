"""One box that finds anything."""

from collections.abc import Mapping
from typing import Final

from console.pages.site import Result, Shown, Site
from console.pages.viewer import Viewer
from console.service.finding import LONGEST, MOST_MESSAGES, Finding, is_findable

_WAYS: Final[Mapping[str, str]] = {
    "order": "The order of this id",
    "transaction": "Orders placed by this transaction",
    "idempotency-key": "Orders placed with this Idempotency-Key",
    "x-request-id": "Orders placed by the call with this X-Request-Id",
    "user": "Orders of this user",
}


def install(site: Site, finding: Finding) -> None:
    """Add the page."""

    @site.page("/find", query=("q",))
    def show(viewer: Viewer, query: Mapping[str, str]) -> Result:
        text = query.get("q", "")
        given = {"q": text, "longest": LONGEST, "most_messages": MOST_MESSAGES, "ways": _WAYS}
        if not is_findable(text):
            return Shown("find.html", {**given, "found": None})
        return Shown("find.html", {**given, "found": finding.find(viewer.token, text)})
