"""The log of sagas: one row a run, one row a step."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint
from sqlalchemy.dialects.mysql import TEXT, VARCHAR
from sqlalchemy.types import TypeEngine

from halfmessage.ids import SNOWFLAKE
from halfmessage.saga.errors import StateTooLarge

MOST_BYTES: Final = 16 * 1024
"""Bytes of JSON of a run's input, and of what one step returns."""
LONGEST_KEY: Final = 128
LONGEST_REASON: Final = 500
"""Characters of a reason or of an error that are kept; the log has the rest."""
_CHARSET, _COLLATION = "utf8mb4", "utf8mb4_bin"  # whatever the database's default is


class RunState(StrEnum):
    """Legal moves: running → done, running → undoing → undone, and either → given-up by an operator."""

    RUNNING = "running"
    UNDOING = "undoing"
    DONE = "done"
    UNDONE = "undone"
    GIVEN_UP = "given-up"


OPEN: Final = frozenset({RunState.RUNNING, RunState.UNDOING})


class StepState(StrEnum):
    """waiting → done, refused, or skipped by an operator; where the run turns back, all of these → undone.

    `untouched`: it can't have happened when the run turned back; `left`: an operator skipped its compensation.
    """

    WAITING = "waiting"
    DONE = "done"
    REFUSED = "refused"
    SKIPPED = "skipped"
    UNTOUCHED = "untouched"
    UNDONE = "undone"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of a run. `tries`: failures in the direction of the run; times in ms since the epoch."""

    state: StepState = StepState.WAITING
    tries: int = 0
    next_at: int = 0
    result: Any = None
    error: str | None = None
    changed_at: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Times in ms since the epoch; `steps` in the order in which they are declared.

    `due_at`: when any instance may take it: at its next try, or where one holds it, at the end of that claim; None once
    it has ended. `epoch` counts claims and operators' words, and fences those before. `stalls`: claims since anything
    was written down.
    """

    run_id: int
    saga: str
    key: str
    definition: str
    state: RunState
    epoch: int
    owner: str | None
    due_at: int | None
    deadline_at: int
    stalls: int
    input: Any
    reason: str | None
    created_at: int
    ended_at: int | None
    steps: Mapping[str, StepRow]


@dataclass(frozen=True, slots=True)
class Tables:
    """The log's tables."""

    runs: Table
    steps: Table


def _words(length: int) -> TypeEngine[str]:
    return String(length).with_variant(VARCHAR(length, charset=_CHARSET, collation=_COLLATION), "mysql", "mariadb")


def _json() -> TypeEngine[str]:
    return Text().with_variant(TEXT(charset=_CHARSET, collation=_COLLATION), "mysql", "mariadb")


def saga_tables(metadata: MetaData, name: str = "sagas") -> Tables:
    """Declare the log's tables, called `name` and `name` with `_steps`."""
    runs = Table(
        name,
        metadata,
        Column("run_id", SNOWFLAKE, primary_key=True, autoincrement=False),
        Column("saga", _words(64), nullable=False),
        Column("key", _words(LONGEST_KEY), nullable=False),
        Column("definition", _words(64), nullable=False),
        Column("state", String(9), nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("owner", _words(64)),
        Column("due_at", BigInteger, index=True),
        Column("deadline_at", BigInteger, nullable=False),
        Column("stalls", Integer, nullable=False),
        Column("input", _json(), nullable=False),
        Column("reason", _words(LONGEST_REASON)),
        Column("created_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger, index=True),
        UniqueConstraint("saga", "key"),
        Index(f"{name}_by_state", "state", "run_id"),
    )
    steps = Table(
        f"{name}_steps",
        metadata,
        Column("run_id", SNOWFLAKE, primary_key=True, autoincrement=False),
        Column("step", _words(64), primary_key=True),
        Column("place", Integer, nullable=False),
        Column("state", String(9), nullable=False),
        Column("tries", Integer, nullable=False),
        Column("next_at", BigInteger, nullable=False),
        Column("result", _json()),
        Column("error", _words(LONGEST_REASON)),
        Column("changed_at", BigInteger, nullable=False),
    )
    return Tables(runs, steps)


def barrier_table(metadata: MetaData, name: str = "saga_barrier") -> Table:
    """Declare the table of a participant's barrier, called `name`; `decided_at` in ms since the epoch."""
    return Table(
        name,
        metadata,
        Column("step_key", _words(192), primary_key=True),
        Column("state", String(7), nullable=False),
        Column("result", _json()),
        Column("reason", _words(LONGEST_REASON)),
        Column("decided_at", BigInteger, nullable=False, index=True),
    )


def written(value: Any) -> str:
    """Write JSON. Raise `StateTooLarge` for what is none, or takes more than `MOST_BYTES`."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII, so a byte each
    except (TypeError, ValueError) as error:
        raise StateTooLarge(f"A saga remembers JSON only: {error}.") from error
    if len(text) > MOST_BYTES:
        raise StateTooLarge(f"A saga remembers at most {MOST_BYTES} bytes of JSON at once; this takes {len(text)}.")
    return text


def cut(words: str) -> str:
    """Return what of a reason or an error is kept; PostgreSQL takes no NUL."""
    return words.encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:LONGEST_REASON]
