"""Reading what a page's form sends, as a browser does."""

from collections.abc import Callable
from io import BytesIO
from typing import Final
from urllib.parse import parse_qsl

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from common.errors import Malformed, UnsupportedMediaType
from common.web.requests import refuse, refuse_repeated_headers, unheard

_FORM: Final = "application/x-www-form-urlencoded"
_WITH_FILE: Final = "multipart/form-data"
_UNHEARD: Final = unheard(keyed=False, writes=True)


def read_form(request: Request, read: Callable[[Request], bytes], *, most_fields: int) -> list[tuple[str, str]]:
    """Return the fields of a form, empty ones too, in their order; `read` returns its body, as `Bodies` do.

    A header that would make another call of it, an Idempotency-Key above all, is refused, not ignored. Raise `Invalid`
    for one, `UnsupportedMediaType`, `Malformed` (also for more than `most_fields`) or what reading a body raises.
    """
    _check(request, _FORM)
    try:
        text = read(request).decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=most_fields)
    except ValueError:  # of which UnicodeDecodeError is one
        raise Malformed("The form can't be read.") from None


def read_form_with_file(
    request: Request, read: Callable[[Request], bytes], *, file: str, most_fields: int
) -> tuple[list[tuple[str, str]], bytes]:
    """Return the fields of a form that sends a file along (RFC 7578), and that file, empty where there is none.

    It is read into memory with the form: what `read` takes bounds both. Raise as `read_form` does.
    """
    _check(request, _WITH_FILE)
    raw = read(request)
    parser = FormDataParser(
        lambda *_, **__: BytesIO(), max_form_memory_size=len(raw), max_form_parts=most_fields, silent=False
    )
    try:
        _, fields, files = parser.parse(BytesIO(raw), _WITH_FILE, len(raw), dict(request.mimetype_params))
        sent = files.getlist(file)
        if len(sent) > 1:
            raise Malformed(f"The form has several files {file!r}; it takes one.")
        return list(fields.items(multi=True)), sent[0].read() if sent else b""
    except (ValueError, RequestEntityTooLarge):  # the latter where it has more parts
        raise Malformed("The form can't be read.") from None


def _check(request: Request, media_type: str) -> None:
    refuse_repeated_headers(request)
    refuse(request, _UNHEARD)
    if request.mimetype != media_type:
        raise UnsupportedMediaType("Send the form as a browser does.")
