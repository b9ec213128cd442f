"""The processes of one run, and what is around them: databases, the broker's bell, starts and ends."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from common.db import Database
from halfmessage.db import EngineTransactor
from halfmessage.errors import HalfMessageError
from halfmessage.mq.embedded import EmbeddedBroker
from halfmessage.mq.embedded.wakeup import Wakeup
from halfmessage.mq.port import BrokerOptions
from lab.simulate.asked import Asked
from lab.simulate.connections import SimulatedConnection
from lab.simulate.faults import Fault, Trigger
from lab.simulate.history import History
from lab.simulate.injector import Injector
from lab.simulate.keeper import Keeper
from lab.simulate.plan import Plan
from lab.simulate.scheduler import BEGIN, Process, Scheduler
from lab.simulate.templates import BROKER
from lab.simulate.transport import Network

_AWAY: Final = (0.1, 6.0)  # seconds from the end of a process to its next start
_BELL: Final = (1, 25)  # ms until another process sees that the broker's file was changed, as its looks do

_SWEPT: Final = "'order_rollback', 'order_timeout'"  # topics whose messages nothing is lost without
_TOLD_AGAIN: Final = f"{_SWEPT}, 'payment_succeeded'"  # those, where a pay service tells of a payment again
_FORGOTTEN: Final = """
DELETE FROM messages WHERE topic IN ({topics}) AND (
    stage = 'half' OR id IN (SELECT message_id FROM deliveries WHERE state = 'pending')
)
"""

Start = Callable[["World", Process], None]
"""Builds and starts a service, in a task of its process. Raise `HalfMessageError` where it can't."""


class SimulatedDatabase(Database):
    """A service's database: an engine of ours is used by all lives of the service, in all runs."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine."""
        EngineTransactor.__init__(self, engine)
        self._file = None


