"""Errors as RFC 9457 problem details. Whatever goes wrong is answered by `answer`, and by nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
import structlog
from flask import Flask, Response, g, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from common.errors import (
    Invalid,
    Malformed,
    MethodNotAllowed,
    OrdersError,
    TooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from common.web.flask_app import Answer
from halfmessage.errors import Conflict, HalfMessageError, NotFound, OutcomeUnknown, Unavailable

CONTENT_TYPE = "application/problem+json"

_OF_WERKZEUG: dict[int, type[HalfMessageError]] = {
    400: Malformed,
    404: NotFound,
    413: TooLarge,
    415: UnsupportedMediaType,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How errors of one class are told; `retry_after` in seconds, None where trying again is of no use."""

    status: int
    slug: str
    title: str
    retry_after: int | None = None


_OF_LIBRARY: dict[type[Exception], Kind] = {
    NotFound: Kind(404, "not-found", "Not found"),
    Conflict: Kind(409, "conflict", "Conflict"),
    Unavailable: Kind(503, "unavailable", "Unavailable", 1),
    OutcomeUnknown: Kind(503, "outcome-unknown", "Outcome unknown", 5),
    HalfMessageError: Kind(500, "internal", "Internal error"),
}
"""What the library's errors are in HTTP, of which it knows nothing. A subclass may have a slug and title of its own."""


def kind_of(error: type[HalfMessageError]) -> Kind:
    """Return how errors of a class are told: as the class says, else as the nearest of its bases that is known."""
    base = next(_OF_LIBRARY[parent] for parent in error.__mro__ if parent in _OF_LIBRARY)
    own = {name: getattr(error, name) for name in ("status", "slug", "title") if hasattr(error, name)}
    return replace(base, **own)


class OverLimit(TooManyRequests):
    """Too many requests; wait as long as Retry-After says."""

    def __init__(self, retry_after: int) -> None:
        """Take the seconds to wait."""
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ProblemWith:
    """Documents an error that carries further members, as the fields of a model."""

    error: type[HalfMessageError]
    members: type[BaseModel]


def install(app: Flask) -> None:
    """Have every exception answered as a problem."""
    app.register_error_handler(HalfMessageError, answer)
    app.register_error_handler(HTTPException, _answer_werkzeug)
    app.register_error_handler(Exception, _answer_unexpected)


def answer(error: HalfMessageError) -> Response:
    """Write an error as a response."""
    kind = kind_of(type(error))
    if kind.slug == OrdersError.slug:
        return _answer_unexpected(error)
    if kind.status >= 500 and error.__cause__ is not None:  # noqa: PLR2004 - a status class
        structlog.get_logger().warning(kind.slug, cause=repr(error.__cause__))
    response = _response(kind, error.detail, error.members)
    retry_after = error.retry_after if isinstance(error, TooManyRequests) else kind.retry_after
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    if kind.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _answer_werkzeug(error: HTTPException) -> Response:
    if isinstance(error, WrongMethod):
        response = answer(MethodNotAllowed())
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response
    kind = _OF_WERKZEUG.get(error.code or 500)
    return answer(kind()) if kind is not None else _answer_unexpected(error)


def _answer_unexpected(error: Exception) -> Response:
    structlog.get_logger().error("unexpected error", exc_info=error)
    return _response(kind_of(OrdersError), OrdersError().detail, {})


def document(error: HalfMessageError, instance: str, request_id: str) -> dict[str, Any]:
    """Return the problem with which a request for a path, `instance`, is or would be answered."""
    return _document(kind_of(type(error)), error.detail, error.members, instance, request_id)


def _document(kind: Kind, detail: str, members: dict[str, Any], instance: str, request_id: str) -> dict[str, Any]:
    problem = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "request_id": request_id,
    }
    return problem | members


def _response(kind: Kind, detail: str, members: dict[str, Any]) -> Response:
    instance = quote(request.path, safe="/:@!$&'()*+,;=", errors="replace")
    problem = _document(kind, detail, members, instance, g.get("request_id", ""))
    return Answer(orjson.dumps(problem), kind.status, content_type=CONTENT_TYPE)


def invalid(error: ValidationError) -> Invalid:
    """Translate pydantic's findings; the input itself is not repeated."""
    findings = error.errors(include_url=False, include_context=False, include_input=False)
    return Invalid(
        errors=[
            {"pointer": pointer(found["loc"]), "message": found["msg"].removeprefix("Value error, ")}
            for found in findings
        ]
    )


def pointer(location: Sequence[str | int]) -> str:
    """Write a location as JSON pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in location)
