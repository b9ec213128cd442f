"""Reading a request: strict JSON, strict query strings, strict headers. Each function raises `OrdersError`s."""

import json
import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl

import orjson
from flask import Request, g
from flask import request as request_proxy
from pydantic import BaseModel, ValidationError

from common.errors import Invalid, Malformed, UnsupportedMediaType
from common.schema import Query, Schema
from common.web.bodies import Bodies, has_unread_body
from common.web.problems import invalid, pointer

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 32
EVENTS = "text/event-stream"
_JSON = "application/json"
# A string takes all that follows where nothing ends it: could it fail there, the search would begin again at each quote
# in it, and one body would keep the process for half a minute.
_STRING: Final = r'"[^"\\]*(?:\\.[^"\\]*)*"?'
_QUOTED = re.compile(_STRING)
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
_ONCE = (
    ("HTTP_AUTHORIZATION", "Authorization"),
    ("HTTP_HOST", "Host"),
    ("HTTP_X_REQUEST_ID", "X-Request-Id"),
)  # the headers that are read here, and mean one thing; Content-Length and Content-Type: see docs/decisions/0003
IPNetwork = IPv4Network | IPv6Network
LOOPBACK: Final[Sequence[IPNetwork]] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_Header = tuple[str, str]
"""Its name in the WSGI environment, and its own."""
# Headers that make another call of the same line, and that nothing here honours: who sends one must not be answered as
# if it had been. Others that are not known may be ignored (RFC 9110, 5.1), as may conditions of reading.
_KEY: Final[_Header] = ("HTTP_IDEMPOTENCY_KEY", "Idempotency-Key")
_NEVER_HEARD: Final[Sequence[_Header]] = (
    ("HTTP_IF_MATCH", "If-Match"),
    ("HTTP_X_HTTP_METHOD_OVERRIDE", "X-HTTP-Method-Override"),
)
_UNHEARD_IN_WRITES: Final[Sequence[_Header]] = (
    ("HTTP_IF_NONE_MATCH", "If-None-Match"),
    ("HTTP_CONTENT_RANGE", "Content-Range"),
)
_STRING_OR_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_END_OF_KEY = re.compile(rb'"[ \t\r\n]*:')
_MAX_QUERY_FIELDS = 32
_MOST_DIGITS: Final = 4300  # of a number: as many as Python reads (sys.int_info)


def current_request() -> Request:
    """Return the request itself: its proxy finds it anew at each use, and a request is looked at dozens of times."""
    found: Request = cast("Any", request_proxy)._get_current_object()  # noqa: SLF001 - its documented way out
    return found


def current_globals() -> Any:
    """Return what `flask.g` stands for in the current request."""
    return cast("Any", g)._get_current_object()  # noqa: SLF001 - as above


def refuse_repeated_headers(request: Request) -> None:
    """Raise `Malformed` where a header that means one thing comes twice.

    Lines of the same name are one line with commas between (RFC 9110, 5.3): granian joins them, as any proxy may. So
    what comes once has no comma in it, and what has one came twice; but for an Idempotency-Key, which may have commas:
    it came twice where it is the same several times, as a proxy doubles it.
    """
    environ = request.environ
    for key, name in _ONCE:
        if "," in environ.get(key, ""):
            raise Malformed(f"Send the header {name} once; a comma in it counts as two.")
    if _is_repeated(environ.get("HTTP_IDEMPOTENCY_KEY", "")):
        raise Malformed("Send the header Idempotency-Key once.")


