"""Reading what a page's form sends, as a browser does."""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

from flask import Request

from common.errors import Malformed, UnsupportedMediaType
from common.web.requests import refuse, refuse_repeated_headers, unheard

_FORM: Final = "application/x-www-form-urlencoded"
_UNHEARD: Final = unheard(keyed=False, writes=True)


def read_form(request: Request, read: Callable[[Request], bytes], *, most_fields: int) -> list[tuple[str, str]]:
    """Return the fields of a form, empty ones too, in their order; `read` returns its body, as `Bodies` do.

    A header that would make another call of it, an Idempotency-Key above all, is refused, not ignored. Raise `Invalid`
    for one, `UnsupportedMediaType`, `Malformed` (also for more than `most_fields`) or what reading a body raises.
    """
    refuse_repeated_headers(request)
    refuse(request, _UNHEARD)
    if request.mimetype != _FORM:
        raise UnsupportedMediaType("Send the form as a browser does.")
    try:
        text = read(request).decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=most_fields)
    except ValueError:  # of which UnicodeDecodeError is one
        raise Malformed("The form can't be read.") from None
