"""Returns as the log of sagas has them, written by hand."""

from common.db import Database
from halfmessage.clock import now_ms
from halfmessage.saga.log import Log
from halfmessage.saga.model import OPEN, Run, RunState, StepRow, StepState
from order.model import sagas
from order.service.return_saga import RETURN


def write_return(
    database: Database, order_id: int, state: RunState = RunState.RUNNING, *, refund: StepRow | None = None
) -> None:
    """Write the return of an order, begun an hour ago, whose pieces are back; it goes on in a minute if it is open."""
    now = now_ms()
    steps = {"refund": refund or StepRow(), "restock": StepRow(StepState.DONE)}
    run = Run(
        run_id=1000 + order_id, saga=RETURN, key=str(order_id), definition="d", state=state, epoch=1, owner=None,
        due_at=now + 60_000 if state in OPEN else None, deadline_at=now, stalls=0, input={}, reason=None,
        created_at=now - 3_600_000, ended_at=None if state in OPEN else now, steps=steps,
    )  # fmt: skip
    database.transact(lambda connection: Log(sagas).insert(connection, run))