def _is_repeated(value: str) -> bool:
    """Whether a value is another one several times, with commas between."""
    parts = [part.strip(" ") for part in value.split(",")]
    number = len(parts)
    return any(number % copies == 0 and parts == parts[: number // copies] * copies for copies in range(2, number + 1))


def read_body(request: Request, model: type[M], bodies: Bodies, *, at_least: int = 0) -> M:
    """Return the JSON body as a `model`; for `at_least` see `Bodies.read`.

    Raise `UnsupportedMediaType`, `TooLarge`, `TooSlow`, `Malformed` or `Invalid`.
    """
    _check_content(request)
    return _parse(bodies.read(request, at_least=at_least), model)


class NoBody(Schema):
    """Takes no fields."""


def read_optional_body(request: Request, model: type[M], bodies: Bodies) -> M:
    """Return the JSON body as a `model`, none as an empty object. A call that takes no body has `NoBody`.

    Raise as `read_body` does. It is read before its type is looked at: one in chunks may turn out to be nothing.
    """
    if has_unread_body(request) and (raw := bodies.read(request)):
        _check_content(request)
        return _parse(raw, model)
    return model()


def refuse_unread_body(request: Request) -> None:
    """Raise `Invalid` where a read comes with a body: unread, so that its sender can't hold a thread."""
    if has_unread_body(request):
        raise Invalid(errors=[{"pointer": "", "message": "This call takes no body"}])


def _parse(raw: bytes, model: type[M]) -> M:
    _check_json(raw)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error) from None


def _check_content(request: Request) -> None:
    if request.environ.get("CONTENT_TYPE") != _JSON:
        _check_media_type(request)
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a content encoding.")


def _check_media_type(request: Request) -> None:
    if request.mimetype != _JSON:
        raise UnsupportedMediaType
    if request.mimetype_params.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType


def _check_json(raw: bytes) -> None:
    """Refuse what is no JSON of the Internet (RFC 7493), and nesting that no body of ours has."""
    if not _is_plain(raw):
        _check_json_thoroughly(raw)


def _is_plain(raw: bytes) -> bool:
    """Whether it is surely free of all that is refused, without taking it apart in Python: most bodies are.

    Without a backslash no string holds NUL or half of a surrogate pair, and each key of an object is a quote followed
    by a colon: if there are as many keys as such places, none occurs twice.
    """
    if b"\\" in raw:
        return False
    try:
        keys = _keys(orjson.loads(raw), MAX_DEPTH)
    except (orjson.JSONDecodeError, _TooDeep):
        return False
    return len(_END_OF_KEY.findall(raw)) == keys


class _TooDeep(Exception):
    pass


def _keys(value: object, levels: int) -> int:
    """Count the keys of all objects in a value. Raise `_TooDeep` where it has more than so many levels."""
    if not isinstance(value, dict | list):
        return 0
    if not levels:
        raise _TooDeep
    keys, items = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    return keys + sum(_keys(item, levels - 1) for item in items)


def _check_json_thoroughly(raw: bytes) -> None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    if not text:
        raise Malformed("The body is empty; send a JSON object.")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels.")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer)
    except ValueError as error:
        raise Malformed(f"The body is not JSON: {error}.") from None
    _check_strings(value, ())


def _depth(text: str) -> int:
    depth = deepest = 0
    for piece in _STRING_OR_BRACKET.findall(text):
        if piece in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif piece in "]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number has more than {_MOST_DIGITS} digits")
    return int(text)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _check_strings(value: object, location: tuple[str | int, ...]) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise Invalid(errors=[{"pointer": pointer(location), "message": "String should not contain NUL"}])
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise Malformed("The body is not JSON of the Internet: a string holds half of a surrogate pair.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_strings(key, location)
            _check_strings(item, (*location, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check_strings(item, (*location, i))


def read_query(request: Request, model: type[M]) -> M:
    """Return the query string as a `model`; unknown and repeated parameters are refused. Raise `Invalid`."""
    try:
        return model.model_validate(unique_parameters(request))
    except ValidationError as error:
        raise invalid(error) from None


def unique_parameters(request: Request) -> dict[str, str]:
    """Return the parameters of the query string. Raise `Invalid` where one comes twice."""
    return _pairs(request.query_string) if request.query_string else {}


def _pairs(query: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS
        )
    except ValueError:  # of which UnicodeDecodeError is one
        message = f"Send percent-encoded UTF-8, and {_MAX_QUERY_FIELDS} parameters at most"
        raise Invalid(errors=[{"pointer": "", "message": message}]) from None
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise Invalid(errors=[{"pointer": pointer([name]), "message": "Give it once"} for name in twice])
    return values


def read_idempotency_key(request: Request) -> str | None:
    """Return the header Idempotency-Key, None without one. Raise `Invalid`."""
    key = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    if key is not None and _IDEMPOTENCY_KEY.fullmatch(key) is None:
        message = "Header should have 1 to 255 visible ASCII characters"
        raise Invalid(errors=[{"pointer": "/Idempotency-Key", "message": message}])
    return key


def client_address(request: Request, proxies: int, networks: Sequence[IPNetwork] = LOOPBACK) -> str:
    """Return the address of who calls; of IPv6 the network (/64), as each customer has one.

    So many proxies of ours are in front, each of which adds whom it answers to X-Forwarded-For: what comes before
    their entries there is the caller's own, and says nothing. Of a peer that is in none of the `networks`, the header
    is its own too.
    """
    told = request.remote_addr or ""
    hops = [hop.strip() for hop in request.environ.get("HTTP_X_FORWARDED_FOR", told).split(",")]
    try:
        peer = ip_address(told)
        believed = len(hops) >= proxies > 0 and any(peer in network for network in networks)
        address = ip_address(hops[-proxies]) if believed else peer
    except ValueError:  # a Unix socket has none
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))
    return str(address)


def prefers_async(request: Request) -> bool:
    """Return whether the header Prefer says `respond-async` (RFC 7240); what else it says may be ignored."""
    said = _QUOTED.sub("", request.environ.get("HTTP_PREFER", ""))
    return any(preference.split(";")[0].strip().lower() == "respond-async" for preference in said.split(","))


def wants_events(request: Request) -> bool:
    """Return whether the answer is to be a stream of events rather than JSON, by the header Accept."""
    is_read = request.method == "GET"  # HEAD asks for nothing that could be streamed
    return is_read and request.accept_mimetypes.best_match([_JSON, EVENTS], default=_JSON) == EVENTS


def unheard(*, keyed: bool, writes: bool) -> Sequence[_Header]:
    """Return the headers that a call does not honour and must not ignore; `keyed`: it takes an Idempotency-Key."""
    return (*_NEVER_HEARD, *(_UNHEARD_IN_WRITES if writes else ()), *(() if keyed else (_KEY,)))


def refuse(request: Request, headers: Sequence[_Header]) -> None:
    """Raise `Invalid` where one of these headers comes."""
    found = [name for key, name in headers if key in request.environ]
    if found:
        raise Invalid(errors=[{"pointer": f"/{name}", "message": f"This call takes no {name}"} for name in found])


class NoQuery(Query):
    """Takes no parameters."""


_PLAIN: Final = unheard(keyed=False, writes=False)


def refuse_parameters(request: Request) -> None:
    """Raise `Invalid` where a call that only tells something comes with what would change what it tells."""
    read_query(request, NoQuery)
    refuse(request, _PLAIN)
    refuse_unread_body(request)
