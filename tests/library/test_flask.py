"""The Flask extension as a stranger uses it: the example in real processes, commands, several apps, Alembic."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.orm import Session

from halfmessage import transactional
from halfmessage.contrib import migrations
from halfmessage.contrib.flask import TransactionalMessages
from halfmessage.errors import Misconfigured
from halfmessage.mq.port import BrokerOptions, Message
from halfmessage.transactional import Options
from halfmessage.transactional.tables import METADATA
from tests.library.shop import FAST
from tests.support import eventually

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "flask_20_lines" / "app.py"
pytestmark = pytest.mark.embedded("the extension knows nothing of brokers")


class Example:
    """The example's app in a directory: its commands, and its processes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def flask(self, *words: str) -> str:
        done = subprocess.run(self._words(*words), check=True, capture_output=True, text=True, **self._where())
        return done.stdout

    def start(self, name: str, *words: str) -> None:
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(self._words(*words), stdout=log, stderr=log, **self._where())

    def start_web(self) -> None:
        self.start("web", "run", "--port", str(self.port))

    def start_worker(self) -> None:
        self.start("worker", "tx", "work")

    def kill(self, name: str) -> None:
        """As kill -9 does."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def pay(self, order_id: int) -> bool:
        """Tell whether it was acknowledged."""
        request = Request(f"http://127.0.0.1:{self.port}/orders/{order_id}/pay", method="POST")
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310
                return bool(answer.status == 201)
        except (URLError, OSError):
            return False

    def column(self, query: str) -> list[int]:
        with create_engine(f"sqlite:///{self.home}/shop.db").connect() as connection:
            return sorted(connection.scalars(text(query)))

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def _where(self) -> dict[str, object]:
        return {"cwd": self.home, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}

    @staticmethod
    def _words(*words: str) -> list[str]:
        return [sys.executable, "-m", "flask", "--app", str(EXAMPLE), *words]


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Example]:
    made = Example(tmp_path)
    made.flask("tx", "migrate")
    made.flask("create")
    yield made
    made.close()


def test_two_processes_killed_in_between_and_everything_arrives_once(example: Example) -> None:
    """What was acknowledged stands, and each order that stands has one mail, though both were killed meanwhile."""
    example.start_web()
    example.start_worker()
    numbers = itertools.count(1)
    eventually(lambda: example.pay(next(numbers)), within=30)
    acknowledged: list[int] = []
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            number = next(numbers)
            if example.pay(number):
                acknowledged.append(number)

    thread = threading.Thread(target=client)
    thread.start()
    try:
        for name, start in (("web", example.start_web), ("worker", example.start_worker), ("web", example.start_web)):
            seen = len(acknowledged)
            eventually(lambda seen=seen: len(acknowledged) > seen + 3, within=30)  # type: ignore[misc]
            example.kill(name)
            start()
        seen = len(acknowledged)
        eventually(lambda: len(acknowledged) > seen + 3, within=30)
    finally:
        over.set()
        thread.join()
    orders = example.column("SELECT id FROM orders")
    assert set(acknowledged) <= set(orders)
    eventually(lambda: example.column("SELECT order_id FROM mails") == orders, within=30)
    assert "dead 0" in example.flask("tx", "status")


def test_a_worker_ends_when_it_is_told(example: Example) -> None:
    """SIGTERM: handlers in flight end, the lease is given back, and it ends with 0."""
    example.start_worker()
    eventually(lambda: "Consuming: mail." in (example.home / "worker.log").read_text(), within=30)
    worker = example.processes.pop("worker")
    worker.terminate()
    assert worker.wait(timeout=10) == 0


def _engine(home: Path, name: str = "shop") -> Engine:
    return create_engine(f"sqlite:///{home}/{name}.db")


def test_each_app_of_a_factory_has_its_own(tmp_path: Path) -> None:
    """One extension, declared once; two apps whose databases and brokers know nothing of each other."""
    tx = TransactionalMessages()
    heard: list[tuple[str, int]] = []

    @tx.consumer("sold", group="first")
    def _first(body: int, session: Session) -> None:
        heard.append((str(session.get_bind().engine.url.database), body))  # type: ignore[union-attr]

    apps = []
    for name in ("one", "two"):
        app = Flask(name)
        engine = _engine(tmp_path, name)
        tx.init_app(app, engine, broker=f"embedded:///{tmp_path}/{name}-broker.db", options=FAST)
        migrations.upgrade(engine)
        apps.append(app)
    for number, app in enumerate(apps):
        with app.app_context():
            tx.current.start()
            with tx.message("sold", key=1) as m, Session(tx.current.engine) as s, m.begin(s):
                m.body = number
    eventually(lambda: len(heard) == 2)
    assert sorted(heard) == [(f"{tmp_path}/one.db", 0), (f"{tmp_path}/two.db", 1)]
    with pytest.raises(Misconfigured):
        _ = tx.current
    for app in apps:
        app.extensions["halfmessage"].close()


def test_an_app_that_every_service_has_needs_a_name(tmp_path: Path) -> None:
    """Two services of one name would answer each other's check-backs, from the wrong database."""
    with pytest.raises(Misconfigured, match="name="):
        TransactionalMessages(Flask("app"), _engine(tmp_path), broker="table://")


