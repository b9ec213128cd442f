"""Writes the OpenAPI 3.1 document of an `Api` from its routes: https://spec.openapis.org/oas/v3.1.1.html."""

import inspect
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from common.errors import (
    Forbidden,
    IdempotencyMismatch,
    Invalid,
    Malformed,
    MethodNotAllowed,
    OrdersError,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unauthenticated,
    UnsupportedMediaType,
)
from common.schema import ID_SCHEMA, WORD_PATTERN, Checks, Health, Readiness
from common.web.components import HEADERS_BY_STATUS, IDEMPOTENCY_KEY, PREFER, PROBLEM, RESPONSE_HEADERS, Json
from common.web.problems import CONTENT_TYPE, ProblemWith, kind_of
from common.web.requests import EVENTS
from common.web.routes import Route, is_id
from halfmessage.errors import HalfMessageError, NotFound, OutcomeUnknown, Unavailable

if TYPE_CHECKING:
    from common.web.api import Api

_REF = "#/components/schemas/{model}"
_WORD_SCHEMA: Json = {"type": "string", "pattern": WORD_PATTERN, "examples": ["SPRING-10"]}

_ABOUT = (
    "Every error is a problem (RFC 9457), unknown paths (404) and wrong methods (405, with Allow) included. "
    "HEAD is answered wherever GET is, without the body; OPTIONS is not supported. Unknown fields and unknown "
    "query parameters are refused. A header that means one thing and comes twice (Authorization, Host, "
    "Idempotency-Key, X-Request-Id) is 400 malformed; Idempotency-Key at a call that does not take it is 422 invalid. "
    "A write that shows no request body takes none, or an empty JSON object; a read takes none; others are 422. "
    "An answer before the end of a body closes the connection. Ids are 64-bit integers in decimal, as strings."
)


def document(api: "Api") -> Json:
    """Return the document, complete: every status, header and body that the routes can answer with."""
    schemas = _Schemas(api.routes)
    paths: Json = {}
    for route in api.routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    for path, operation in _system_operations(schemas).items():
        paths[path] = {"get": operation}
    return {
        "openapi": "3.1.0",
        "info": {"title": api.title, "version": api.version, "description": f"{api.description}\n\n{_ABOUT}"},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": PROBLEM} | schemas.definitions,
            "headers": RESPONSE_HEADERS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


class _Schemas:
    """The JSON schemas of all models of an API, named."""

    def __init__(self, routes: Iterable[Route]) -> None:
        inputs: set[type[BaseModel]] = set()
        outputs: set[type[BaseModel]] = {Checks, Health, Readiness}
        for route in routes:
            inputs.update(model for model in (route.body, route.query) if model is not None)
            outputs.update(route.returns.values())
            outputs.update(error.members for error in route.errors if isinstance(error, ProblemWith))
        wanted = [(model, "validation") for model in inputs] + [(model, "serialization") for model in outputs]
        wanted.sort(key=lambda pair: (pair[0].__name__, pair[1]))
        refs, whole = models_json_schema(wanted, ref_template=_REF)  # type: ignore[arg-type]
        self._refs = refs
        self.definitions: Json = whole.get("$defs", {})

    def body(self, model: type[BaseModel]) -> Json:
        return self._refs[model, "validation"]

    def answer(self, model: type[BaseModel]) -> Json:
        return self._refs[model, "serialization"]

    def properties(self, model: type[BaseModel]) -> Json:
        definition: Json = self.definitions[self.body(model)["$ref"].rsplit("/", 1)[1]]
        return definition


def _operation(route: Route, schemas: _Schemas) -> Json:
    summary, _, description = (inspect.getdoc(route.view) or route.path).partition("\n")
    answers = {status: _success(route, status, model, schemas) for status, model in route.returns.items()}
    if route.foreign:
        answers = {200: _response(200, "*/*", {})}
    operation: Json = {
        "operationId": route.view.__name__,
        "summary": summary,
        "parameters": _parameters(route, schemas),
        "responses": _responses(answers, _errors(route), schemas),
        "security": [{"token": [scope]} for scope in route.scopes] or [{"token": []}] if route.guarded else [],
    }
    if description.strip():
        operation["description"] = description.strip()
    if route.foreign:
        operation["requestBody"] = {"required": True, "content": {"*/*": {}}}
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": schemas.body(route.body)}},
        }
    return operation


def _parameters(route: Route, schemas: _Schemas) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": ID_SCHEMA if is_id(name) else _WORD_SCHEMA}
        for name in route.parameters
    ]
    if route.query is not None:
        model = schemas.properties(route.query)
        required = model.get("required", [])
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": _not_null(schema)}
            for name, schema in model["properties"].items()
        ]
    headers = [*([IDEMPOTENCY_KEY] if route.idempotent else []), *([PREFER] if route.respond_async else [])]
    return [*found, *headers]


