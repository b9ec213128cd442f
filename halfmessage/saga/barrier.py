"""A participant's side of an outside step: who writes the step's row first, doing or undoing, decides.

It is the reservation's header and tombstone once more (`halfmessage.participant`), for steps of any kind. Three cases:

- *repetition*: a call that comes again finds its row, gets the first answer, and does nothing;
- *null compensation*: an `undo` whose `do` never came undoes nothing, and leaves the row `undone`;
- *suspension*: a `do` that comes after its `undo` finds that row, and is refused.

The three cases are named as in DTM, https://en.dtm.pub/practice/barrier.html; what is ours is one row for both
directions instead of two, and that a refusal is kept, too.
"""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Table, delete, insert, select, update

from halfmessage.clock import now_ms
from halfmessage.db import Transactor
from halfmessage.errors import DuplicateRow, Misconfigured
from halfmessage.saga.definition import Direction
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.model import cut, written

MOST_PURGED: Final = 500
"""Rows that one call deletes, in one transaction."""
_LONGEST_KEY: Final = 192  # characters without the direction
_MEETINGS: Final = 3  # a row that was there, and is gone again, was refused or rolled back: few do that at once


class _State(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    UNDONE = "undone"


class Barrier:
    """The rows of one table that `barrier_table` declares, in the participant's own database."""

    def __init__(self, database: Transactor, table: Table) -> None:
        """Take the database in which steps do their work, and the table."""
        self._database, self._table = database, table
        self._insert = insert(table)

    def do(self, key: str, work: Callable[[Connection], Any]) -> Any:
        """Do a step once, in one transaction with its row; return what it returns (JSON), also to its repetitions.

        `key`: the call's Idempotency-Key. Raise `StepRefused` where `work` does, where it did before, or where the step
        was undone before it came; `StateTooLarge`, or whatever else `work` or the database raises: nothing was done,
        but for `CommitOutcomeUnknown`: ask again.
        """
        step_key = _step_key(key, Direction.DO)

        def transaction(connection: Connection) -> Any:
            if (row := self._find(connection, step_key)) is not None:
                return _first_answer(*row)
            self._write(connection, step_key, _State.DONE)
            result = work(connection)
            if result is not None:
                self._change(connection, step_key, _State.DONE, result=written(result))
            return result

        try:
            return self._meet(transaction)
        except _Told as told:
            raise StepRefused(told.reason) from None
        except StepRefused as refused:
            return self._refuse(step_key, refused)

    def _refuse(self, step_key: str, refused: StepRefused) -> Any:
        """Keep a refusal before it is told; or return what a call that came meanwhile was told."""

        def transaction(connection: Connection) -> Any:
            if (row := self._find(connection, step_key)) is not None:
                return _first_answer(*row)
            self._write(connection, step_key, _State.REFUSED, cut(refused.detail))
            return _MISSING

        try:
            answer = self._meet(transaction)
        except _Told as told:
            raise StepRefused(told.reason) from None
        if answer is _MISSING:
            raise refused
        return answer

    def undo(self, key: str, work: Callable[[Connection, Any], object]) -> None:
        """Undo a step once, in one transaction with its row; where it was not done, only leave the row.

        `work` is given what the step returned. Raises as `do` does, but for `StepRefused`.
        """
        step_key = _step_key(key, Direction.UNDO)

        def transaction(connection: Connection) -> None:
            row = self._find(connection, step_key)
            if row is None:
                self._write(connection, step_key, _State.UNDONE)
                return
            state, result, _ = row
            if state is not _State.UNDONE:
                self._change(connection, step_key, _State.UNDONE)
            if state is _State.DONE:
                work(connection, None if result is None else json.loads(result))

        self._meet(transaction)

    def purge(self, decided_before: int) -> int:
        """Forget up to `MOST_PURGED` rows decided before that time (ms since the epoch); return how many.

        That has to be longer ago than any call of the run may take to arrive: its deadline, and its undoing.
        """
        columns = self._table.c
        query = select(columns.step_key).where(columns.decided_at < decided_before).order_by(columns.decided_at)

        def transaction(connection: Connection) -> int:
            old = connection.scalars(query.limit(MOST_PURGED)).all()
            connection.execute(delete(self._table).where(columns.step_key.in_(old)))
            return len(old)

        return self._database.transact(transaction)

    def _meet(self, transaction: Callable[[Connection], Any]) -> Any:
        """Run a transaction; again where another inserted the row first, which it then finds."""
        for _ in range(_MEETINGS - 1):
            try:
                return self._database.transact(transaction)
            except DuplicateRow:  # or one of the step's own rows: then it comes again, and is raised
                continue
        return self._database.transact(transaction)

    def _find(self, connection: Connection, step_key: str) -> tuple[_State, str | None, str | None] | None:
        columns = self._table.c
        query = select(columns.state, columns.result, columns.reason).where(columns.step_key == step_key)
        row = connection.execute(query.with_for_update()).first()
        return None if row is None else (_State(row.state), row.result, row.reason)

    def _write(self, connection: Connection, step_key: str, state: _State, reason: str | None = None) -> None:
        values = {"step_key": step_key, "state": state.value, "reason": reason, "decided_at": now_ms()}
        connection.execute(self._insert, values)

    def _change(self, connection: Connection, step_key: str, state: _State, **values: str) -> None:
        changed = {"state": state.value, "decided_at": now_ms(), **values}
        connection.execute(update(self._table).where(self._table.c.step_key == step_key).values(changed))


_MISSING: Final = object()


class _Told(Exception):
    """What was told before: a refusal. It ends the transaction, which changed nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _first_answer(state: _State, result: str | None, reason: str | None) -> Any:
    if state is _State.DONE:
        return None if result is None else json.loads(result)
    raise _Told(reason or "The step was undone before it came.")


def _step_key(key: str, direction: Direction) -> str:
    """Return a call's key without its direction, which must be that one. Raise `Misconfigured`."""
    step_key, _, its = key.rpartition("/")
    if its != direction or not 0 < len(step_key) <= _LONGEST_KEY:
        raise Misconfigured(
            f"The key of this call is run/step/{direction}, with 1 to {_LONGEST_KEY} characters before."
        )
    return step_key
