"""Wires returns: the engine that runs them in this process, and what an operator sees of it."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from common.aside import ThreadedAside
from common.config import Settings
from common.db import Database
from common.telemetry import Metrics
from common.web import Api
from halfmessage.ids import IdSource
from halfmessage.saga.engine import Engine
from halfmessage.saga.means import Trouble
from halfmessage.saga.operating import Sagas
from halfmessage.saga.waking import Sweeper
from order import return_api
from order.clients.pay import PayClient
from order.model import sagas
from order.service.participants import Participant
from order.service.reading import OrderReader
from order.service.return_saga import return_sagas
from order.service.returning import Returning
from order.service.settling import Settlements

_DRIVEN: Final = 2  # runs that this process drives as soon as they are begun; it looks for others one after the other
_ALERT_AFTER: Final = 10  # failures of a step: a service that is down for some four minutes
_CALLS: Final = 2  # of another service in one try of a step
_MARGIN: Final = 1.0  # seconds of a try beside them
_LEASE: Final = 5.0  # seconds of a claim beside one try: for so long a killed process's return stands still


class Returns:
    """Begins returns and goes on with everybody's."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        ids: IdSource,
        reader: OrderReader,
        participants: Sequence[Participant],
        payments: PayClient | None,
        settlements: Settlements,
        metrics: Metrics,
    ) -> None:
        """Take what returns need; `payments`: the pay service, where the deployment has it."""
        begun = metrics.counter("returns_begun", "Returns of orders that were begun")
        self._alerts = metrics.counter("saga_alerts", "Steps of sagas that failed again and again", "saga", "step")
        within = _CALLS * settings.peer_timeout + _MARGIN
        self._aside = ThreadedAside("returns", _DRIVEN)
        self._engine = Engine(
            database,
            sagas,
            ids,
            return_sagas(reader, participants, payments, within=within),
            name="return",
            lease=within + _LEASE,
            wake=self._soon,
            alert=self._alert,
            alert_after=_ALERT_AFTER,
        )
        self._sagas = Sagas(self._engine)
        self._sweeper = Sweeper(self._engine)
        self.returning = Returning(
            database, self._engine, reader, settlements, within=settings.return_within, count=begun.inc
        )
        metrics.observe_all("Sagas that have not ended, and those in trouble", partial(_gauges, self._sagas))

    def install(self, api: Api) -> None:
        """Declare the routes."""
        return_api.install(api, self.returning, self._sagas)

    def start(self) -> None:
        """Look for returns that any process has left."""
        self._sweeper.start()

    def close(self) -> None:
        """Stop, after the steps in hand."""
        self._sweeper.close()
        self._aside.close()

    def _soon(self, run_id: int) -> None:
        """Drive a run beside the request; where too many wait, the next look finds it."""
        self._aside.start(self._engine.drive, run_id)

    def _alert(self, trouble: Trouble) -> None:
        self._alerts.labels(trouble.saga, trouble.step or "").inc()


def _gauges(sagas: Sagas) -> dict[str, float]:
    found = sagas.counts(_ALERT_AFTER)
    return {"sagas_open": found.open, "sagas_troubled": found.troubled}
