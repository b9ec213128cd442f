"""Batches that are traced: the leader's trace has the work, each other job's has a span that links to it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, Unpack

from opentelemetry.trace import Link, SpanContext, Tracer, format_trace_id, get_current_span

from common.tracing.port import Bounds
from halfmessage.tx.batch import Batcher

J = TypeVar("J")
A = TypeVar("A")

BATCH_TRACE = "orders.batch.trace_id"
"""The trace that has a batch's work, as an attribute: Zipkin shows no links."""


@dataclass(slots=True)
class _Asked(Generic[J]):
    """A job, who asked for it, and the batch that did it."""

    job: J
    asker: SpanContext
    batch: SpanContext | None = None


class TracedBatches(Generic[J, A]):
    """Runs jobs of many threads together, as `Batcher` does."""

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        run: Callable[[Sequence[J]], Sequence[A | Exception]],
        *,
        weigh: Callable[[J], int],
        observe: Callable[[int], None],
        **bounds: Unpack[Bounds],
    ) -> None:
        """Take what names the spans, and what `Batcher` takes."""
        self._tracer, self._name, self._work = tracer, name, run
        self._batcher: Batcher[_Asked[J], A] = Batcher(
            self._run, weigh=lambda asked: weigh(asked.job), observe=observe, **bounds
        )

    def submit(self, job: J) -> A:
        """See `Batcher.submit`."""
        asked = _Asked(job, get_current_span().get_span_context())
        began = time.time_ns()
        try:
            return self._batcher.submit(asked)
        finally:
            if asked.batch is not None and asked.batch.trace_id != asked.asker.trace_id:
                self._tell(asked.batch, began)

    def _run(self, together: Sequence[_Asked[J]]) -> Sequence[A | Exception]:
        """Run a batch in its leader's thread and trace; the others are linked to."""
        links = [Link(asked.asker) for asked in together[1:] if asked.asker.is_valid]
        attributes = {"orders.batch.jobs": len(together)}
        with self._tracer.start_as_current_span(self._name, links=links, attributes=attributes) as span:
            for asked in together:
                asked.batch = span.get_span_context()
            return self._work([asked.job for asked in together])

    def _tell(self, batch: SpanContext, began: int) -> None:
        """Leave a span in the trace of one whose job another's batch did; it `began` at so many ns since the epoch."""
        attributes = {BATCH_TRACE: format_trace_id(batch.trace_id)}
        self._tracer.start_span(
            f"{self._name} (in a batch)", links=[Link(batch)], attributes=attributes, start_time=began
        ).end()
