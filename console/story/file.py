"""Story files: one page that needs nothing else, with the data it was made of.

What is in a file is what `tell` was given. To verify one is to tell and draw it again: it is intact if the very same
page comes out. That finds what was changed, in part or by mistake. It does not tell who made a file: compare its
SHA-256 with one that was told by another way.
"""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from common.registry import STORY_FILE
from console.story.model import Agree, Step, Story, StoryError
from console.story.picture import draw
from console.story.telling import tell
from console.story.words import document
from halfmessage.clock import rfc3339

LARGEST: Final = STORY_FILE
"""Bytes of a story file."""
SCHEMA: Final = "orders-story/1"
DRAWING: Final = 2
"""Which way of telling and drawing. Another release may do it otherwise: then only the data of a file is compared."""
_DATA = re.compile(r'<script type="application/json" id="story-data">([^<]*)</script>')
_SHA256 = re.compile(r'<code id="story-sha256">([0-9a-f]{64})</code>')
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_AGREED = {Agree.YES: "✓ all agree", Agree.NO: "✗ they contradict each other", Agree.UNKNOWN: "? not all can tell"}


@dataclass(frozen=True, slots=True)
class Verified:
    """A file that is intact. `drawn_alike` False: another release drew it, so that only its data could be compared."""

    story: Story
    sha256: str
    drawn_alike: bool


def write_file(story: Story) -> str:
    """Return a story as a page of its own. Raise `StoryError` where that is larger than `LARGEST`, or can't be."""
    data = _data(story, DRAWING)
    text = _page(story, data)
    _check_size(text)
    return text


def read_file(text: str) -> Story:
    """Return the story that is in a file. Raises as `verify` does."""
    return verify(text).story


def verify(text: str) -> Verified:
    """Return what is in a file that is intact. Raise `StoryError`: it was changed, is too large, or is none."""
    _check_size(text)
    datas, sums = _DATA.findall(text), _SHA256.findall(text)
    if len(datas) != 1 or len(sums) != 1:
        raise StoryError("This is no story file, or it was changed: it has not one block of data and one SHA-256.")
    found = hashlib.sha256(datas[0].encode()).hexdigest()
    if found != sums[0]:
        raise StoryError(f"The file was changed: its data has the SHA-256 {found}, and it names {sums[0]}.")
    story, drawing = _story(datas[0])
    if _data(story, drawing) != datas[0]:
        raise StoryError("The file was changed: its data is not written as a story's is.")
    if drawing == DRAWING and _page(story, datas[0]) != text:
        raise StoryError("The file was changed: its picture or its words are not those of its data.")
    return Verified(story, found, drawn_alike=drawing == DRAWING)


def _check_size(text: str) -> None:
    size = len(text.encode("utf-8", errors="replace"))
    if size > LARGEST:
        raise StoryError(f"A story file has at most {LARGEST:,} bytes; this has {size:,}.")


def _data(story: Story, drawing: int) -> str:
    """Write the data: always the same way, on one line, and with nothing in it that could end its element."""
    told = {
        "schema": SCHEMA,
        "drawing": drawing,
        "order_id": story.order_id,
        "now_ms": story.now_ms,
        "order": story.order,
        "entries": story.entries,
    }
    try:
        text = json.dumps(told, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise StoryError("The story has something in it that no JSON can have.") from error
    return re.sub("[<>&]", lambda found: _ESCAPES[found[0]], text)


def _story(data: str) -> tuple[Story, int]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoryError("The data of the file is no JSON.") from error
    if not isinstance(found, Mapping) or found.get("schema") != SCHEMA:
        raise StoryError(f"The file is not of the form that is read here, {SCHEMA}; a later release may have made it.")
    order, entries, drawing = found.get("order"), found.get("entries"), found.get("drawing")
    if not (isinstance(order, Mapping | None) and isinstance(entries, list) and type(drawing) is int):
        raise StoryError("The data of the file is not that of a story.")
    return tell(order, entries, order_id=found.get("order_id", ""), now_ms=found.get("now_ms", -1)), drawing


def _page(story: Story, data: str) -> str:
    sheet = style()
    digest = b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    text: str = _template().render(
        story=story,
        seen=rfc3339(story.now_ms),
        agreed=_AGREED,
        evidence=evidence,
        picture=Markup(draw(story)),  # noqa: S704  # nosec B704 - everything in it is escaped where it is made
        style=Markup(sheet),  # noqa: S704  # nosec B704 - ours
        style_hash=f"sha256-{digest}",
        sha256=hashlib.sha256(data.encode()).hexdigest(),
        data=Markup(data),  # noqa: S704  # nosec B704 - escaped as JSON
    )
    return text


def evidence(step: Step) -> str:
    """Return all that is known of a step as indented JSON."""
    told: dict[str, Any] = {"event": step.event, "at": None if step.at is None else rfc3339(step.at)}
    return document(told | {"source": step.source, "known": step.known, "evidence": step.evidence})


@cache
def style() -> str:
    """Return the stylesheet of stories, `console/static/story.css`."""
    return files("console").joinpath("static", "story.css").read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("console.story"),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("story.html")
