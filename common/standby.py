"""A consumer that takes nothing while what its handler needs is down, so that no delivery is wasted on it."""

from collections.abc import Callable

import structlog

from halfmessage.errors import HalfMessageError

log = structlog.get_logger()


class Standby:
    """Whether a consumer may take messages. While nothing has failed, saying so costs nothing.

    Each failed delivery of a message delays the next one more, and after so many it is a dead letter; an outage must
    do neither.
    """

    def __init__(self, *probes: Callable[[], object]) -> None:
        """Take what raises `OrdersError` while handling a message would."""
        self._probes = probes
        self._suspected = False

    def suspect(self) -> None:
        """Have the probes asked before the next messages are taken: handling some has failed."""
        self._suspected = True

    def ready(self) -> bool:
        """Tell whether to take messages."""
        if not self._suspected:
            return True
        try:
            for probe in self._probes:
                probe()
        except HalfMessageError as error:
            log.info("no messages are taken", reason=error.detail)
            return False
        self._suspected = False
        return True
