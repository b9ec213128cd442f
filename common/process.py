"""The edge of a service process: reads the settings, builds the service, serves it until told to stop."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from common import failpoints, lifeline
from common.config import Settings
from common.errors import OrdersError
from common.telemetry import configure_logging
from common.web import Api, serve

# Seconds a thread may keep the interpreter while others wait. With Python's 5 ms, whoever holds a database's write
# lock waits up to that long after each statement to go on, and all writers wait with it: orders/s fell by a quarter.
_SWITCH_INTERVAL = 0.0005


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is wired together: its API, what starts with it, and what is closed after it, in order."""

    api: Api
    start: Sequence[Callable[[], None]]
    stop: Sequence[Callable[[], None]]


def run(name: str, build: Callable[[Settings], Service]) -> None:
    """Run the service until SIGTERM or SIGINT. Exits with status 1 and one log line when it can't start."""
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = "; ".join(f"ORDERS_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        sys.exit(f"{name}: the settings are wrong: {wrong}")
    sys.setswitchinterval(_SWITCH_INTERVAL)
    configure_logging(name, settings.log_level)
    lifeline.watch(os.environ)
    try:
        failpoints.arm(settings.failpoints, production=settings.environment == "production")
        service = build(settings)
        for start in service.start:
            start()
    except OrdersError as error:
        structlog.get_logger().error("can't start", reason=error.detail, cause=repr(error.__cause__))
        sys.exit(1)
    serve(
        service.api.app,
        host=settings.host,
        port=settings.port,
        threads=settings.threads,
        max_waiting=settings.max_waiting,
        on_stop=service.stop,
    )
