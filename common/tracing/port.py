"""What tracing is for all that is traced. `common.tracing.on` implements it, and knows Flask; use cases do not."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

from sqlalchemy import Engine

from halfmessage.db import Transactor
from halfmessage.mq.port import Broker

J = TypeVar("J")
A = TypeVar("A")


class Bounds(TypedDict):
    """What bounds a `Batcher`: see there. `longest_wait` in seconds."""

    lanes: int
    heaviest: int
    longest_queue: int
    longest_wait: float


class Port(Protocol):
    """Traces one process."""

    def close(self) -> None:
        """Send what is left, and trace nothing any more."""

    def app(self, flask: Any) -> None:
        """Trace the requests of a Flask application."""

    def peer(self, url: str) -> None:
        """Trace the calls to an instance of one of our services, given its base URL."""

    def engine(self, of_database: Engine) -> None:
        """Trace the statements of a database."""

    def broker(self, link: Broker) -> Broker:
        """Return a broker whose messages carry traces, and whose producers and consumers are traced."""

    def transactor(self, database: Transactor) -> Transactor:
        """Return a database whose transactions are traced as local transactions of messages."""

    def together(
        self,
        name: str,
        run: Callable[[Sequence[J]], Sequence[A | Exception]],
        *,
        weigh: Callable[[J], int],
        observe: Callable[[int], None],
        **bounds: Unpack[Bounds],
    ) -> Callable[[J], A]:
        """Return the `submit` of a `Batcher` with these bounds, whose batches are traced."""

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Trace what is done inside."""

    def rooted(self, name: str, work: Callable[[], object]) -> Callable[[], object]:
        """Return `work`, each time with a trace of its own."""

    def ids(self) -> Mapping[str, str]:
        """Return the `trace_id` and `span_id` of what is being traced; nothing where nothing is."""

    def exemplar(self) -> dict[str, str] | None:
        """Return them if they are sent."""
