"""Keeping what a handler works on from being given to somebody else, for as long as it gets on."""

import time
from collections.abc import Callable

import structlog

from halfmessage.errors import OutcomeUnknown, Unavailable

_SHARE = 3  # of the invisible time: after this part of it, it is begun anew


class Keeper:
    """A `Delivery.keep`: extends the invisible time of what one handler got, once enough of it is over.

    The handler calls it between its steps. One that hangs calls nothing, and what it has goes to another in time.
    """

    def __init__(self, topic: str, invisible_for: float, extend: Callable[[], None]) -> None:
        """Take the invisible time in seconds, which begins now, and what begins it anew.

        That raises `BrokerError`, or what a database raises where that is the broker.
        """
        self._topic = topic
        self._every = invisible_for / _SHARE
        self._extend = extend
        self._again_at = time.monotonic() + self._every

    def __call__(self) -> None:
        """Extend it if it is time to."""
        if time.monotonic() < self._again_at:
            return
        try:
            self._extend()
        except (Unavailable, OutcomeUnknown) as error:  # it may come twice then, as after any crash
            structlog.get_logger().warning("broker.not_kept", topic=self._topic, reason=error.detail)
        self._again_at = time.monotonic() + self._every
