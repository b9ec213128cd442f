"""Payments that a participant has to hear of are told soon after the answer; what gets lost is told by the sweep."""

import threading

import structlog

from common.aside import Aside
from halfmessage.errors import HalfMessageError
from order.service.settling import Settlements

log = structlog.get_logger()


class Telling:
    """Tells what is written down, all of it at a time: one run is under way at most, and one waits for its end."""

    def __init__(self, settlements: Settlements, aside: Aside) -> None:
        """Take what is written down, and what runs beside: with one thread, or two runs tell the same."""
        self._settlements = settlements
        self._aside = aside
        self._guard = threading.Lock()
        self._waits = False

    def soon(self) -> None:
        """Have told what is written down by now."""
        with self._guard:
            if self._waits:
                return
            self._waits = True
        self._aside.start(self._run)

    def _run(self) -> None:
        with self._guard:
            self._waits = False  # what is written down from here on is for another run
        try:
            self._settlements.confirm_payments()
        except HalfMessageError as error:
            log.info("payments are left to the sweep to be told", reason=error.detail)
