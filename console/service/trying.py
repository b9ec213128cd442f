"""What one part of a page needs: where its source is down, the part says so, and the rest of the page is there."""

from collections.abc import Callable
from typing import Any, TypeVar

from console.service.looking import Silent
from halfmessage.errors import Unavailable

T = TypeVar("T")


def tried(source: Callable[[], T]) -> T | Silent:
    """Return what a source says, or that it is `Silent`."""
    try:
        return source()
    except Unavailable as error:
        return Silent(error.detail)


def told_as(name: str, found: object) -> dict[str, Any]:
    """Return what a template is given of a part: what was `found`, by its name; None and `why` where it is `Silent`."""
    if isinstance(found, Silent):
        return {name: None, "why": found.why}
    return {name: found, "why": ""}
