"""Declares routes: guards, parses, calls the view, answers."""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial, partialmethod
from typing import Any, Final, Literal

import orjson
from flask import Response
from pydantic import BaseModel

from common import tracing
from common.auth import Identity, Verifier
from common.errors import Forbidden
from common.limits import Limiter, ProcessLimiter
from common.readiness import Check, Checks
from common.schema import Checks as ReadinessMembers
from common.schema import Readiness
from common.telemetry import Metrics
from common.web import docs, observe, problems, system
from common.web.bodies import Bodies, has_unread_body
from common.web.flask_app import Answer, App
from common.web.gate import Gate
from common.web.problems import OverLimit, ProblemWith
from common.web.requests import (
    NoBody,
    NoQuery,
    current_globals,
    current_request,
    prefers_async,
    read_body,
    read_idempotency_key,
    read_optional_body,
    read_query,
    refuse,
    refuse_repeated_headers,
    refuse_unread_body,
    unheard,
)
from common.web.routes import IdConverter, Reply, Route, View, WordConverter
from common.web.streams import Stream
from halfmessage.errors import HalfMessageError, Unavailable

INTERNAL: Final = "/internal/"
"""Where calls are that services alone make of each other: no user's token is taken there, whatever it may do."""
_ANYBODY: Final = Identity("", frozenset())


