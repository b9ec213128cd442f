"""Pages of other origins (CORS): none may call, unless it is set.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Sequence
from typing import Any, Final

Json = dict[str, Any]

_METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
_TAKEN: Final = "Authorization, Content-Type, Idempotency-Key, Prefer, X-Request-Id"
_SHOWN: Final = "Location, Retry-After, X-Request-Id, Idempotency-Replayed, Preference-Applied"
_REMEMBERED: Final = "600"  # seconds that a browser need not ask again


def routes(origins: Sequence[str]) -> list[Json]:
    """Return the routes that let pages of these origins call and read the answers; cookies are never taken."""
    if not origins:
        return []
    comes_from = {"header": {"Origin": list(origins)}}
    allowed = {
        "Access-Control-Allow-Origin": ["{http.request.header.Origin}"],
        "Access-Control-Expose-Headers": [_SHOWN],
    }
    asks_before = {
        "method": ["OPTIONS"],
        "header": {"Origin": list(origins), "Access-Control-Request-Method": ["*"]},
    }
    told = {
        "Access-Control-Allow-Methods": [_METHODS],
        "Access-Control-Allow-Headers": [_TAKEN],
        "Access-Control-Max-Age": [_REMEMBERED],
    }
    return [
        {"handle": [{"handler": "headers", "response": {"add": {"Vary": ["Origin"]}}}]},
        {"match": [comes_from], "handle": [{"handler": "headers", "response": {"set": allowed}}]},
        {
            "match": [asks_before],
            "handle": [{"handler": "static_response", "status_code": 204, "headers": told}],
            "terminal": True,
        },
    ]
