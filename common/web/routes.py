"""What a route declares, and what its view returns."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from werkzeug.routing import BaseConverter

from common.auth import Identity
from common.schema import ID_PATTERN, WORD_PATTERN
from common.web.gate import Gate
from common.web.problems import ProblemWith
from common.web.requests import current_globals
from common.web.streams import Stream
from halfmessage.errors import HalfMessageError

_PARAMETER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: a model, or plain values or bytes of JSON that look like one; the status, and further headers.

    Bytes may be of another media type, to those who are no callers of ours; a stream is one of events.
    """

    body: BaseModel | Mapping[str, Any] | bytes | Stream
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


def replayed(again: bool) -> dict[str, str]:
    """Return the header that marks an answer as an earlier one, if it is."""
    return {"Idempotency-Replayed": "true"} if again else {}


def created(body: BaseModel, where: str, *, again: bool = False) -> Reply:
    """Return the answer to what made a new thing: the thing, and its path; `again`: it was made before."""
    return Reply(body, 201, {"Location": where} | replayed(again))


class IdConverter(BaseConverter):
    """Ids in paths, canonical decimal; a path with anything else in its place is unknown."""

    # Exact, for werkzeug compares methods before it converts: too large an id would be a 405 under another method.
    regex = ID_PATTERN.removeprefix("^").removesuffix("$")

    def to_python(self, value: str) -> int:
        """Return the id."""
        return int(value)


class WordConverter(BaseConverter):
    """Words in paths, such as the code of a coupon; a path with anything else in its place is unknown."""

    regex = WORD_PATTERN.removeprefix("^").removesuffix("$")


View = Callable[..., Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: all that is needed to guard it, to call it and to document it.

    `scopes`: any one of them is enough, none = any valid token. `rate_limit`: per user, for example
    ``1000/second``. `idempotent`: takes the header Idempotency-Key. `gate`: so many calls are inside at once, further
    ones are refused; several routes may share it. `body_optional`: without a body, it is an empty object.
    `foreign`: callers are no users of ours: no token is looked at, the body is what it is, and the view is given the
    `headers`, by lower-case names, and what may `read` the raw body, to find out whose they are.
    `open_to_all`: callers need no token, and one that they send is not looked at; the declaring service bounds it.
    `body_at_least`: bytes of a body that are taken whatever is set, for calls of our own services, which ask for as
    much as the route's model allows.
    `respond_async`: the view is told whether the header Prefer says so, and then answers 202 with a Location.
    `streams`: answers a stream of events to those who accept that (`common.web.streams`).
    """

    method: str
    path: str
    view: View
    scopes: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    body_optional: bool = False
    query: type[BaseModel] | None = None
    returns: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    errors: tuple[type[HalfMessageError] | ProblemWith, ...] = ()
    rate_limit: str = ""
    idempotent: bool = False
    gate: Gate | None = None
    body_at_least: int = 0
    respond_async: bool = False
    streams: bool = False
    foreign: bool = False
    open_to_all: bool = False

    @property
    def guarded(self) -> bool:
        """Whether callers need a token of ours."""
        return not (self.foreign or self.open_to_all)

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"

    @property
    def parameters(self) -> list[str]:
        """The names in the path's braces."""
        return _PARAMETER.findall(self.path)

    @property
    def rule(self) -> str:
        """The path as Flask writes it."""
        return _PARAMETER.sub(lambda found: f"<{'id' if is_id(found[1]) else 'word'}:{found[1]}>", self.path)


def is_id(parameter: str) -> bool:
    """Whether a path's parameter is an id; the others are words."""
    return parameter.endswith("_id")


def current_identity() -> Identity:
    """Return who makes the current request; only inside a view of a route that needs a token."""
    identity: Identity = current_globals().identity
    return identity