class Api:
    """One service's REST interface. Its WSGI application is `app`."""

    def __init__(
        self,
        service: str,
        *,
        title: str,
        description: str,
        version: str = "1",
        max_body: int,
        verifier: Verifier,
        metrics: Metrics,
        checks: Mapping[str, Check],
        optional: Collection[str] = (),
        limiter: Limiter | None = None,
        body_timeout: float = 10.0,
        slow_bodies: int = 8,
    ) -> None:
        """Make it with health, readiness, metrics, OpenAPI and docs; `checks` raise `OrdersError` if not ready.

        Those named in `optional` are told, and keep the service ready: most calls do without.
        A body has up to `max_body` bytes and arrives within `body_timeout` seconds; `slow_bodies` of them may take that
        long at once (see `Bodies`). What may last for long ends once `ending` is set.
        """
        self.service, self.title, self.description, self.version = service, title, description, version
        self.routes: list[Route] = []
        self.ending = threading.Event()
        self.bodies = Bodies(largest=max_body, within=body_timeout, slow=slow_bodies)
        self.metrics, self.verifier = metrics, verifier
        self._limiter = limiter or ProcessLimiter()
        self.app = App(service)
        self.app.url_map.converters |= {"id": IdConverter, "word": WordConverter}
        tracing.app(self.app)
        observe.install(self.app, metrics)
        self.app.before_request(lambda: refuse_repeated_headers(current_request()))
        problems.install(self.app)
        self._checks, self._optional = Checks(checks), set(optional)
        self._ready = system.install(self.app, metrics, self._checks, self._authorise, optional=self._optional)
        docs.install(self.app, self)
        self.app.after_request(_part_over_unread_body)
        self._declare_readiness()

    def tell_of(self, name: str, check: Check) -> None:
        """Have readiness tell of one more check, without which the service is ready; before the first request."""
        self._checks.add(name, check)
        self._optional.add(name)

    def _declare_readiness(self) -> None:
        @self.get(
            "/internal/readyz",
            scopes=("service",),
            returns={200: Readiness},
            errors=[ProblemWith(Unavailable, ReadinessMembers)],
        )
        def ready() -> Reply:
            """Tell another service, if its token is taken, whether its calls can be answered: as /readyz does."""
            return Reply(self._ready())

    def get(
        self,
        path: str,
        *,
        scopes: Sequence[str] = (),
        query: type[BaseModel] | None = None,
        returns: Mapping[int, type[BaseModel]],
        errors: Sequence[type[HalfMessageError] | ProblemWith] = (),
        gate: Gate | None = None,
        streams: bool = False,
        open_to_all: bool = False,
    ) -> Callable[[View], View]:
        """Declare a GET (see `Route`); HEAD is answered alike."""
        return self._declare(
            "GET",
            path,
            scopes=scopes,
            query=query,
            returns=returns,
            errors=errors,
            gate=gate,
            streams=streams,
            open_to_all=open_to_all,
        )

    def post(
        self,
        path: str,
        *,
        scopes: Sequence[str] = (),
        body: type[BaseModel] | None = None,
        body_optional: bool = False,
        returns: Mapping[int, type[BaseModel]],
        errors: Sequence[type[HalfMessageError] | ProblemWith] = (),
        rate_limit: str = "",
        idempotent: bool = False,
        gate: Gate | None = None,
        body_at_least: int = 0,
        respond_async: bool = False,
        open_to_all: bool = False,
    ) -> Callable[[View], View]:
        """Declare a POST (see `Route`)."""
        return self._declare(
            "POST",
            path,
            scopes=scopes,
            body=body,
            body_optional=body_optional,
            returns=returns,
            errors=errors,
            rate_limit=rate_limit,
            idempotent=idempotent,
            gate=gate,
            body_at_least=body_at_least,
            respond_async=respond_async,
            open_to_all=open_to_all,
        )

    def delete(
        self,
        path: str,
        *,
        returns: Mapping[int, type[BaseModel]],
        errors: Sequence[type[HalfMessageError] | ProblemWith] = (),
    ) -> Callable[[View], View]:
        """Declare a DELETE of something that the caller's own token names (see `Route`)."""
        return self._declare("DELETE", path, scopes=(), returns=returns, errors=errors)

    def put(
        self,
        path: str,
        *,
        scopes: Sequence[str] = (),
        body: type[BaseModel],
        returns: Mapping[int, type[BaseModel]],
        errors: Sequence[type[HalfMessageError] | ProblemWith] = (),
        method: Literal["PUT", "PATCH"] = "PUT",
    ) -> Callable[[View], View]:
        """Declare a PUT (see `Route`)."""
        return self._declare(method, path, scopes=scopes, body=body, returns=returns, errors=errors)

    def callback(
        self, path: str, *, errors: Sequence[type[HalfMessageError] | ProblemWith] = ()
    ) -> Callable[[View], View]:
        """Declare a POST for callers that have no token of ours, and sign what they send (see `Route.foreign`)."""
        return self._declare("POST", path, scopes=(), errors=errors, foreign=True)

    patch = partialmethod(put, method="PATCH")
    """Declare a PATCH, as `put` does."""

    def _declare(
        self,
        method: str,
        path: str,
        *,
        scopes: Sequence[str],
        errors: Sequence[type[HalfMessageError] | ProblemWith],
        **options: Any,
    ) -> Callable[[View], View]:
        def declare(view: View) -> View:
            if path.startswith(INTERNAL) and tuple(scopes) != ("service",):
                raise ValueError(f"{path}: what is below {INTERNAL} is for services alone")
            route = Route(method, path, view, scopes=tuple(scopes), errors=tuple(errors), **options)
            self.routes.append(route)
            handler = self._foreign_handler(route) if route.foreign else self._handler(route)
            self.app.add_url_rule(route.rule, f"{method} {path}", handler, methods=[method])
            return view

        return declare

    def _handler(self, route: Route) -> Callable[..., Response]:
        limit = self._limit(route)
        query, refused = route.query or NoQuery, unheard(keyed=route.idempotent, writes=route.writes)
        enter: Callable[[str], AbstractContextManager[None]] = _open if route.gate is None else route.gate.of

        def handle(**arguments: Any) -> Response:
            identity = _ANYBODY if route.open_to_all else self._authorise(route.scopes)
            limit(identity)
            asked = current_request()
            parameters = read_query(asked, query)
            if route.query is not None:
                arguments["query"] = parameters
            refuse(asked, refused)
            if route.idempotent:
                arguments["idempotency_key"] = read_idempotency_key(asked)
            if route.respond_async:
                arguments["respond_async"] = prefers_async(asked)
            with enter(identity.user_id):
                if not route.writes:
                    refuse_unread_body(asked)
                elif route.body is None:
                    read_optional_body(asked, NoBody, self.bodies)
                elif route.body_optional:
                    arguments["body"] = read_optional_body(asked, route.body, self.bodies)
                else:
                    arguments["body"] = read_body(asked, route.body, self.bodies, at_least=route.body_at_least)
                return _respond(route.view(**arguments))

        return handle

    def _foreign_handler(self, route: Route) -> Callable[..., Response]:
        def handle(**arguments: Any) -> Response:
            asked = current_request()
            read_query(asked, NoQuery)
            headers = {name.lower(): value for name, value in asked.headers.items()}
            read = partial(self.bodies.read_of_stranger, asked)
            return _respond(route.view(headers=headers, read=read, **arguments))

        return handle

    def _authorise(self, scopes: Sequence[str]) -> Identity:
        identity = self.verifier.verify(current_request().environ.get("HTTP_AUTHORIZATION"))
        current_globals().identity = identity
        if scopes and identity.scopes.isdisjoint(scopes):
            raise Forbidden(f"The token lacks the scope that this call needs: {' or '.join(scopes)}.")
        return identity

    def _limit(self, route: Route) -> Callable[[Identity], None]:
        if not route.rate_limit:
            return lambda _: None
        limit, name = route.rate_limit, f"{route.method} {route.path}"

        def check(who: Identity) -> None:
            wait = self._limiter.hit(limit, name, who.user_id)
            if wait:
                raise OverLimit(wait)

        return check


def _part_over_unread_body(response: Response) -> Response:
    """Say that the connection ends, where an answer came before the request was read to its end.

    What is left of a body is not waited for: its sender could hold up a thread for as long as they like.
    """
    if has_unread_body(current_request()):
        response.headers["Connection"] = "close"
    return response


def _open(_: str) -> AbstractContextManager[None]:
    return nullcontext()


def _respond(reply: Reply) -> Response:
    return Answer(_json(reply.body), reply.status, reply.headers, content_type=reply.media_type)


def _json(body: BaseModel | Mapping[str, Any] | bytes | Stream) -> bytes | Stream:
    if isinstance(body, BaseModel):
        return body.model_dump_json().encode()
    return body if isinstance(body, bytes | Stream) else orjson.dumps(body)