def _not_null(schema: Json) -> Json:
    """Drop null from an optional parameter: a query string can leave it out, but not say null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    return choices[0] if len(choices) == 1 else {k: v for k, v in schema.items() if k != "default" or v is not None}


def _errors(route: Route) -> list[type[HalfMessageError] | ProblemWith]:
    """Return what the view may raise, and what the wrapper does before it is called."""
    found: list[type[HalfMessageError] | ProblemWith] = [
        *(Malformed, MethodNotAllowed, Invalid, TooSlow, TooLarge, OrdersError, Unavailable),
        *((Unauthenticated,) if route.guarded else ()),
        *(() if route.foreign else (UnsupportedMediaType,)),
    ]
    if route.scopes:
        found.append(Forbidden)
    if route.parameters:
        found.append(NotFound)
    if route.writes:
        found.append(OutcomeUnknown)
    if route.idempotent:
        found.append(IdempotencyMismatch)
    if route.rate_limit or route.gate is not None:
        found.append(TooManyRequests)
    return [*found, *route.errors]


def _success(route: Route, status: int, model: type[BaseModel], schemas: _Schemas) -> Json:
    headers = ["Idempotency-Replayed"] if route.idempotent else []
    if route.respond_async and status == HTTPStatus.ACCEPTED:
        headers += ["Location", "Preference-Applied"]
    answer = _response(status, "application/json", schemas.answer(model), headers)
    if route.streams:
        answer["content"][EVENTS] = {"schema": {"type": "string"}}
    return answer


def _responses(
    answers: dict[int, Json], errors: Sequence[type[HalfMessageError] | ProblemWith], schemas: _Schemas
) -> Json:
    by_status: dict[int, list[type[HalfMessageError] | ProblemWith]] = {}
    for error in errors:
        by_status.setdefault(kind_of(_kind(error)).status, []).append(error)
    for status, alternatives in by_status.items():
        answers[status] = _response(status, CONTENT_TYPE, _any_of(alternatives, schemas))
    return {str(status): answers[status] for status in sorted(answers)}


def _response(status: int, content_type: str, schema: Json, headers: Sequence[str] = ()) -> Json:
    names = ["X-Request-Id", *headers]
    if status in HEADERS_BY_STATUS:
        names.append(HEADERS_BY_STATUS[status])
    return {
        "description": HTTPStatus(status).phrase,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {content_type: {"schema": schema}},
    }


def _any_of(errors: Sequence[type[HalfMessageError] | ProblemWith], schemas: _Schemas) -> Json:
    unique = {kind_of(_kind(error)).slug: _problem(error, schemas) for error in errors}
    return next(iter(unique.values())) if len(unique) == 1 else {"oneOf": list(unique.values())}


def _kind(error: type[HalfMessageError] | ProblemWith) -> type[HalfMessageError]:
    return error.error if isinstance(error, ProblemWith) else error


def _problem(error: type[HalfMessageError] | ProblemWith, schemas: _Schemas) -> Json:
    kind = kind_of(_kind(error))
    parts: list[Json] = [
        {"$ref": _REF.format(model="Problem")},
        {"properties": {"type": {"const": f"/problems/{kind.slug}"}, "status": {"const": kind.status}}},
    ]
    if isinstance(error, ProblemWith):
        members = schemas.definitions[schemas.answer(error.members)["$ref"].rsplit("/", 1)[1]]
        parts.append({key: members[key] for key in ("properties", "required") if key in members})
    return {"title": kind.slug, "description": _kind(error)().detail, "allOf": parts}


def _system_operations(schemas: _Schemas) -> Json:
    def operation(
        name: str, summary: str, response: Json, *errors: type[HalfMessageError] | ProblemWith, guarded: bool = False
    ) -> Json:
        responses = _responses({200: response}, [*errors, Malformed, Invalid, MethodNotAllowed, OrdersError], schemas)
        security: list[Json] = [{"token": []}] if guarded else []
        return {
            "operationId": name,
            "summary": summary,
            "tags": ["system"],
            "responses": responses,
            "security": security,
        }

    health = _response(200, "application/json", schemas.answer(Health))
    readiness = _response(200, "application/json", schemas.answer(Readiness))
    text: Json = {"type": "string"}
    return {
        "/healthz": operation("healthz", "Is the process alive?", health),
        "/readyz": operation(
            "readyz", "Does all that the service needs answer?", readiness, ProblemWith(Unavailable, Checks)
        ),
        "/metrics": operation(
            "metrics", "Prometheus metrics.", _response(200, "text/plain", text), Unauthenticated, guarded=True
        ),
        "/openapi.json": operation("openapi", "This document.", _response(200, "application/json", {"type": "object"})),
        "/docs": operation("docs", "This document, to read and to try.", _response(200, "text/html", text)),
    }
