"""A call of a saga's step that is lost: its run turns back, and the call comes after its compensation.

Those are the two cases of a participant's barrier that no death of a process brings about (docs/sagas.md): the null
compensation, of what never came, and the suspension, of what comes too late.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import structlog
from sqlalchemy import Engine, update

from halfmessage.clock import now_ms
from halfmessage.drill.waiting import is_quiet, until, until_quiet
from halfmessage.drill.watching import Watch
from halfmessage.saga import plan
from halfmessage.saga.definition import Local
from halfmessage.saga.model import Run, RunState
from halfmessage.transactional import TransactionalMessages
from halfmessage.transactional.tables import SAGAS

log = structlog.get_logger()


def losable(tx: TransactionalMessages, called: Iterable[str]) -> list[str]:
    """Return what may be lost of what was called: before a local first step there is nothing that could be undone."""
    first = {
        f"{saga.name}/{name}/do"
        for saga in tx.saga_engine.sagas.values()
        for name, step in saga.steps.items()
        if isinstance(step, Local) and not saga.needs[name]
    }
    return [name for name in called if name not in first]


def turned(
    tx: TransactionalMessages, watch: Watch, patience: float, check: Callable[[], Iterable[str]]
) -> Iterator[str]:
    """Have the deadline of a run end that lost a call, and then have the call come; tell what did not hold before it.

    A run that has passed what can't be undone goes on: there the call is tried again.
    """
    until(lambda: bool(watch.lost) or is_quiet(tx), patience)
    for call in watch.lost[:1]:
        _end_deadline(tx.engine, call.run_id)
        until(lambda: not _may_turn(tx, tx.sagas.show(call.run_id)), patience)  # noqa: B023 - called at once
        watch.found()
        until_quiet(tx, patience)
        run = tx.sagas.show(call.run_id)
        step = tx.saga_engine.sagas[run.definition].steps[call.step]
        if run.state is RunState.DONE or isinstance(step, Local):  # which has no caller but its run
            continue
        yield from (f"before the call came: {line}" for line in check())
        try:
            step.do(replace(call, deadline=now_ms() + int(step.within * 1000)))
        except Exception:  # refused, it should be; what it did, is looked at
            log.info("a call that came late was not done", step=call.step, exc_info=True)
    watch.found()


def _may_turn(tx: TransactionalMessages, run: Run) -> bool:
    return run.state is RunState.RUNNING and plan.may_turn(tx.saga_engine.sagas[run.definition], run)


def _end_deadline(engine: Engine, run_id: int) -> None:
    ends = update(SAGAS.runs).where(SAGAS.runs.c.run_id == run_id).values(deadline_at=0)
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(ends)
