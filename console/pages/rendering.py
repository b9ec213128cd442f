"""Templates: everything that is put into one is escaped, and a name that is not given is an error."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from common.currencies import written
from console.pages.assets import Assets
from console.pages.leading import page_of
from console.pages.place import placed
from console.story import Story, draw
from halfmessage.clock import from_rfc3339, rfc3339

_LIVE: Final = "live"
"""The block that a poll of an open page gets alone."""


@dataclass(frozen=True, slots=True)
class Menu:
    """A place in the menu, for who has one of its scopes."""

    title: str
    path: str
    scopes: frozenset[str]


class Templates:
    """The templates of `console/templates`."""

    def __init__(self, assets: Assets) -> None:
        """Take where static files are."""
        self.menu: list[Menu] = []
        self._environment = Environment(
            loader=PackageLoader("console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "time": time_of,
            "money": written,
            "seconds": seconds,
            "written": evidence,
            "drawn": picture_of,
        }
        self._environment.globals |= {
            "asset": assets.url,
            "page_of": page_of,
            "menu": self.menu,
            "viewer": None,
            "path": "",
        }

    def render(self, name: str, given: Mapping[str, Any], *, live_only: bool = False) -> str:
        """Return a page, or its block `live` alone where it has one; half a surrogate pair in it is a "?"."""
        template = self._environment.get_template(name)
        if live_only and _LIVE in template.blocks:
            text = "".join(template.blocks[_LIVE](template.new_context(dict(given))))
        else:
            text = template.render(given)
        return placed(text.encode("utf-8", errors="replace").decode())  # JSON can have such halves, UTF-8 can't


def time_of(at: int | str | None) -> Markup:
    """Write a time (ms since the epoch, or RFC 3339) for people and machines; `console.js` adds the viewer's zone."""
    if at is None:
        return Markup('<span class="unknown">not known</span>')
    text = rfc3339(at if isinstance(at, int) else from_rfc3339(at))
    shown = f"{text[:23].replace('T', ' ')} UTC"
    return Markup('<time datetime="{}">{}</time>').format(text, shown)


def picture_of(story: Story) -> Markup:
    """Draw a story; its steps are links to `#step-1` and so on, which the page has."""
    return Markup(draw(story))  # noqa: S704  # nosec B704 - everything in it is escaped where it is made


def evidence(value: object) -> str:
    """Write a value of a document as JSON does, for people to read."""
    return json.dumps(value, ensure_ascii=False, default=str)


def seconds(value: float) -> str:
    """Write a duration in seconds: 0.25 s, 12 s, 3 min 5 s, 2 h 4 min, 5 d 3 h."""
    if value < 10:  # noqa: PLR2004 - where digits after the point tell something
        return f"{value:.3g} s"
    whole = round(value)
    for unit, smaller, large, small in ((86400, 3600, "d", "h"), (3600, 60, "h", "min"), (60, 1, "min", "s")):
        if whole >= unit:
            return f"{whole // unit} {large} {whole % unit // smaller} {small}"
    return f"{whole} s"
