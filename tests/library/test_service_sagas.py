"""Sagas of a service beside its messages: one declaration, its own transaction, any process goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from sqlalchemy import Connection, Engine, create_engine, func, inspect, select
from sqlalchemy.orm import Session

from halfmessage import transactional
from halfmessage.contrib import migrations
from halfmessage.contrib.flask import TransactionalMessages
from halfmessage.errors import Misconfigured
from halfmessage.saga.definition import Call, Local, Outside, Saga
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.model import RunState
from halfmessage.saga.plan import Delay
from halfmessage.transactional import Options
from halfmessage.transactional.tables import METADATA, RECORDS, SAGAS
from tests import postgresql
from tests.library.shop import Base, Paid
from tests.support import eventually as soon

pytestmark = pytest.mark.embedded("a saga's log needs a database and no broker")
eventually = partial(soon, within=30)
QUICK = Options(poll_every=0.02, saga_delay=Delay(first=0.02, longest=0.05))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Return an engine of an empty database, migrated."""
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path}/trips.db")
        migrations.upgrade(made)
        yield made
        made.dispose()
        return
    server = postgresql.server()
    made = create_engine(server.create())
    migrations.upgrade(made)
    yield made
    made.dispose()
    server.close()


class Trips:
    """A service with one saga: what was done is noted, and what is asked for is refused or fails."""

    def __init__(self, engine: Engine, *versions: int, options: Options = QUICK) -> None:
        self.engine, self.noted = engine, list[str]()
        self.refuses, self.fails = set[str](), set[str]()
        self.tx = transactional.TransactionalMessages("trips", engine, broker="table://", options=options)
        for version in versions or (1,):
            self.tx.saga(self.saga(version))

    def saga(self, version: int) -> Saga:
        steps: list[Outside | Local] = [
            Local("open", do=lambda _, call: self._do(call), undo=lambda _, call: self._undo(call)),
            Outside("flight", do=self._do, undo=self._undo, needs=["open"]),
            Outside("room", do=self._do, undo=self._undo, needs=["open"]),
            Local("close", do=lambda _, call: self._do(call), undo=None, needs=["flight", "room"]),
        ]
        return Saga("trip", steps, deadline=3600, version=version)

    def _do(self, call: Call) -> str:
        if call.step in self.refuses:
            raise StepRefused(f"no {call.step} is left")
        if call.step in self.fails:
            raise ConnectionError("no route")
        self.noted.append(call.step)
        return call.step

    def _undo(self, call: Call) -> None:
        self.noted.append(f"not {call.step}")

    def begin(self, key: str) -> None:
        with Session(self.engine) as session, session.begin():
            self.tx.begin_saga(session, "trip", key=key, value={"for": "two"})

    def state(self, key: str) -> RunState:
        return self.tx.sagas.of_key("trip", key).state


@pytest.fixture
def trips(engine: Engine) -> Iterator[Trips]:
    made = Trips(engine)
    yield made
    made.tx.close()


def test_a_run_begins_with_the_transaction(trips: Trips) -> None:
    """What commits is driven by a process that was started; what rolls back leaves nothing."""
    with Session(trips.engine) as session, session.begin() as transaction:
        trips.tx.begin_saga(session, "trip", key=8)
        transaction.rollback()
    trips.begin("7")
    assert trips.tx.status().sagas.open == 1
    assert not trips.tx.status().is_quiet
    trips.tx.start()
    eventually(lambda: trips.tx.status().is_quiet)
    assert trips.state("7") is RunState.DONE
    assert (trips.noted[0], sorted(trips.noted[1:3]), trips.noted[3]) == ("open", ["flight", "room"], "close")


def test_the_first_run_of_a_process_begins_beside_rows(trips: Trips) -> None:
    """What a process opens writes a lease: before the session has the one lock of SQLite, or it waits for itself."""
    Base.metadata.create_all(trips.engine)
    with Session(trips.engine) as session, session.begin():
        session.add(Paid(order_id=7))
        trips.tx.begin_saga(session, "trip", key=7)
    assert trips.tx.status().sagas.open == 1


def test_a_refusal_turns_it_back(trips: Trips) -> None:
    """What was done is undone, in the processes that consume."""
    trips.refuses = {"room"}
    trips.tx.start()
    trips.begin("7")
    eventually(lambda: trips.state("7") is RunState.UNDONE)
    assert trips.noted[-1] == "not open"
    assert set(trips.noted) == {"open", "flight", "not flight", "not room", "not open"}  # a lost try may have arrived


def test_a_step_that_fails_again_and_again_is_trouble(trips: Trips) -> None:
    """`status` needs attention then; it is none once the step succeeds."""
    trips.fails = {"room"}
    trips.tx.start()
    trips.begin("7")
    eventually(lambda: trips.tx.status().needs_attention)
    trips.fails = set()
    eventually(lambda: trips.tx.status().is_quiet)
    assert not trips.tx.status().needs_attention


