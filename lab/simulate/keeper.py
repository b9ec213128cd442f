"""Keeps connections and engines from one life of a process to the next, and from run to run.

To open a file, to read its schema and to prepare statements takes longer than a run has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from halfmessage.db import LOCK_WAIT, prepare
from lab.simulate.connections import SimulatedConnection, opened
from lab.simulate.templates import BROKER, DATABASES, Templates

Adopt = Callable[[SimulatedConnection], None]
"""Lets the running process have a connection."""


class Keeper:
    """The connections of one simulator."""

    def __init__(self, templates: Templates, adopt: Adopt) -> None:
        """Take the databases, and what lets a process have one of its connections."""
        self._templates = templates
        self._adopt = adopt
        self._engines = {service: self._engine(service) for service in DATABASES}
        self._idle: list[SimulatedConnection] = []
        self._all: list[SimulatedConnection] = []

    def path(self, name: str) -> Path:
        """Return where a database is."""
        return self._templates.path(name)

    def engine(self, service: str) -> Engine:
        """Return the engine of a service: the same for all its lives, so that SQLAlchemy keeps what it compiled."""
        return self._engines[service]

    def _engine(self, service: str) -> Engine:
        idle: list[SimulatedConnection] = []

        def connect() -> SimulatedConnection:
            connection = idle.pop() if idle else self._opened(self.path(service), idle)
            connection.patience, connection.committed, connection.is_pooled = LOCK_WAIT, _nothing, True
            self._adopt(connection)
            return connection

        engine = create_engine("sqlite://", creator=connect, poolclass=_Adopting)
        assert isinstance(engine.pool, _Adopting)  # noqa: S101 # nosec B101
        engine.pool.adopt = self._adopt
        prepare(engine)
        return engine

    def broker_connection(self, uri: str) -> SimulatedConnection:
        """Return a connection to the broker's file, whose `committed` the caller sets."""
        connection = self._idle.pop() if self._idle else self._opened(uri, self._idle)
        connection.patience, connection.is_pooled = 0.0, False
        return connection

    def _opened(self, name: str | Path, idle: list[SimulatedConnection]) -> SimulatedConnection:
        """Open one more, which is kept in `idle` while no process has it."""
        connection = opened(name)
        connection.given_back = idle.append
        self._all.append(connection)
        return connection

    def reset(self) -> None:
        """Make the databases those of a new run."""
        self._templates.reset()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._all:
            connection.close_for_good()

    @property
    def broker_path(self) -> Path:
        """Where the broker's file is."""
        return self.path(BROKER)


class _Adopting(Pool):
    """Connections that belong to whichever process has them now. It has no bound: a run has few tasks."""

    adopt: Adopt

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._records: list[ConnectionPoolEntry] = []

    def _do_get(self) -> ConnectionPoolEntry:
        if not self._records:
            return self._create_connection()
        record = self._records.pop()
        if record.dbapi_connection is not None:
            self.adopt(cast("SimulatedConnection", record.dbapi_connection))
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self._records.append(record)

    def status(self) -> str:
        """Tell how many wait."""
        return f"{len(self._records)} connections wait"

    def dispose(self) -> None:
        """Forget them."""
        self._records.clear()


def _nothing() -> None:
    pass