def test_the_operators_commands(tmp_path: Path) -> None:
    """`status` ends with 1 while something lies still; `resend` and `resume` send it on; `sweep` deletes."""
    app = Flask("shop")
    options = Options(
        deadline=3600,
        inbox_retention=0,
        broker=BrokerOptions(max_deliveries=1, check_first_after=0.01, check_interval=0.01, check_max=1),
    )
    tx = TransactionalMessages(app, _engine(tmp_path), broker=f"embedded:///{tmp_path}/broker.db", options=options)
    fails = [True]

    @tx.consumer("sold", group="first")
    def _first(_body: int, _session: Session) -> None:
        if fails:
            raise ValueError("not now")

    run = app.test_cli_runner().invoke
    assert run(args=["tx", "migrate"]).output == "The tables are at revision halfmessage_0002.\n"
    assert run(args=["tx", "status"]).exit_code == 0
    with app.app_context():
        made = tx.current
    made.start()
    with made.message("sold", key=1) as m, Session(made.engine) as s, m.begin(s):
        m.body = 1
    made._running.way.open(made._running.ids.next(), Message("sold", b"2"))  # type: ignore[union-attr] # and dies
    eventually(lambda: (made.status().stats.dead, made.status().stats.parked) == (1, 1))
    made.close()
    lying = run(args=["tx", "status"])
    assert (lying.exit_code, "parked 1, dead 1" in lying.output) == (1, True)
    assert run(args=["tx", "resend"]).exit_code == 2
    assert "No message" in run(args=["tx", "resend", "ffff"]).output
    assert run(args=["tx", "resend", "--all"]).output.count("resent") == 1
    assert run(args=["tx", "resume", "--all"]).output.count("resumed") == 1
    fails.clear()
    made.start()
    eventually(lambda: not made.status().stats.pending)
    made.close()
    assert run(args=["tx", "sweep"]).output.endswith("1 rows deleted.\n")


def test_the_migration_makes_what_the_code_reads(tmp_path: Path) -> None:
    """No difference between the tables of the revisions and those in the code; done again, it does nothing."""
    engine = _engine(tmp_path)
    assert migrations.upgrade(engine) == migrations.upgrade(engine) == "halfmessage_0002"
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": migrations.VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []


_INI = """
[alembic]
script_location = %(here)s/migrations
path_separator = newline
version_locations =
    %(here)s/migrations/versions
    halfmessage.contrib.migrations:versions
sqlalchemy.url = sqlite:///%(here)s/shop.db
"""
_ENV = """
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, create_engine
from halfmessage.transactional.tables import METADATA
own = MetaData()
Table("orders", own, Column("id", Integer, primary_key=True))
with create_engine(context.config.get_main_option("sqlalchemy.url")).connect() as connection:
    context.configure(connection=connection, target_metadata=[own, METADATA])
    with context.begin_transaction():
        context.run_migrations()
"""
_OWN = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "own_1", None, None, None
def upgrade():
    op.create_table("orders", sa.Column("id", sa.Integer(), primary_key=True))
def downgrade():
    op.drop_table("orders")
"""


def test_a_tree_of_alembic_takes_the_tables_in(tmp_path: Path) -> None:
    """A program's revisions beside the library's: both are run, `--autogenerate` sees nothing to do, both undone."""
    (tmp_path / "migrations" / "versions").mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text(_INI)
    (tmp_path / "migrations" / "env.py").write_text(_ENV)
    (tmp_path / "migrations" / "versions" / "own_1.py").write_text(_OWN)
    config = Config(tmp_path / "alembic.ini")
    command.upgrade(config, "heads")
    assert {"orders", *METADATA.tables} <= set(inspect(_engine(tmp_path)).get_table_names())
    command.check(config)
    with pytest.raises(Misconfigured, match="your own Alembic"):
        migrations.upgrade(_engine(tmp_path))
    command.downgrade(config, "halfmessage@base")
    assert set(inspect(_engine(tmp_path)).get_table_names()) == {"alembic_version", "orders"}


def test_nothing_makes_tables_by_itself(tmp_path: Path) -> None:
    """Not even a start: it fails, and says so, and leaves the database as it is."""
    tx = transactional.TransactionalMessages("shop", _engine(tmp_path), broker="table://")
    with pytest.raises(Misconfigured, match="migrate"):
        tx.start()
    assert inspect(_engine(tmp_path)).get_table_names() == []
