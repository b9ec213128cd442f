"""The log of sagas in SQL. The writer of a run holds its epoch: all other writers are told that they lost it."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Connection,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from halfmessage.chunks import VALUES, chunks, rows_in
from halfmessage.saga.errors import ClaimLost
from halfmessage.saga.model import OPEN, Run, RunState, StepRow, StepState, Tables, written

_OPEN: Final = sorted(OPEN)


class Log:
    """Reads and writes runs. Statements are made once: SQLAlchemy keeps what it compiled of them."""

    def __init__(self, tables: Tables) -> None:
        """Take the tables that `saga_tables` declared."""
        runs, steps = tables.runs.c, tables.steps.c
        self._tables = tables
        one = runs.run_id == bindparam("of_run")
        ids: BindParameter[int] = bindparam("ids", expanding=True)
        self._insert_run, self._insert_step = insert(tables.runs), insert(tables.steps)
        self._runs = select(tables.runs).where(runs.run_id.in_(ids)).order_by(runs.run_id)
        self._steps = select(tables.steps).where(steps.run_id.in_(ids)).order_by(steps.run_id, steps.place)
        self._of_key = select(runs.run_id).where(runs.saga == bindparam("of_saga"), runs.key == bindparam("of_key"))
        self._lock = select(tables.runs).where(one).with_for_update()
        self._hold = update(tables.runs).where(one, runs.epoch == bindparam("of_epoch"))
        self._claim = self._hold.where(
            runs.state.in_(_OPEN),
            runs.due_at <= bindparam("now"),
            runs.definition.in_(bindparam("known", expanding=True)),
        ).values(epoch=runs.epoch + 1, stalls=runs.stalls + 1, owner=bindparam("by"), due_at=bindparam("until"))
        self._due = (
            select(runs.run_id)
            .where(runs.due_at <= bindparam("now"), runs.definition.in_(bindparam("known", expanding=True)))
            .order_by(runs.due_at)
            .limit(bindparam("most"))
        )
        is_far = runs.due_at > bindparam("latest")
        self._far = select(runs.run_id).where(is_far).limit(bindparam("most"))
        self._near = update(tables.runs).where(is_far, runs.run_id.in_(ids)).values(due_at=bindparam("now"))
        self._step = update(tables.steps).where(steps.run_id == bindparam("of_run"), steps.step == bindparam("of_step"))

    def insert(self, connection: Connection, run: Run) -> None:
        """Write a new run. Raise IntegrityError where its saga has one of this key; `StateTooLarge`."""
        values = _run_values(run)
        values |= {"run_id": run.run_id, "saga": run.saga, "key": run.key, "definition": run.definition}
        values |= {"deadline_at": run.deadline_at, "created_at": run.created_at, "input": written(run.input)}
        connection.execute(self._insert_run, values)
        rows = [
            {"run_id": run.run_id, "step": step, "place": place, **_step_values(row)}
            for place, (step, row) in enumerate(run.steps.items())
        ]
        connection.execute(self._insert_step, rows)

    def of_key(self, connection: Connection, saga: str, key: str) -> int | None:
        """Return the run of a key."""
        found = connection.scalar(self._of_key, {"of_saga": saga, "of_key": key})
        return None if found is None else int(found)

    def find(self, connection: Connection, run_ids: Collection[int]) -> list[Run]:
        """Return the runs that there are, oldest first."""
        heads = rows_in(connection, self._runs, "ids", sorted(run_ids))
        steps: dict[int, dict[str, StepRow]] = {head.run_id: {} for head in heads}
        for row in rows_in(connection, self._steps, "ids", sorted(steps)):
            steps[row.run_id][row.step] = _step(row)
        return [_run(head, steps[head.run_id]) for head in heads]

    def due(self, connection: Connection, known: Collection[str], now: int, most: int) -> list[int]:
        """Return runs of known definitions that any instance may take, those first that wait longest."""
        return list(connection.scalars(self._due, {"known": list(known), "now": now, "most": most}))

    def far(self, connection: Connection, latest: int, most: int) -> list[int]:
        """Return runs that are due after a time."""
        return list(connection.scalars(self._far, {"latest": latest, "most": most}))

    def bring_near(self, connection: Connection, run_ids: Collection[int], latest: int, now: int) -> None:
        """Have those of the runs be due now that are due after a time."""
        connection.execute(self._near, {"ids": sorted(run_ids), "latest": latest, "now": now})

    def claim(
        self, connection: Connection, run_id: int, known: Collection[str], owner: str, now: int, until: int
    ) -> Run | None:
        """Take a run that is due, by compare-and-set; None where there is nothing to take, or another was first."""
        found = self.find(connection, [run_id])
        if not found:
            return None
        run = found[0]
        values = {"of_run": run_id, "of_epoch": run.epoch, "now": now, "known": list(known)}
        taken = connection.execute(self._claim, {**values, "by": owner, "until": until})
        if not taken.rowcount:
            return None
        (run,) = self.find(connection, [run_id])  # under the row's lock: no steps are written without it
        return run

    def lock(self, connection: Connection, run_id: int) -> Run | None:
        """Return a run that no other transaction writes until this one ends; None where there is none."""
        if connection.execute(self._lock, {"of_run": run_id}).first() is None:
            return None
        (run,) = self.find(connection, [run_id])
        return run

    def hold(self, connection: Connection, run: Run) -> None:
        """Lock a run that was claimed, before what depends on the claim. Raise `ClaimLost`."""
        self._write_run(connection, run, {"due_at": run.due_at})

    def write(self, connection: Connection, before: Run, after: Run) -> None:
        """Write what differs between two views of a run. Raise `ClaimLost` unless `before` has the epoch."""
        self._write_run(connection, before, _run_values(after))
        for step, row in after.steps.items():
            if row != before.steps[step]:
                connection.execute(self._step, {"of_run": after.run_id, "of_step": step, **_step_values(row)})

    def _write_run(self, connection: Connection, run: Run, values: Mapping[str, Any]) -> None:
        held = {"of_run": run.run_id, "of_epoch": run.epoch}
        if not connection.execute(self._hold, {**held, **values}).rowcount:
            raise ClaimLost

    def page(
        self, connection: Connection, *, states: Collection[RunState], saga: str | None, before: int | None, most: int
    ) -> list[int]:
        """Return runs in those states, newest first, of one saga or of all, below an id or from the newest."""
        runs = self._tables.runs.c
        query = select(runs.run_id).where(runs.state.in_(sorted(states))).order_by(runs.run_id.desc()).limit(most)
        if saga is not None:
            query = query.where(runs.saga == saga)
        if before is not None:
            query = query.where(runs.run_id < before)
        return list(connection.scalars(query))

    def counts(self, connection: Connection, often: int) -> tuple[int, int]:
        """Return how many runs are open, and of how many a step failed, or instances ended, so often or more."""
        runs, steps = self._tables.runs.c, self._tables.steps.c
        fails = exists().where(steps.run_id == runs.run_id, steps.tries >= often)
        is_troubled = case((or_(runs.stalls > often, fails), 1), else_=0)
        query = select(func.count(), func.coalesce(func.sum(is_troubled), 0)).where(runs.state.in_(_OPEN))
        number, troubled = connection.execute(query).one()
        return int(number), int(troubled)

    def purge(self, connection: Connection, ended_before: int, most: int) -> int:
        """Delete up to `most` runs that ended before a time (ms since the epoch); return how many."""
        runs = self._tables.runs.c
        query = select(runs.run_id).where(runs.ended_at < ended_before).order_by(runs.ended_at).limit(most)
        old = list(connection.scalars(query))
        for part in chunks(old, VALUES):
            connection.execute(delete(self._tables.steps).where(self._tables.steps.c.run_id.in_(part)))
            connection.execute(delete(self._tables.runs).where(runs.run_id.in_(part)))
        return len(old)


def _run_values(run: Run) -> dict[str, Any]:
    """Return what changes in a run."""
    values = {"state": run.state.value, "epoch": run.epoch, "owner": run.owner, "due_at": run.due_at}
    return {**values, "stalls": run.stalls, "reason": run.reason, "ended_at": run.ended_at}


def _step_values(row: StepRow) -> dict[str, Any]:
    result = None if row.result is None else written(row.result)
    values = {"state": row.state.value, "tries": row.tries, "next_at": row.next_at, "result": result}
    return {**values, "error": row.error, "changed_at": row.changed_at}


def _run(row: Any, steps: Mapping[str, StepRow]) -> Run:
    values = {**row._asdict(), "state": RunState(row.state), "input": json.loads(row.input)}
    return Run(**values, steps=steps)


def _step(row: Any) -> StepRow:
    result = None if row.result is None else json.loads(row.result)
    return StepRow(StepState(row.state), row.tries, row.next_at, result, row.error, row.changed_at)