def test_a_changed_definition_leaves_an_old_log_alone(trips: Trips, engine: Engine) -> None:
    """A process that has the new one only does not touch it; one that has both drives it."""
    trips.begin("7")
    trips.tx.close()
    later = Trips(engine, 2)
    later.tx.start()
    later.begin("8")
    eventually(lambda: later.state("8") is RunState.DONE)
    (old,) = later.tx.sagas.list()
    assert (old.key, later.tx.sagas.is_known(old)) == ("7", False)
    later.tx.close()
    both = Trips(engine, 2, 1)
    both.tx.start()
    eventually(lambda: both.state("7") is RunState.DONE)
    both.begin("9")
    assert both.tx.sagas.of_key("trip", "9").definition == both.saga(2).definition
    both.tx.close()


def test_sagas_are_declared_before_anything_is_open(trips: Trips) -> None:
    """A saga that is declared too late, or twice, is refused with what to do."""
    with pytest.raises(Misconfigured, match="version"):
        trips.tx.saga(trips.saga(1))
    _ = trips.tx.sagas
    with pytest.raises(Misconfigured, match="before `start`"):
        trips.tx.saga(trips.saga(2))


def test_runs_that_ended_are_forgotten(engine: Engine) -> None:
    """After `saga_retention`, with the rows of the barrier."""
    trips = Trips(engine, options=Options(poll_every=0.02, saga_retention=-1.0))
    trips.tx.start()
    trips.begin("7")
    trips.tx.barrier.do("trip-1/room/do", lambda _: None)
    eventually(lambda: trips.tx.status().is_quiet)
    assert trips.tx.sweep() == 2
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(SAGAS.steps)) == 0
    trips.tx.close()


def test_the_tables_come_to_a_database_that_has_the_earlier_ones(tmp_path: Path) -> None:
    """`tx migrate` of a service that began with revision 1: its rows stay."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    with _revision(engine, "halfmessage_0001") as connection:
        connection.execute(RECORDS.insert(), {"tx_id": 7, "outcome": "committed", "decided_at": 1})
    assert not inspect(engine).has_table(SAGAS.runs.name)
    assert migrations.upgrade(engine) == "halfmessage_0002"
    assert set(inspect(engine).get_table_names()) == {*METADATA.tables, migrations.VERSION_TABLE}
    with engine.connect() as connection:
        assert connection.scalar(select(RECORDS.c.tx_id)) == 7


@contextmanager
def _revision(engine: Engine, revision: str) -> Iterator[Connection]:
    """Have the library's tables as an earlier release made them."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    steps = {"fn": lambda at, _context: scripts._upgrade_revs(revision, at)}
    with EnvironmentContext(config, scripts, **steps) as environment, engine.begin() as connection:
        environment.configure(connection=connection, version_table=migrations.VERSION_TABLE)
        environment.run_migrations()
        yield connection


def test_flask_has_an_operators_words(tmp_path: Path) -> None:
    """Steps run in the app's context; `flask tx sagas` tells what holds a run up, and three words change it."""
    app = Flask("trips")
    engine = create_engine(f"sqlite:///{tmp_path}/trips.db")
    extension = TransactionalMessages()
    seen = list[str]()

    def note(_connection: Connection, call: Call) -> None:
        seen.append(current_app.name)
        if call.input == "stuck":
            raise ConnectionError("no route")

    extension.saga(Saga("trip", [Local("open", do=note, undo=None)], deadline=3600))
    extension.init_app(app, engine, broker="table://", options=Options(saga_delay=Delay(first=3600, longest=3600)))
    said = app.test_cli_runner()
    assert "halfmessage_0002" in said.invoke(args=["tx", "migrate"]).output
    with app.app_context():
        runs = [extension.saga_engine.run("trip", key, "stuck").run_id for key in ("7", "8")]
        extension.current.close()
    assert seen == ["trips", "trips"]
    listed = [line for line in said.invoke(args=["tx", "sagas"]).output.splitlines() if " trip " in line]
    assert listed[1] == f"{runs[0]} trip 7: running; open waiting (1 failed: ConnectionError: no route)"
    assert "sagas: open 2, in trouble 0" in said.invoke(args=["tx", "status"]).output
    assert said.invoke(args=["tx", "retry", str(runs[0])]).exit_code == 0
    assert "trip 7: done" in said.invoke(args=["tx", "skip", str(runs[0]), "open", "--why", "by hand"]).output
    assert "trip 8: undone" in said.invoke(args=["tx", "give-up", str(runs[1]), "--why", "a test"]).output
    refused = said.invoke(args=["tx", "retry", str(runs[1])])
    assert refused.exit_code == 1
    assert "Error: The run has ended: undone.\n" in refused.output