class World:
    """Everything of one run that is not the product's."""

    def __init__(self, plan: Plan, keeper: Keeper, starts: Mapping[str, Start]) -> None:
        """Take what is to happen, what keeps connections to the databases, and what starts each service."""
        self.plan = plan
        self.scheduler = Scheduler(plan.seed)
        self.history = History()
        self.injector = Injector(self.scheduler, self.history, plan.faults)
        self.injector.crash = self.crash
        self.injector.forget = self._forget
        self.asked = Asked(self.seconds)
        self.issued: list[tuple[int, str]] = []
        """All ids that were issued, each with the process that did."""
        self.withdrawn_at: int | None = None
        """When an operator was told that a coupon is withdrawn, in ms since the epoch."""
        self.network = Network(self.scheduler, self.injector)
        self.options = BrokerOptions(
            check_first_after=3.0, check_interval=4.0, check_max=plan.check_max, retry_longest=20.0
        )
        self.up: dict[str, bool] = {}
        self._keeper = keeper
        self._starts = starts
        self._connections: defaultdict[Process, dict[SimulatedConnection, None]] = defaultdict(dict)
        self._bells: defaultdict[Process, list[Wakeup]] = defaultdict(list)
        self._is_ringing = False
        self._processes: dict[str, Process] = {}

    def seconds(self) -> float:
        """Return how long the run lasts by now."""
        return (self.scheduler.now - BEGIN) / 1e9

    def path(self, name: str) -> Path:
        """Return where a database is."""
        return self._keeper.path(name)

    def processes(self, service: str) -> Sequence[str]:
        """Return the names of all processes of a service: order may have several, on one database."""
        if service != "order":
            return [service]
        return [service, *(f"{service}-{number}" for number in range(2, self.plan.processes + 1))]

    def boot(self, name: str) -> None:
        """Start a process of a service for the first time, or once more."""
        before = self._processes.get(name)
        process = Process(name, 1 if before is None else before.life + 1)
        self._processes[name] = process
        self.up[name] = False
        self.history.add(self.scheduler.now, f"{name}/{process.life}", "starts")
        self.scheduler.spawn(process, "main", partial(self._start, process))

    def _start(self, process: Process) -> None:
        try:
            self._starts[process.service](self, process)
        except HalfMessageError as error:
            self.injector.tell("can't start", reason=error.detail)
            self.crash(process)
            self.scheduler.leave()
        self.up[process.name] = True
        self.injector.tell("is up")

    def crash(self, process: Process) -> None:
        """End a process at once, and start it again after a while."""
        self.history.add(self.scheduler.now, f"{process.name}/{process.life}", "dies")
        self.up[process.name] = False
        self.scheduler.kill(process)
        self._end_connections(process)
        away = self.scheduler.random.uniform(*_AWAY)
        self.scheduler.at(self.scheduler.now + int(away * 1e9), partial(self.boot, process.name))

    def strike_in_time(self) -> None:
        """Have those faults strike that are of a time."""
        for fault in self.plan.faults:
            if fault.trigger is Trigger.TIME:
                self.scheduler.at(BEGIN + fault.nth * 1_000_000_000, partial(self._strike, fault))

    def _strike(self, fault: Fault) -> None:
        names = self.processes(fault.place)
        process = self._processes[names[fault.nth % len(names)]]
        if self.injector.is_calm or not process.is_alive:
            return
        self.injector.strike(fault)
        if fault.kind == "crash":
            self.crash(process)
        elif fault.kind == "freeze":
            process.frozen_until = self.scheduler.now + int(fault.seconds * 1e9)
        elif fault.kind == "forget":
            self._forget()
        else:
            self.injector.begin_outage(fault)

    def _forget(self) -> None:
        """Have the broker lose what it has and has not delivered, as one whose disk has died."""
        connection = sqlite3.connect(self.path(BROKER), timeout=0, isolation_level=None)
        try:
            connection.execute(_FORGOTTEN.format(topics=_TOLD_AGAIN if self.plan.pays else _SWEPT))
        except sqlite3.OperationalError:  # a process is writing: a disk dies at another moment
            self.history.add(self.scheduler.now, "world", "forgets nothing: the broker's file is locked")
        finally:
            connection.close()

    def database(self, service: str) -> SimulatedDatabase:
        """Return the database of a service, for one life of it."""
        return SimulatedDatabase(self._keeper.engine(service))

    def broker(self) -> EmbeddedBroker:
        """Open the broker's file, for one life of a process. Raise `BrokerError`."""
        return EmbeddedBroker(self.path(BROKER), self.options)

    def adopt(self, connection: SimulatedConnection) -> None:
        """Let the running process have a connection."""
        process = self.scheduler.living().process
        connection.adopted(self.injector, process)
        self._connections[process][connection] = None

    def broker_connection(self, uri: str) -> SimulatedConnection:
        """Stand for `sqlite3.connect` where the broker opens its file."""
        connection = self._keeper.broker_connection(uri)
        connection.committed = self._changed
        self.adopt(connection)
        return connection

    def watch(self, wakeup: Wakeup) -> None:
        """Ring this bell once the broker's file was changed."""
        self._bells[self.scheduler.living().process].append(wakeup)

    def _changed(self) -> None:
        if not self._is_ringing:
            self._is_ringing = True
            soon = self.scheduler.random.randint(*_BELL) * 1_000_000
            self.scheduler.at(self.scheduler.now + soon, self._ring)

    def _ring(self) -> None:
        self._is_ringing = False
        for process, bells in self._bells.items():
            if process.is_alive:
                for bell in bells:
                    self.scheduler.spawn(process, "bell", bell.ring)

    def close(self) -> None:
        """End all that is left."""
        self.scheduler.close()
        for process in list(self._connections):
            self._end_connections(process)

    def _end_connections(self, process: Process) -> None:
        """Roll back what a process has not committed; a connection that it gave back may be another's by now."""
        for connection in self._connections.pop(process, ()):
            if connection.owner is process:
                connection.end()
