"""Which traces are recorded and sent."""

from collections.abc import Sequence
from hashlib import blake2b

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

_ALL = 2**64


class KeyedRatio(Sampler):
    """Takes a share of the traces, the same ones in each process that has its rate and key.

    A trace that came from elsewhere is taken only if its sender takes it *and* it is of our share. Which ones those
    are can't be told without the key, so a client gets no more traced than its share, whatever ids it makes up
    (https://www.w3.org/TR/trace-context/#denial-of-service). Nor does a call that a process makes by itself begin
    a trace: what a lease or a look for work that is due says to the database would be most of all spans.
    """

    def __init__(self, rate: float, key: bytes) -> None:
        """Take the share, 0 to 1, and what keys the choice."""
        self._below = round(rate * _ALL)
        self._rate = rate
        self._key = blake2b(key).digest()

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,  # noqa: ARG002 - the interface's, as below
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Decide."""
        parent = get_current_span(parent_context).get_span_context()
        is_wanted = parent.trace_flags.sampled if parent.is_valid else kind is not SpanKind.CLIENT
        decision = Decision.RECORD_AND_SAMPLE if is_wanted and self.takes(trace_id) else Decision.DROP
        return SamplingResult(decision, attributes, parent.trace_state if parent.is_valid else None)

    def takes(self, trace_id: int) -> bool:
        """Whether a trace is of the share."""
        drawn = blake2b(trace_id.to_bytes(16, "big"), key=self._key, digest_size=8).digest()
        return int.from_bytes(drawn, "big") < self._below

    def get_description(self) -> str:
        """Return what it is, in words."""
        return f"KeyedRatio{{{self._rate}}}"
