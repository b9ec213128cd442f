"""Watches every request: gives it an id, logs one line, counts it."""

import itertools
import os
import re
import time
from functools import cache

import structlog
from flask import Flask, Response
from werkzeug.routing import Rule

from common import tracing
from common.telemetry import Metrics
from common.web.requests import current_globals, current_request

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PARAMETER = re.compile(r"<(?:id:)?([a-z_]+)>")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_UNKNOWN = "unknown"  # the route label of a path that is none: paths would be labels without end
_FAILING = 500


def current_request_id() -> str:
    """Return the id of the current request."""
    request_id: str = current_globals().request_id
    return request_id


def _route(rule: Rule | None) -> str:
    return _UNKNOWN if rule is None else declared(rule.rule)


@cache
def declared(rule: str) -> str:
    """Name a route as its declaration does: /goods/{goods_id}."""
    return _PARAMETER.sub(r"{\1}", rule)


def install(app: Flask, metrics: Metrics) -> None:
    """Observe all requests of `app`."""
    log = cache(structlog.get_logger().bind)  # at the first request; unbound, it is bound anew for each line
    first, numbers = os.urandom(10).hex(), itertools.count()  # at random each time would cost a request a tenth of all

    example = tracing.exemplar()  # None: tracing is off
    answered, took = cache(metrics.requests.labels), cache(metrics.latency.labels)  # few: routes are the declared ones

    def begin() -> None:
        sent = current_request().environ.get("HTTP_X_REQUEST_ID", "")
        request_id = sent if sent and _SANE_ID.fullmatch(sent) else f"{first}{next(numbers):012x}"
        seen = current_globals()
        seen.started, seen.request_id = time.perf_counter(), request_id
        metrics.in_flight.inc()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)

    def end(response: Response) -> Response:
        asked, seen, status = current_request(), current_globals(), response.status_code
        response.headers.add("X-Request-Id", seen.request_id)
        seconds = time.perf_counter() - seen.started
        route = _route(asked.url_rule)
        method = asked.method if asked.url_rule is not None else _UNKNOWN
        answered(method, route, str(status)).inc()
        took(route).observe(seconds, example and example())
        if status >= _FAILING or asked.path not in _QUIET:
            log().info(
                "request", method=asked.method, route=route, status=status, milliseconds=round(seconds * 1000, 1)
            )
        return response

    def leave(_error: BaseException | None) -> None:
        if "started" in current_globals():
            metrics.in_flight.dec()

    app.before_request(begin)
    app.after_request(end)
    app.teardown_request(leave)
