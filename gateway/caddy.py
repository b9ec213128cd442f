"""Caddy's configuration in its own JSON (https://caddyserver.com/docs/json/), from what the services say of themselves.

A path is served if one of the services' public calls has it, whole, as Go decodes it; all else is 404, so nothing under
`/internal` can be reached however it is written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from common import registry
from gateway import answers, cross_origin, logs
from gateway.operations import Operation
from gateway.upstreams import Instances, proxy

Json = dict[str, Any]

CONSOLE: Final = "/console"
"""Where the console's pages are: their paths begin with it here, and it is taken away before the console sees them."""
HEAD_BYTES: Final = 64 * 1024  # as `common.web.server` takes
HEAD_WITHIN: Final = "10s"
IDLE: Final = "60s"
WRITTEN_WITHIN: Final = "30s"  # for a client to take the next piece of an answer
ENDING: Final = "10s"  # for requests in flight, when it is told to stop
PACKED_FROM: Final = 1024  # bytes; below, packing costs more than it saves
_PACKED: Final = ("application/json*", "application/problem+json*", "text/html*", "text/css*", "text/javascript*")
_PATH: Final = "{http.request.uri.path}"
_OWN: Final = r"\A(?:/|/healthz|/readyz|/openapi\.json|/docs|/docs/[a-z-]+\.(?:css|js))\z"
"""The paths of what the gateway serves itself."""
_METHOD: Final = "{http.request.method}"
_SANE_ID: Final = r"\A[A-Za-z0-9._-]{1,64}\z"  # as `common.web.observe` takes


@dataclass(frozen=True, slots=True)
class Site:
    """What is served: the public `shown` calls, those `hidden` on their paths, and where each service is.

    `console` is None where a deployment has none. `files` holds the joint document and its pages.
    """

    shown: Sequence[Operation]
    hidden: Sequence[Operation]
    services: Mapping[str, Instances]
    files: Path
    console: Instances | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """How it is served: where it listens, how much it takes and how long it waits (seconds); `storage`: Caddy's own."""

    listen: str
    storage: Path
    logs: Path | None
    max_body: int
    body_within: float
    admin_listen: str = ""
    tls: Sequence[str] = ()
    """Names and addresses of certificates; none: plain HTTP."""
    origins: Sequence[str] = ()


def config(site: Site, shape: Shape) -> Json:
    """Return the whole configuration."""
    servers = {"public": _server(site, shape, shape.listen, shows_admin=not shape.admin_listen)}
    if shape.admin_listen:
        servers["admin"] = _server(site, shape, shape.admin_listen, shows_admin=True)
    apps: Json = {"http": {"grace_period": ENDING, "servers": servers}}
    if shape.tls:
        apps["tls"] = {
            "certificates": {"automate": list(shape.tls)},
            "automation": {"policies": [{"subjects": list(shape.tls), "issuers": [{"module": "internal"}]}]},
        }
        apps["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": str(shape.storage)},
        "logging": logs.logging(shape.logs),
        "apps": apps,
    }


def _server(site: Site, shape: Shape, listen: str, *, shows_admin: bool) -> Json:
    server: Json = {
        "listen": [listen],
        "protocols": ["h1", "h2"] if shape.tls else ["h1", "h2c"],
        "automatic_https": {"disable": True},
        "max_header_bytes": HEAD_BYTES,
        "read_header_timeout": HEAD_WITHIN,
        "read_timeout": f"{shape.body_within:g}s",
        "read_idle_timeout": -1,  # would begin read_timeout anew with each byte of a body
        "write_idle_timeout": WRITTEN_WITHIN,
        "idle_timeout": IDLE,
        "logs": {},
        "routes": [*_before(shape), *_routes(site, shape, shows_admin=shows_admin)],
        "errors": {"routes": [{"handle": [_without_trace()]}, *cross_origin.routes(shape.origins), *answers.errors()]},
    }
    if shape.tls:
        server["tls_connection_policies"] = [{"default_sni": shape.tls[0]}]
    return server


def _before(shape: Shape) -> list[Json]:
    """Return what is done with every request first."""
    sane = {"vars_regexp": {answers.REQUEST_ID: {"pattern": _SANE_ID}}}
    own_id = {"handler": "headers", "request": {"set": {"X-Request-Id": ["{http.request.uuid}"]}}}
    return [
        {"match": [{"not": [sane]}], "handle": [own_id]},
        {
            "handle": [
                {"handler": "log_append", "key": "request_id", "value": answers.REQUEST_ID},
                _without_trace(),
                {
                    "handler": "encode",
                    "encodings": {"gzip": {}, "zstd": {}},
                    "prefer": ["zstd", "gzip"],
                    "minimum_length": PACKED_FROM,
                    "match": {"headers": {"Content-Type": list(_PACKED)}},
                },
                answers.instance(),
            ]
        },
        *cross_origin.routes(shape.origins),
    ]


def _without_trace() -> Json:
    """Return the handler that does not tell what serves; deferred, as Caddy adds it late."""
    return {"handler": "headers", "response": {"deferred": True, "delete": ["Server", "Via"]}}


def _routes(site: Site, shape: Shape, *, shows_admin: bool) -> list[Json]:
    routes = [_no_method(), _own(site.files), _own_are_read()]
    refused = [*site.hidden, *([] if shows_admin else [one for one in site.shown if one.admin])]
    routes += [
        {"match": [{"method": _methods(one), "vars_regexp": _path_is([one.pattern])}], "handle": [answers.not_found()]}
        | {"terminal": True}
        for one in refused
    ]
    for service, instances in site.services.items():
        patterns = sorted({re.escape(page) for page in registry.BY_NAME[service].pages})
        patterns = [pattern + r"(?:[./][^/]+)?" for pattern in patterns]
        patterns += sorted({one.pattern for one in site.shown if one.service == service})
        if patterns:
            routes.append(_to(instances, patterns, shape))
    if site.console is not None and shows_admin:
        routes += _console(site.console, shape)
    return [*routes, {"handle": [answers.not_found()]}]


