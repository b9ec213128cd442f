"""Lists over REST, a page at a time: what is asked for, the cursor that leads to the next page, the page."""

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

from pydantic import Field, StringConstraints

from common.errors import Invalid
from common.schema import Query, QueryInt, Schema

T = TypeVar("T")

PageLimit = Annotated[QueryInt, Field(ge=1, le=100, description="how many to return at most")]
"""Give it the default 20."""

_CHECK = 4  # bytes: finds typing errors and cut ends; not a secret, a cursor gives no rights


def encode_cursor(*position: int) -> str:
    """Return an opaque cursor for a position in a list (one to four 64-bit integers)."""
    packed = struct.pack(f">{len(position)}q", *position)
    return base64.urlsafe_b64encode(packed + _check(packed)).rstrip(b"=").decode()


def decode_cursor(cursor: str, length: int = 1) -> tuple[int, ...]:
    """Return the position that `encode_cursor` was given; raise `Invalid` for anything else."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    packed, check = raw[:-_CHECK], raw[-_CHECK:]
    if len(packed) != 8 * length or check != _check(packed):
        raise Invalid(errors=[{"pointer": "/cursor", "message": "Input should be a next_cursor of this list"}])
    position: tuple[int, ...] = struct.unpack(f">{length}q", packed)
    if encode_cursor(*position) != cursor:  # base64 has several spellings of the same bytes
        raise Invalid(errors=[{"pointer": "/cursor", "message": "Input should be a next_cursor of this list"}])
    return position


def _check(packed: bytes) -> bytes:
    return hashlib.sha256(b"cursor" + packed).digest()[:_CHECK]


Cursor = Annotated[
    str,
    StringConstraints(min_length=16, max_length=48, pattern="^[A-Za-z0-9_-]+$"),
    Field(description="the next_cursor of the page before; opaque"),
]


class PageQuery(Query):
    """What every list takes: at most `limit` items, those older than the last one of the page before."""

    limit: PageLimit = 20
    cursor: Cursor | None = None

    @property
    def before(self) -> int | None:
        """The id of the last item of the page before; None on the first page. Raise `Invalid`."""
        return None if self.cursor is None else decode_cursor(self.cursor)[0]

    def page(self, found: Sequence[T], id_of: Callable[[T], int]) -> tuple[Sequence[T], str | None]:
        """Return the page and the cursor of the next one, None at the end; one more was looked for than is shown."""
        shown = found[: self.limit]
        return shown, encode_cursor(id_of(shown[-1])) if len(found) > self.limit else None


class Page(Schema, Generic[T]):
    """A page of a list; a subclass says of what, and in which order."""

    items: tuple[T, ...]
    next_cursor: str | None = Field(description="for the next page; null at the end")
