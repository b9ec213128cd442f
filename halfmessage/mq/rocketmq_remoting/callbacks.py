"""The edge where C calls Python.

An exception that leaves a ctypes callback becomes a 0 for C, and 0 means COMMIT, or consumed: a message committed
that should not be, or lost. So nothing leaves a callback but a member of RocketMQ's own enumerations.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import structlog

Status = TypeVar("Status")


def guarded(work: Callable[[Any], Status], otherwise: Status, event: str) -> Callable[..., Status]:
    """Return a callback that answers what `work` answers of the message it gets, or `otherwise`; it never raises."""

    def callback(received: Any, *_: Any) -> Status:
        try:
            answer = work(received)
        except BaseException as error:  # noqa: BLE001 (even an exit or an interrupt would reach C as COMMIT)
            with suppress(BaseException):
                structlog.get_logger().error(event, error=repr(error), exc_info=error)
            return otherwise
        return answer if type(answer) is type(otherwise) else otherwise

    return callback
