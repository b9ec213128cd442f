"""Watches every request: gives it an id, logs one line, counts it."""

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request
from werkzeug.routing import Rule

from common.telemetry import Metrics

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PARAMETER = re.compile(r"<(?:id:)?([a-z_]+)>")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_UNKNOWN = "unknown"  # the route label of a path that is none: paths would be labels without end
_FAILING = 500


def current_request_id() -> str:
    """Return the id of the current request."""
    request_id: str = g.request_id
    return request_id


def _route(rule: Rule | None) -> str:
    """Name a route as its declaration does: /goods/{goods_id}."""
    return _UNKNOWN if rule is None else _PARAMETER.sub(r"{\1}", rule.rule)


def install(app: Flask, metrics: Metrics) -> None:
    """Observe all requests of `app`."""
    log = structlog.get_logger()

    def begin() -> None:
        g.started = time.perf_counter()
        metrics.in_flight.inc()
        sent = request.headers.get("X-Request-Id", "")
        g.request_id = sent if _SANE_ID.fullmatch(sent) else uuid.uuid4().hex
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    def end(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        seconds = time.perf_counter() - g.started
        route = _route(request.url_rule)
        method = request.method if request.url_rule is not None else _UNKNOWN
        metrics.requests.labels(method, route, str(response.status_code)).inc()
        metrics.latency.labels(route).observe(seconds)
        if response.status_code >= _FAILING or request.path not in _QUIET:
            milliseconds = round(seconds * 1000, 1)
            log.info(
                "request", method=request.method, route=route, status=response.status_code, milliseconds=milliseconds
            )
        return response

    def leave(_error: BaseException | None) -> None:
        if "started" in g:
            metrics.in_flight.dec()

    app.before_request(begin)
    app.after_request(end)
    app.teardown_request(leave)
