"""Where spans go: to a collector by OTLP over HTTP, or to Zipkin. One that is down costs spans, and nothing else."""

import logging
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.zipkin.json import ZipkinExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

ZIPKIN: Final = "zipkin+"
_EVERY: Final = 0.5  # seconds until a span is sent: what a killed process had not sent is lost
_TOGETHER: Final = 512  # spans in one call
_LONGEST: Final = 2048  # characters of one attribute in Zipkin's JSON

log = structlog.get_logger()


def processor_to(url: str, *, queue: int, timeout: float) -> tuple[BatchSpanProcessor, "Telling"]:
    """Return what sends spans to `url` on a thread of its own, and what is to be told when that ends.

    Up to `queue` spans wait, then the oldest is lost; a call may take `timeout` seconds. The path of a collector is
    /v1/traces, that of Zipkin /api/v2/spans, where the URL has none
    (https://opentelemetry.io/docs/specs/otlp/#otlphttp-request).
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell of each call that failed: we do, once
    telling = Telling(_exporter(url, timeout), _address(url))
    together = min(queue, _TOGETHER)
    return BatchSpanProcessor(telling, queue, _EVERY * 1000, together), telling


def _exporter(url: str, timeout: float) -> SpanExporter:
    if url.startswith(ZIPKIN):
        place = _with_path(url.removeprefix(ZIPKIN), "/api/v2/spans")
        whole = max(1, round(timeout))  # seconds, as its signature has it
        return ZipkinExporter(endpoint=place, timeout=whole, max_tag_value_length=_LONGEST)
    return OTLPSpanExporter(endpoint=_with_path(url, "/v1/traces"), timeout=timeout)


def _with_path(url: str, usual: str) -> str:
    parts = urlsplit(url)
    return url if parts.path.strip("/") else parts._replace(path=usual).geturl()


def _address(url: str) -> str:
    """Return a URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port}" if parts.port else f"{parts.scheme}://{parts.hostname}"


class Telling(SpanExporter):
    """Sends through another exporter; tells once that it fails, and once that it works again."""

    def __init__(self, exporter: SpanExporter, address: str) -> None:
        """Take what sends, and its address for the log."""
        self._exporter, self._address = exporter, address
        self._lost = 0
        self._ending = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send, or lose them. While the process ends, one failure is enough: it waits for no more."""
        if self._lost and self._ending:
            return SpanExportResult.FAILURE
        result = self._sent(spans)
        if result is SpanExportResult.FAILURE:
            if not self._lost:
                log.warning("traces can't be sent; spans are lost until they can", to=self._address)
            self._lost += len(spans)
        elif self._lost:
            log.info("traces are sent again", to=self._address, spans_lost=self._lost)
            self._lost = 0
        return result

    def _sent(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            return self._exporter.export(spans)
        except requests.RequestException:  # Zipkin's lets them out
            return SpanExportResult.FAILURE

    def end(self) -> None:
        """Be told that the process ends."""
        self._ending = True

    def shutdown(self) -> None:
        """Close the connections."""
        self._exporter.shutdown()
