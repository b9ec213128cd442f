"""Returns that are under way, as the log of their sagas tells. It never writes."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import Connection, select

from halfmessage.saga.log import Log
from halfmessage.saga.model import OPEN, Run, StepState
from ops.findings import KEPT, OpenReturn, OpenStep
from order.model import sagas
from order.service.return_saga import RETURN

_LOG: Final = Log(sagas)
_RUNS: Final = sagas.runs.c


def open_returns(connection: Connection) -> list[OpenReturn]:
    """Return the newest `KEPT` returns whose saga has not ended, the oldest of them first."""
    newest = _LOG.page(connection, states=OPEN, saga=RETURN, before=None, most=KEPT)
    return [_open(run) for run in _LOG.find(connection, newest)]


def under_way(connection: Connection, order_ids: Collection[int]) -> set[int]:
    """Return those of the orders whose return has not ended: what they hold is on its way back."""
    if not order_ids:
        return set()
    query = select(_RUNS.key).where(_RUNS.saga == RETURN, _RUNS.state.in_(sorted(OPEN)))
    return set(map(int, connection.scalars(query.where(_RUNS.key.in_([str(order_id) for order_id in order_ids])))))


def _open(run: Run) -> OpenReturn:
    waiting = ((name, step) for name, step in run.steps.items() if step.state is StepState.WAITING)
    steps = tuple(OpenStep(name, step.tries, step.error) for name, step in waiting)
    return OpenReturn(int(run.key), run.run_id, run.state.value, steps, run.created_at, run.due_at)
