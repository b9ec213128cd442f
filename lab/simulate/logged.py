"""What the product logs, taken into the history of the run."""

import logging
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import structlog

_TAKEN: Final = {"peer", "path", "reason", "error", "at", "about", "tx_id", "orders", "order_id", "message_id"}
"""Members of log lines that are the same in each run of a seed."""


@contextmanager
def logged_by(take: Callable[[str, dict[str, Any]], None]) -> Iterator[None]:
    """Have warnings and errors that are logged meanwhile taken by `take` (event, members), and written nowhere."""

    def process(_logger: Any, _name: str, line: MutableMapping[str, Any]) -> NoReturn:
        members = {f"log_{name}": str(line[name]) for name in sorted(_TAKEN & line.keys())}
        if line.get("exc_info") is True:
            members["raised"] = repr(sys.exc_info()[1])
        take(str(line.get("event")), members)
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[process],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