def _no_method() -> Json:
    """Return the route that refuses "post": what is refused by method below is compared exactly, and is not to pass."""
    lower = {"vars_regexp": {_METHOD: {"pattern": "[a-z]"}}}
    return {"match": [lower], "handle": [answers.not_found()], "terminal": True}


def _methods(one: Operation) -> list[str]:
    return ["GET", "HEAD"] if one.method == "GET" else [one.method]


def _path_is(patterns: Sequence[str]) -> Json:
    return {_PATH: {"pattern": rf"\A(?:{'|'.join(patterns)})\z"}}


def _to(instances: Instances, patterns: Sequence[str], shape: Shape) -> Json:
    return {
        "match": [{"vars_regexp": _path_is(patterns)}],
        "handle": [*_whole_body(shape.max_body), proxy(instances, most=shape.max_body)],
        "terminal": True,
    }


def _whole_body(most: int) -> list[Json]:
    """Return the handlers that read a body to its end before anything is sent on.

    `request_buffers` alone would not do: of a body that is too large Caddy sends on what it has, and the service sees a
    call that breaks off. Naming the body in an expression has it read here, and too large a one is an error then. One
    that is late ends its request, which Caddy answers 499 without a word.
    """
    read: Json = {"match": [{"expression": "{http.request.body}.size() < 0"}], "handle": []}
    writes: Json = {"match": [{"not": [{"method": ["GET", "HEAD"]}]}]}
    return [
        {
            "handler": "intercept",
            "handle_response": [{"match": {"status_code": [499]}, "routes": [{"handle": [answers.too_slow()]}]}],
        },
        {"handler": "request_body", "max_size": most},
        {"handler": "subroute", "routes": [{**writes, "handle": [{"handler": "subroute", "routes": [read]}]}]},
    ]


def _console(instances: Instances, shape: Shape) -> list[Json]:
    prefix: Json = {
        "handler": "headers",
        "request": {"set": {"X-Forwarded-Prefix": [CONSOLE]}},
    }
    strip: Json = {"handler": "rewrite", "strip_path_prefix": CONSOLE}
    # Files go through as they come: kept here until they are whole, those of strangers would fill the memory. The
    # console looks first who sends one
    uploads: list[Json] = [
        {
            "match": [{"method": ["POST"], "vars_regexp": _path_is([re.escape(CONSOLE + path)])}],
            "handle": [prefix, strip, {"handler": "request_body", "max_size": most}, proxy(instances, most=None)],
            "terminal": True,
        }
        for path, most in registry.UPLOADS.items()
    ]
    return [
        *uploads,
        {
            "match": [{"vars_regexp": {_PATH: {"pattern": rf"\A{CONSOLE}\z"}}}],
            "handle": [{"handler": "static_response", "status_code": 308, "headers": {"Location": [f"{CONSOLE}/"]}}],
            "terminal": True,
        },
        {
            "match": [
                {
                    "vars_regexp": {_PATH: {"pattern": rf"\A{CONSOLE}/"}},
                    "not": [{"vars_regexp": {_PATH: {"pattern": rf"(\A{CONSOLE}/internal|//|/\.\.?(/|\z))"}}}],
                }
            ],
            "handle": [
                prefix,
                strip,
                *_whole_body(shape.max_body),
                proxy(instances, most=shape.max_body),
            ],
            "terminal": True,
        },
    ]


def _own(files: Path) -> Json:
    """Return what the gateway serves itself: whether it is there, the joint document, and the pages that show it."""
    well = {"handler": "static_response", "headers": {"Content-Type": ["application/json"]}, "body": '{"status":"ok"}'}
    policy = {"handler": "headers", "response": {"set": {"X-Request-Id": [answers.REQUEST_ID]}}}
    from_files = {"handler": "file_server", "root": str(files), "canonical_uris": False, "index_names": ["index.html"]}
    reads: Json = {"method": ["GET", "HEAD"]}
    return {
        "match": [reads | {"vars_regexp": {_PATH: {"pattern": _OWN}}}],
        "handle": [
            policy,
            {
                "handler": "subroute",
                "routes": [
                    {
                        "match": [{"path": ["/"]}],
                        "handle": [
                            {"handler": "static_response", "status_code": 303, "headers": {"Location": ["/docs"]}}
                        ],
                        "terminal": True,
                    },
                    {"match": [{"path": ["/healthz", "/readyz"]}], "handle": [well], "terminal": True},
                    {"match": [{"path": ["/docs"]}], "handle": [{"handler": "rewrite", "uri": "/docs/index.html"}]},
                    {"handle": [_docs_headers(), from_files]},
                ],
            },
        ],
        "terminal": True,
    }


def _own_are_read() -> Json:
    """Return the route for what is left of the gateway's own paths: other methods than those that read."""
    match = {"vars_regexp": {_PATH: {"pattern": _OWN}}}
    return {"match": [match], "handle": [answers.only_reads()], "terminal": True}


def _docs_headers() -> Json:
    from common.web.docs import POLICY  # noqa: PLC0415 - Flask's, which most of what uses this module has not loaded

    return {"handler": "headers", "response": {"set": {"Content-Security-Policy": [POLICY]}}}
