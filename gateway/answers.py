"""What the gateway itself answers: problems (RFC 9457) with the words that the services have for the same."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from common.errors import MethodNotAllowed, OrdersError, TooLarge, TooSlow
from common.web.problems import CONTENT_TYPE, Kind, kind_of
from gateway.upstreams import KEYED
from halfmessage.errors import HalfMessageError, NotFound, OutcomeUnknown, Unavailable

Json = dict[str, Any]

REQUEST_ID: Final = "{http.request.header.X-Request-Id}"
_INSTANCE: Final = "{orders.instance}"
_OUTCOME: Final = (
    "The service ended the connection before its answer: it may have done this or not. Ask for its state, or send it "
    "again with the same Idempotency-Key."
)
_DOWN: Final = "No instance of the service answers; nothing was changed, try again."
_TRIED_AGAIN: Final[Json] = {"vars_regexp": {"{http.reverse_proxy.retries}": {"pattern": "[1-9]"}}}
_SLOW_ANSWER: Final = 5  # seconds to wait until one asks what became of a call


def instance() -> Json:
    """Return the handler that tells later ones what to write for the path: itself, quoted where it might end a string.

    Caddy puts placeholders into a JSON text as they are.
    """
    plain = r"\A([A-Za-z0-9/._~!$&()*+,;=:@-]*)\z"
    return {
        "handler": "map",
        "source": "{http.request.uri.path}",
        "destinations": [_INSTANCE],
        "mappings": [{"input_regexp": plain, "outputs": ["${1}"]}],
        "defaults": ["{http.request.uri.path_escaped}"],
    }


def problem(kind: Kind, detail: str) -> Json:
    """Return the handler that answers with a problem."""
    document = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": _INSTANCE,
        "request_id": REQUEST_ID,
    }
    headers = {"Content-Type": [CONTENT_TYPE], "X-Request-Id": [REQUEST_ID]}
    if kind.retry_after is not None:
        headers["Retry-After"] = [str(kind.retry_after)]
    return {"handler": "static_response", "status_code": kind.status, "headers": headers, "body": json.dumps(document)}


def of(error: type[HalfMessageError]) -> Json:
    """Return the handler that answers as a service answers an error of this class."""
    return problem(kind_of(error), error().detail)


def not_found() -> Json:
    """Return the handler for a path that no service serves."""
    return of(NotFound)


def only_reads() -> Json:
    """Return the handler for a path that can only be read, asked by another method."""
    answer = of(MethodNotAllowed)
    answer["headers"]["Allow"] = ["GET, HEAD"]
    return answer


def too_slow() -> Json:
    """Return the handler for a request that did not arrive in time."""
    return of(TooSlow)


def errors() -> list[Json]:
    """Return the routes of what goes wrong in Caddy: in the order of looking at them, the first one answers.

    Where a call of writing was sent and its connection ended, its outcome is not known; where it was never sent, or
    only reads, nothing was changed. The error is that of the last try: of what was sent again, no earlier one is known.
    """
    unavailable = problem(kind_of(Unavailable), _DOWN)
    unknown = problem(replace(kind_of(OutcomeUnknown), retry_after=_SLOW_ANSWER), _OUTCOME)
    return [
        {"handle": [instance()]},
        _route(_error("request body too large"), of(TooLarge)),
        _route(_status("413"), of(TooLarge)),
        _route(_status("503"), unavailable),  # no instance is in order
        _route(_status("502", "504") | {"method": ["GET", "HEAD"]}, unavailable),
        _route(_status("502", "504") | _TRIED_AGAIN | KEYED, unknown),
        _route(_status("502") | _error("dial "), unavailable),
        _route(_status("502", "504"), unknown),
        _route(_status("404"), not_found()),
        _route({}, of(OrdersError)),
    ]


def _route(matcher: Mapping[str, Any], handler: Json) -> Json:
    return ({"match": [dict(matcher)]} if matcher else {}) | {"handle": [handler], "terminal": True}


def _status(*codes: str) -> Json:
    return {"vars": {"{http.error.status_code}": list(codes)}}


def _error(words: str) -> Json:
    return {"vars_regexp": {"{http.error}": {"pattern": words}}}
