"""What holds for every request to the console: no token in an address, no other site, nothing from elsewhere."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

from flask import Flask, Request, Response

from common.errors import Forbidden, Malformed
from common.web.requests import current_request
from console.pages.place import prefix

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise itself, as static files and the pages of /docs do."""

_PART: Final = "[A-Za-z0-9_-]"
# Looked for once in each run of its characters: from every eyJ to the run's end, a long address would take seconds.
_JWT: Final = re.compile(rf"(?<!{_PART})(?>{_PART}*?eyJ){_PART}{{8,}}+\.{_PART}{{8,}}+\.")
_NAMES: Final = frozenset({"token", "access_token", "id_token", "jwt", "authorization"})
_OURS: Final = frozenset({"same-origin", "none"})  # none: typed, or from a bookmark
_MOST_FIELDS: Final = 64
_PLACES: Final = ("Location", "HX-Redirect")


def install(app: Flask) -> None:
    """Guard all routes of `app`."""
    app.before_request(lambda: _refuse_token_in_address(current_request()))
    app.after_request(_harden)


def refuse_other_sites(request: Request) -> None:
    """Raise `Forbidden` where a browser says that another site sent this; one that says nothing is let through."""
    if request.headers.get("Sec-Fetch-Site", "none") not in _OURS:
        raise Forbidden("Another site sent this form; nothing was done.")


def _refuse_token_in_address(request: Request) -> None:
    """Raise `Malformed`: addresses are kept in histories and logs, and are shown to others."""
    query = request.query_string.decode("latin-1")
    try:
        names = {name.lower() for name, _ in parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS)}
    except ValueError:
        raise Malformed("The address has too many parameters.") from None
    if not names.isdisjoint(_NAMES) or _JWT.search(unquote(request.path) + " " + unquote(query)):
        raise Malformed("A token does not belong into an address, where others can read it: send it at /login.")


def _harden(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    for name in _PLACES:
        if response.headers.get(name, "").startswith("/"):
            response.headers[name] = prefix(current_request()) + response.headers[name]
    return response
