"""A log of sagas, and participants whose effects are counted."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, create_engine, insert, select, update

from halfmessage.clock import now_ms
from halfmessage.db import EngineTransactor, prepare
from halfmessage.ids import EPOCH, lease_table
from halfmessage.saga.barrier import Barrier
from halfmessage.saga.definition import Call, Direction, Local, Outside, Saga
from halfmessage.saga.engine import Engine
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.model import Run, Tables, barrier_table, saga_tables
from halfmessage.saga.operating import Sagas
from halfmessage.saga.plan import Delay

LATER = Delay(first=3600, longest=3600)  # tests have time pass
WITHIN = 0.2
LEASE = 1.2


class Counted:
    """Ids for one process."""

    def __init__(self) -> None:
        self._numbers = itertools.count((now_ms() - EPOCH) << 22)

    def next(self) -> int:
        return next(self._numbers)


@dataclass
class Shop:
    """One database with a log, a barrier, and a row for each effect of a step."""

    url: str
    calls: list[Call] = field(default_factory=list)
    metadata: MetaData = field(default_factory=MetaData)

    def __post_init__(self) -> None:
        self.tables: Tables = saga_tables(self.metadata)
        self.effects = Table(
            "effects",
            self.metadata,
            Column("number", Integer, primary_key=True),
            Column("run_id", String(32), index=True),
            Column("step", String(64)),
            Column("change", Integer),
        )
        barrier = barrier_table(self.metadata)
        lease_table(self.metadata)
        isolation = {} if self.url.startswith("sqlite") else {"isolation_level": "READ COMMITTED"}
        self.engine = create_engine(self.url, pool_size=32, **isolation)
        prepare(self.engine)
        self.database = EngineTransactor(self.engine)
        self.barrier = Barrier(self.database, barrier)
        self.ids = Counted()
        self._guard = threading.Lock()

    def create(self) -> None:
        self.metadata.create_all(self.engine)

    def close(self) -> None:
        self.engine.dispose()

    def make(self, *sagas: Saga, **options: Any) -> Engine:
        """Return an instance of the engine."""
        return Engine(self.database, self.tables, self.ids, sagas, **({"delay": LATER} | options))

    # what steps do
    def effect(self, connection: Connection, call: Call, change: int) -> None:
        row = {"run_id": str(call.run_id), "step": call.step, "change": change}
        connection.execute(insert(self.effects).values(row))

    def arrive(self, call: Call, *, refuse: bool = False) -> Any:
        """Be a participant that a call of an outside step reaches."""
        with self._guard:
            self.calls.append(call)

        def do(connection: Connection) -> str:
            if refuse:
                raise StepRefused("sold out")
            self.effect(connection, call, 1)
            return f"{call.step} of {call.key}"

        if call.direction is Direction.DO:
            return self.barrier.do(call.idempotency_key, do)
        return self.barrier.undo(call.idempotency_key, lambda connection, _: self.effect(connection, call, -1))

    def outside(self, name: str, do: Callable[[Call], Any] | None = None, **options: Any) -> Outside:
        """Return a step that reaches the participant, through `do` where one is told."""
        options = {"within": WITHIN, "undo": self.arrive} | options
        return Outside(name, do=do or self.arrive, **options)

    def local(self, name: str, **options: Any) -> Local:
        """Return a step whose effect is in the log's own database."""

        def do(connection: Connection, call: Call) -> str:
            with self._guard:
                self.calls.append(call)
            self.effect(connection, call, 1)
            return f"{name} of {call.key}"

        def undo(connection: Connection, call: Call) -> None:
            with self._guard:
                self.calls.append(call)
            self.effect(connection, call, -1)

        return Local(name, **({"do": do, "undo": undo, "within": WITHIN} | options))

    # what tests look at
    def effects_of(self, run: Run) -> dict[str, int]:
        """Return how often each step's effect stands."""
        query = select(self.effects.c.step, self.effects.c.change).where(self.effects.c.run_id == str(run.run_id))
        stand = dict.fromkeys(run.steps, 0)
        with self.database.read() as connection:
            for step, change in connection.execute(query):
                stand[step] += change
        return stand

    def asked(self, direction: Direction = Direction.DO) -> list[str]:
        return [call.step for call in self.calls if call.direction is direction]

    def pass_time(self, **values: int) -> None:
        """Have claims and delays be over."""
        runs, steps = self.tables.runs, self.tables.steps
        self.database.transact(
            lambda connection: (
                connection.execute(update(runs).where(runs.c.due_at.is_not(None)).values({"due_at": 0} | values)),
                connection.execute(update(steps).values(next_at=0)),
            )
        )

    def settle(self, engine: Engine, run_id: int) -> Run:
        """Go on with a run until it has ended."""
        for _ in range(200):
            run = Sagas(engine).show(run_id)
            if run.ended_at is not None:
                return run
            self.pass_time()
            engine.sweep()
        raise AssertionError(run)
