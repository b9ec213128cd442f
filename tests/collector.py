"""A collector of traces, on a port of its own: takes OTLP over HTTP, as an OpenTelemetry Collector does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

_KINDS = {number: name.removeprefix("SPAN_KIND_").lower() for name, number in ProtoSpan.SpanKind.items()}


@dataclass(frozen=True, slots=True)
class Got:
    """One span as it came; ids in hexadecimal, an empty `parent` for a root."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, Any] = field(hash=False)


class Collector:
    """Keeps what it is sent."""

    def __init__(self, port: int = 0) -> None:
        self._guard = Lock()
        self._got: list[Got] = []
        self.calls: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def _take(self, path: str, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        spans = [
            _got(resource.resource.attributes, span)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._guard:
            self.calls.append(path)
            self._got += spans

    def spans(self, trace_id: str | None = None) -> list[Got]:
        """Return what came, of one trace if it is named."""
        with self._guard:
            return [span for span in self._got if trace_id in {None, span.trace_id}]

    def find(self, name: str, trace_id: str | None = None, service: str | None = None) -> list[Got]:
        """Return the spans of a name, perhaps of one trace or service."""
        return [span for span in self.spans(trace_id) if span.name == name and service in {None, span.service}]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()
    try:
        yield collector
    finally:
        collector.close()


def _got(resource: Any, span: ProtoSpan) -> Got:
    of_resource = {pair.key: _value(pair.value) for pair in resource}
    return Got(
        of_resource["service.name"],
        span.name,
        _KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        {pair.key: _value(pair.value) for pair in span.attributes},
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
