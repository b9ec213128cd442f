"""Errors as RFC 9457 problem details. Whatever goes wrong is answered by `answer`, and by nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    NotFound,
    OrdersError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMediaType,
)
from common.web.flask_app import Answer

CONTENT_TYPE = "application/problem+json"

_OF_WERKZEUG: dict[int, type[OrdersError]] = {
    error.status: error for error in (Malformed, NotFound, TooLarge, UnsupportedMediaType)
}


class OverLimit(TooManyRequests):
    """Too many requests; wait as long as Retry-After says."""

    def __init__(self, retry_after: int) -> None:
        """Take the seconds to wait."""
        super().__init__()
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ProblemWith:
    """Documents an error that carries further members, as the fields of a model."""

    error: type[OrdersError]
    members: type[BaseModel]


def install(app: Flask) -> None:
    """Have every exception answered as a problem."""
    app.register_error_handler(OrdersError, answer)
    app.register_error_handler(HTTPException, _answer_werkzeug)
    app.register_error_handler(Exception, _answer_unexpected)


def answer(error: OrdersError) -> Response:
    """Write an error as a response."""
    if type(error).slug == OrdersError.slug:
        return _answer_unexpected(error)
    if error.status >= 500 and error.__cause__ is not None:  # noqa: PLR2004 - a status class
        structlog.get_logger().warning(error.slug, cause=repr(error.__cause__))
    response = _response(type(error), error.detail, error.members)
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    if isinstance(error, Unauthenticated):
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
    return _response(OrdersError, OrdersError().detail, {})


def _response(kind: type[OrdersError], detail: str, members: dict[str, Any]) -> Response:
    problem = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": quote(request.path, safe="/:@!$&'()*+,;=", errors="replace"),
        "request_id": g.get("request_id", ""),
    }
    return Answer(orjson.dumps(problem | members), kind.status, content_type=CONTENT_TYPE)


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
