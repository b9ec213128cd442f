"""What a service tells of itself: JSON lines on stderr, and numbers for Prometheus."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from common import tracing
from common.logfile import LogFile
from common.readiness import Checks
from common.shared_metrics import Processes, Together
from halfmessage.clock import now_ms, rfc3339

_HIDDEN: Final = frozenset(
    {"authorization", "token", "secret", "jwt_secret", "password", "receiver", "phone", "address"}
)
_END: Final = b"# EOF\n"  # of OpenMetrics
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

METRICS_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names where the processes of one service share what they count: see prometheus_client."""

Event = MutableMapping[str, Any]
HowTogether = Literal["livesum", "livemax"]


def configure_logging(service: str, level: str, log: LogFile | None = None) -> None:
    """Write every log line of this process as one JSON object: time (RFC 3339 UTC), level, service, event, ….

    They go to `log`, or to standard error as it is.

    To be called once, at the start of a process. What is bound with `structlog.contextvars` (request_id, order_id)
    is added; stdlib loggers are routed here; what is never to be logged (tokens, receivers) is hidden.
    """
    number = logging.getLevelNamesMapping()[level.upper()]

    def head(_logger: object, method: str, event: Event) -> Event:
        first = {"time": rfc3339(now_ms()), "level": method, "service": service, "event": event.pop("event")}
        return {**first, **event}

    of_trace = tracing.ids()

    def with_trace(_logger: object, _method: str, event: Event) -> Event:
        return event if of_trace is None else {**event, **of_trace()}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([] if of_trace is None else [with_trace]),
            head,
            _hide,
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", log or _Stderr())),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Routed()], level=max(number, logging.INFO), force=True)
    logging.captureWarnings(capture=True)


def _hide(_logger: object, _method: str, event: Event) -> Event:
    for key in _HIDDEN & event.keys():
        event[key] = "[hidden]"
    return event


def _render(_logger: object, _method: str, event: Event) -> bytes:
    return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)


class _Stderr:
    """Writes whole lines. What can't be written is lost: a full disk under the log must not fail requests."""

    def write(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(2, line)

    def flush(self) -> None:
        """Nothing is held back."""


class _Routed(logging.Handler):
    """Hands records of stdlib loggers to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        exc_info = {"exc_info": record.exc_info} if record.exc_info else {}
        logger.log(record.levelno, record.getMessage(), logger=record.name, **exc_info)


class Metrics:
    """One service's metrics, in a registry of their own. Names are prefixed with `orders_`."""

    def __init__(self, service: str) -> None:
        """Make the metrics that every service has: requests, their latency, and the process."""
        self.service = service
        self.registry = CollectorRegistry()  # what is counted
        self._looks = CollectorRegistry()  # what is looked up for scrapes
        if METRICS_DIR in os.environ:
            self._looks.register(Processes(Path(os.environ[METRICS_DIR])))
        else:
            ProcessCollector(registry=self._looks)
        self.requests = self.counter("http_requests", "Requests answered", "method", "route", "status")
        self.in_flight = self.gauge("http_requests_in_flight", "Requests being answered now")
        self.latency = self.histogram("http_request_seconds", "Time to answer a request", "route")

    def counter(self, name: str, description: str, *labels: str) -> Counter:
        """Return a new counter; `_total` is added to its name."""
        return Counter(f"orders_{name}", description, labels, registry=self.registry)

    def histogram(self, name: str, description: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
        """Return a new histogram, of seconds unless `buckets` says otherwise."""
        return Histogram(f"orders_{name}", description, labels, registry=self.registry, buckets=buckets)

    def gauge(self, name: str, description: str, *labels: str, together: HowTogether = "livesum") -> Gauge:
        """Return a new gauge that is set by hand; of several processes that live, the values are taken `together`."""
        return Gauge(f"orders_{name}", description, labels, registry=self.registry, multiprocess_mode=together)

    def observe(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Have `read` called for scrapes; when it raises an `OrdersError`, the gauge is left out."""
        self.observe_all(description, lambda: {name: read()})

    def observe_all(self, description: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Have `read` return several gauges by name for scrapes, from one look at a broker or database.

        Anybody with a token may scrape, as often as they like: a look is made as a readiness check is, see `Checks`.
        """
        self._looks.register(_Observed(description, lambda: _gauges(description, read())))

    def observe_by(
        self, name: str, description: str, labels: tuple[str, ...], read: Callable[[], Mapping[tuple[str, ...], float]]
    ) -> None:
        """Have `read` return a gauge's values by the values of its labels; else as `observe_all`."""

        def look() -> list[GaugeMetricFamily]:
            family = GaugeMetricFamily(f"orders_{name}", description, labels=labels)
            for values, number in read().items():
                family.add_metric(values, number)
            return [family]

        self._looks.register(_Observed(description, look))

    def render(self) -> bytes:
        """Return everything in Prometheus's text format; what is counted, of all processes that share a directory."""
        return generate_latest(self._counted()) + generate_latest(self._looks)

    def render_open(self) -> bytes:
        """Return the same as OpenMetrics, whose measurements name traces; those of several processes do not."""
        counted: bytes = openmetrics.generate_latest(self._counted())  # type: ignore[no-untyped-call]
        looked_up: bytes = openmetrics.generate_latest(self._looks)  # type: ignore[no-untyped-call]
        return counted.removesuffix(_END) + looked_up

    def _counted(self) -> CollectorRegistry:
        if METRICS_DIR not in os.environ:
            return self.registry
        together = CollectorRegistry()
        together.register(Together(Path(os.environ[METRICS_DIR])))
        return together


class _Observed(Collector):
    def __init__(self, description: str, read: Callable[[], Sequence[GaugeMetricFamily]]) -> None:
        self._description = description
        self._read = read
        self._families: Sequence[GaugeMetricFamily] = ()
        self._looks = Checks({description: self._look}, failing="gauges not read")

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())  # otherwise registering would collect, and so reach for the database

    def _look(self) -> None:
        self._families = self._read()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        if self._looks.results()[self._description] == "ok":
            yield from self._families


def _gauges(description: str, values: Mapping[str, float]) -> list[GaugeMetricFamily]:
    return [GaugeMetricFamily(f"orders_{name}", description, value) for name, value in values.items()]
