"""Tracing that is on: OpenTelemetry's SDK, its instrumentations, and what is ours; see `common.tracing`."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import PurePath
from typing import Any, Final, TypeVar, Unpack
from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

from flask import Flask, request
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span as StartedSpan
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.trace import Span, SpanKind, format_span_id, format_trace_id, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Connection, Engine

from common import registry
from common.config import Settings
from common.tracing.batches import TracedBatches
from common.tracing.exporting import processor_to
from common.tracing.messages import TracedBroker
from common.tracing.port import Bounds
from common.tracing.sampling import KeyedRatio
from common.web.observe import declared
from halfmessage.db import Transactor
from halfmessage.mq.port import Broker

J = TypeVar("J")
A = TypeVar("A")
T = TypeVar("T")

_QUIET: Final = "/healthz$,/readyz$,/metrics$"
_SEMCONV: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
_PEERS: Final = 4096  # instances of our services known at once; those of discovery come and go
_PORTS: Final = {"http": 80, "https": 443}
_LIMITS: Final = SpanLimits(max_span_attributes=64, max_span_attribute_length=2048, max_links=256, max_events=32)


class Tracing:
    """Traces one process."""

    def __init__(self, service: str, settings: Settings) -> None:
        """Begin, for the service of that name. Its traces go to `settings.trace`."""
        # https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/: without it, the names of 2022
        os.environ.setdefault(_SEMCONV, "http,database")
        propagate.set_global_textmap(TraceContextTextMapPropagator())  # no baggage: a client's would go everywhere
        self._provider = TracerProvider(
            sampler=KeyedRatio(settings.trace_sample, settings.jwt_secret.get_secret_value().encode()),
            resource=Resource.create({"service.name": service, "service.instance.id": f"{service}-{os.getpid()}"}),
            shutdown_on_exit=False,  # `close` does, within a deadline
            span_limits=_LIMITS,
        )
        processor, self._telling = processor_to(settings.trace, queue=settings.trace_queue, timeout=settings.trace_wait)
        self._provider.add_span_processor(_ShortNames())
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("orders")
        self._kind = settings.broker_url.partition(":")[0]
        self._peers: dict[str, None] = {}
        self._instrument(settings)

    def _instrument(self, settings: Settings) -> None:
        """Trace calls to other services, and to Redis where it is used.

        Calls to anybody else, such as providers of payments, are left alone: they need not know our traces.
        """
        for service in registry.SERVICES:
            for url in settings.url(service.name).split(","):
                self.peer(url.strip())
        URLLib3Instrumentor().instrument(
            tracer_provider=self._provider, url_filter=self._only_ours, excluded_urls="^$,/internal/readyz$"
        )
        if settings.redis_url or settings.pieces_url:
            from opentelemetry.instrumentation.redis import RedisInstrumentor  # noqa: PLC0415 - it loads Redis

            RedisInstrumentor().instrument(tracer_provider=self._provider)
            self._redis: Any = RedisInstrumentor()
        else:
            self._redis = None

    def close(self) -> None:
        """Send what is left, and take the instrumentations away."""
        self._telling.end()
        self._provider.shutdown()
        for instrumentor in (URLLib3Instrumentor(), SQLAlchemyInstrumentor(), self._redis):
            if instrumentor is not None and instrumentor.is_instrumented_by_opentelemetry:
                instrumentor.uninstrument()

    def peer(self, url: str) -> None:
        """See `common.tracing.peer`."""
        origin = _origin(url)
        self._peers.pop(origin, None)
        self._peers[origin] = None  # the newest last
        if len(self._peers) > _PEERS:
            self._peers.pop(next(iter(self._peers)), None)

    def _only_ours(self, url: str) -> str:
        """Return nothing, which is excluded, for the URL of anybody else."""
        return url if "/".join(url.split("/", 3)[:3]) in self._peers else ""

    def app(self, flask: Flask) -> None:
        """See `common.tracing.app`."""
        FlaskInstrumentor.instrument_app(  # type: ignore[no-untyped-call]
            flask,
            tracer_provider=self._provider,
            excluded_urls=_QUIET,
            request_hook=_name_route,
            enable_commenter=False,  # it leaves a context attached to the thread
        )

    def engine(self, of_database: Engine) -> None:
        """See `common.tracing.engine`. Its check of versions ends below SQLAlchemy 2.1, with which it works."""
        SQLAlchemyInstrumentor().instrument(engine=of_database, tracer_provider=self._provider, skip_dep_check=True)

    def broker(self, link: Broker) -> Broker:
        """See `common.tracing.broker`."""
        return TracedBroker(link, self._tracer, self._kind)

    def transactor(self, database: Transactor) -> Transactor:
        """See `common.tracing.transactor`."""
        return _TracedTransactor(database, self.span)

    def together(
        self,
        name: str,
        run: Callable[[Sequence[J]], Sequence[A | Exception]],
        *,
        weigh: Callable[[J], int],
        observe: Callable[[int], None],
        **bounds: Unpack[Bounds],
    ) -> Callable[[J], A]:
        """See `common.tracing.together`."""
        return TracedBatches(self._tracer, name, run, weigh=weigh, observe=observe, **bounds).submit

    def span(self, name: str) -> AbstractContextManager[Span]:
        """See `common.tracing.span`."""
        return self._tracer.start_as_current_span(name)

    def rooted(self, name: str, work: Callable[[], object]) -> Callable[[], object]:
        """See `common.tracing.rooted`."""

        def traced() -> object:
            with self._tracer.start_as_current_span(name, context=Context()):
                return work()

        return traced

    def ids(self) -> Mapping[str, str]:
        """See `common.tracing.ids`."""
        current = get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {"trace_id": format_trace_id(current.trace_id), "span_id": format_span_id(current.span_id)}

    def exemplar(self) -> dict[str, str] | None:
        """See `common.tracing.exemplar`. Of a trace that is not sent there is none: it would not be found."""
        return dict(self.ids()) if get_current_span().get_span_context().trace_flags.sampled else None


def _origin(url: str) -> str:
    """Return scheme, host and port in the way of the instrumentation: IPv6 without brackets, no port by default."""
    parts = urlsplit(url)
    port = parts.port
    named = "" if port is None or port == _PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{parts.hostname}{named}"


def _name_route(span: Span, _environ: WSGIEnvironment) -> None:
    """Name a span by the declaration of its route, as metrics and logs do."""
    if request.url_rule is not None:
        route = declared(request.url_rule.rule)
        span.update_name(f"{request.method} {route}")


class _ShortNames(SpanProcessor):
    """Names a statement by the name of SQLite's file, which the instrumentation does by its whole path."""

    def on_start(self, span: StartedSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the interface's
        operation, _, database = span.name.partition(" ")
        if database.startswith("/") and span.kind is SpanKind.CLIENT:
            span.update_name(f"{operation} {PurePath(database).stem}")


class _TracedTransactor:
    """Implements `Transactor` on another one."""

    def __init__(self, database: Transactor, span: Callable[[str], AbstractContextManager[Span]]) -> None:
        self._database, self._span = database, span

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Connection]:
        with self._database.read(snapshot=snapshot) as connection:
            yield connection

    def transact(self, work: Callable[[Connection], T]) -> T:
        with self._span("local transaction"):
            return self._database.transact(work)
