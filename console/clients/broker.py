"""The broker, through its console; it is connected to when it is first needed, so that pages work without it."""

import threading
from collections.abc import Callable

from halfmessage.mq.port import Broker, Console

Open = Callable[[], Broker]


class Messages:
    """Where pages get the broker's console."""

    def __init__(self, open_it: Open) -> None:
        """Take what opens the broker."""
        self._open = open_it
        self._guard = threading.Lock()
        self._broker: Broker | None = None

    def console(self) -> Console:
        """Return the console. Raise `BrokerError`, or `ConsoleUnavailable` where this broker has none."""
        with self._guard:
            if self._broker is None:
                self._broker = self._open()
            return self._broker.console()

    def close(self) -> None:
        """Close the connection."""
        with self._guard:
            if self._broker is not None:
                self._broker.close()
                self._broker = None
