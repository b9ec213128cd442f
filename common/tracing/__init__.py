"""Traces, by OpenTelemetry: off unless ORDERS_TRACE is set (docs/tracing.md, docs/decisions/0040).

The one port through which everything else knows tracing. While it is off, each function gives back what it was given,
or one and the same object that does nothing, and OpenTelemetry is not even imported. As failpoints are, it is of the
process: `start` switches it on at the process's edge, before anything is built.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from common.errors import OrdersError
from common.tracing.port import Bounds, Port
from halfmessage.tx.batch import Batcher

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from common.config import Settings
    from halfmessage.db import Transactor
    from halfmessage.mq.port import Broker

J = TypeVar("J")
A = TypeVar("A")
Work = Callable[[], object]

_NOTHING: Final[AbstractContextManager[None]] = nullcontext()
_on: Port | None = None


def start(service: str, settings: "Settings") -> None:
    """Trace what this process does from now on, if the settings say where traces go.

    Raise `OrdersError` where the extra `trace` is not installed.
    """
    global _on  # noqa: PLW0603 - it is of the process, as failpoints are
    if not settings.trace:
        return
    try:
        on = import_module("common.tracing.on")
    except ModuleNotFoundError as error:
        raise OrdersError(
            f"ORDERS_TRACE is set, and {error.name} is not installed: pip install 'orders-on-rocketmq[trace]', in a "
            "clone .venv/bin/pip install -c constraints.txt -e '.[trace]'"
        ) from error
    _on = on.Tracing(service, settings)


def stop() -> None:
    """Send what is left, within the deadline of one call, and trace nothing any more."""
    global _on  # noqa: PLW0603
    if _on is not None:
        _on.close()
        _on = None


def app(flask: Any) -> None:
    """Trace the requests of a Flask application. To be called before it gets any hook of another."""
    if _on is not None:
        _on.app(flask)


def peer(url: str) -> None:
    """Trace the calls to an instance of one of our services, given its base URL: discovery may have found it."""
    if _on is not None:
        _on.peer(url)


def engine(of_database: "Engine") -> None:
    """Trace the statements of a database."""
    if _on is not None:
        _on.engine(of_database)


def broker(link: "Broker") -> "Broker":
    """Return a broker whose messages carry traces, and whose producers and consumers are traced."""
    return link if _on is None else _on.broker(link)


def transactor(database: "Transactor") -> "Transactor":
    """Return a database whose transactions, each a local transaction of a message, are traced."""
    return database if _on is None else _on.transactor(database)


def together(
    name: str,
    run: Callable[[Sequence[J]], Sequence[A | Exception]],
    *,
    weigh: Callable[[J], int] = lambda _: 1,
    observe: Callable[[int], None] = lambda _: None,
    **bounds: Unpack[Bounds],
) -> Callable[[J], A]:
    """Return the `submit` of a `Batcher` with these `bounds`, whose batches are traced under `name`."""
    if _on is not None:
        return _on.together(name, run, weigh=weigh, observe=observe, **bounds)
    batcher: Batcher[J, A] = Batcher(run, weigh=weigh, observe=observe, **bounds)
    return batcher.submit


def span(name: str) -> AbstractContextManager[Any]:
    """Trace what is done inside."""
    return _NOTHING if _on is None else _on.span(name)


def rooted(name: str, work: Work) -> Work:
    """Return `work`, each time with a trace of its own."""
    return work if _on is None else _on.rooted(name, work)


def ids() -> Callable[[], Mapping[str, str]] | None:
    """Return what tells `trace_id` and `span_id` of what is being traced, for logs; None: tracing is off."""
    return None if _on is None else _on.ids


def exemplar() -> Callable[[], dict[str, str] | None] | None:
    """Return what tells the trace that a measurement is an example of, if it is sent; None: tracing is off."""
    return None if _on is None else _on.exemplar
