"""The tests of the contract. They run on SQLite, and on MySQL or MariaDB where ORDERS_TEST_MYSQL names one."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import create_engine

from common.auth import Verifier, issue
from common.db import Database
from common.registry import ROLLBACK_TOPIC
from common.reservations.client import LiveReservation, ReservationClient
from common.telemetry import Metrics
from common.web import Api
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.db import EngineTransactor, prepare
from halfmessage.errors import FailpointRaised, NotFound
from halfmessage.mq.port import Delivery, Message, Verdict
from halfmessage.participant.consumer import RollbackConsumer
from halfmessage.participant.event import OrderEvent
from halfmessage.participant.reservations import Reservations
from tests import postgresql
from tests.contract.participants.case import DEDUCTED, RELEASED, Case
from tests.contract.participants.steps import TX, Steps
from tests.contract.rocketmq import required
from tests.databases import Server

_THREADS = 8
_SECRET = "s" * 32


class _OnPostgreSQL(Database):
    """A database that the library knows, and our services do not run on."""

    def __init__(self, url: str) -> None:
        engine = create_engine(url, pool_size=2 * _THREADS, isolation_level="READ COMMITTED")
        prepare(engine)
        self._file = None
        EngineTransactor.__init__(self, engine)


def _open(url: str) -> Database:
    return _OnPostgreSQL(url) if url.startswith("postgresql") else Database(url, pool_size=2 * _THREADS)


class ParticipantContract:
    """What every participant keeps, in whatever order and however often it is asked."""

    case: ClassVar[Case[Any]]

    @property
    def second(self) -> str:
        """What a second order gets of `Case.last`."""
        return self.case.refusal or DEDUCTED

    @pytest.fixture(params=["sqlite", "mysql", "postgresql"])
    def url(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
        """Return where an empty database is."""
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path}/participant.db"
            return
        if request.param == "postgresql" and not self.case.on_postgresql:
            pytest.skip("This participant is for SQLite and MySQL.")
        server = Server(required("ORDERS_TEST_MYSQL")) if request.param == "mysql" else postgresql.server()
        yield server.create()
        server.close()

    @pytest.fixture
    def database(self, url: str) -> Iterator[Database]:
        """Open it, with what may be wanted."""
        database = _open(url)
        self.case.metadata.create_all(database.engine)
        self.case.prepare(database)
        yield database
        database.close()

    @pytest.fixture
    def reservations(self, database: Database) -> Reservations[Any]:
        """Return its reservations."""
        return self.case.reservations(database)

    @pytest.mark.timeout(600)  # its transactions are real ones
    @pytest.mark.in_turn
    def test_any_interleaving(self, database: Database) -> None:
        """After every step, in any order of steps: what is left, held and used, and each header, is what it should."""
        steps = settings(max_examples=30, stateful_step_count=20, suppress_health_check=list(HealthCheck))
        run_state_machine_as_test(lambda: Steps(self.case, database), settings=steps)  # type: ignore[arg-type]

    def test_refused_and_asked_again(self, database: Database, reservations: Reservations[Any]) -> None:
        """A refused order leaves nothing behind, and may be asked for again once something was given back."""
        assert _take(reservations, 1, self.case.last) == DEDUCTED
        left = self.case.free(database)
        assert _take(reservations, 2, self.case.last) == self.second
        if self.case.refusal is None:
            return
        with pytest.raises(NotFound):
            reservations.get(2)
        assert self.case.free(database) == left
        reservations.release({1: TX})
        assert _take(reservations, 2, self.case.last) == DEDUCTED

    def test_batch(self, reservations: Reservations[Any]) -> None:
        """Each order of a batch gets a verdict of its own, in the order asked, whatever the others get."""
        last = self.case.last
        reservations.release({3: TX})
        asked = reservations.deduct(TX, {5: last, 4: last})  # all of them new
        assert [(d.order_id, d.verdict) for d in asked] == [(5, DEDUCTED), (4, self.second)]
        asked = reservations.deduct(TX, {5: last, 4: last, 3: last, 2: self.case.wants[0]})
        verdicts = [(5, DEDUCTED), (4, self.second), (3, RELEASED), (2, DEDUCTED)]
        assert [(d.order_id, d.verdict) for d in asked] == verdicts

    def test_shown(self, reservations: Reservations[Any]) -> None:
        """A reservation is shown as it stands, also what it held once it is released; a tombstone held nothing."""
        _take(reservations, 1, self.case.last)
        held = reservations.get(1).held
        assert held
        reservations.release({1: TX, 2: TX})
        assert (reservations.get(1).held, reservations.get(1).state.value) == (held, RELEASED)
        assert (reservations.get(2).tx_id, reservations.get(2).state.value) == (TX, RELEASED)

    def test_revive(self, database: Database, reservations: Reservations[Any]) -> None:
        """What was released, or never had, is taken anew where the audit says so; what is live stays as it is."""
        before = self.case.free(database)
        _take(reservations, 1, self.case.last)
        reservations.release({1: TX, 2: TX})
        for _ in range(2):
            (first, second) = reservations.deduct(TX, dict.fromkeys((1, 2), self.case.last), revive=True)
            assert (first.verdict, second.verdict) == (DEDUCTED, self.second)
        reservations.release({1: TX, 2: TX})
        assert self.case.free(database) == before

    def test_last_one_at_once(self, reservations: Reservations[Any]) -> None:
        """Of many that want the last one at once, one gets it."""
        verdicts = _at_once(*(partial(_take, reservations, order_id, self.case.last) for order_id in range(1, 17)))
        assert sorted(verdicts) == sorted([DEDUCTED, *[self.second] * 15])

    def test_same_order_at_once(self, reservations: Reservations[Any]) -> None:
        """The same request many times at once is taken once, and each is told so."""
        assert _at_once(*[partial(_take, reservations, 1, self.case.last)] * 10) == [DEDUCTED] * 10

    def test_taken_against_released(self, url: str, database: Database, reservations: Reservations[Any]) -> None:
        """Taken and released at once, from two processes: released in the end, and nothing is held."""
        before = self.case.free(database)
        other = _open(url)
        theirs = self.case.reservations(other)
        for order_id in range(1, 21):
            _at_once(partial(_take, reservations, order_id, self.case.last), partial(theirs.release, {order_id: TX}))
            assert reservations.get(order_id).state.value == RELEASED
            assert self.case.free(database) == before
        other.close()

    def test_rollback_messages(self, database: Database, reservations: Reservations[Any]) -> None:
        """Rollbacks that come early, again, together and beside one that can't be read give back once."""
        before = self.case.free(database)
        _take(reservations, 1, self.case.last)
        consumer = RollbackConsumer(reservations)
        bodies = [b"no JSON", *(OrderEvent(tx_id=TX, order_ids=ids).to_body() for ids in ((1, 2), (2, 1), (1,)))]
        for _ in range(2):
            verdicts = consumer([Delivery(str(n), Message(ROLLBACK_TOPIC, b), 1, 0) for n, b in enumerate(bodies)])
            assert verdicts == [Verdict.RETRY, *[Verdict.ACK] * 3]
            assert self.case.free(database) == before
        assert [_take(reservations, order_id, self.case.last) for order_id in (1, 2)] == [RELEASED] * 2

    def test_what_is_forgotten(self, database: Database, reservations: Reservations[Any]) -> None:
        """Old released reservations go, live ones stay; a release that comes after gives nothing back."""
        _take(reservations, 1, self.case.last)
        _take(reservations, 2, self.case.wants[0])
        reservations.release({1: TX, 3: TX})
        left = self.case.free(database)
        assert reservations.purge(now_ms() - 60_000) == 0
        assert reservations.purge(now_ms() + 1000) == 2
        reservations.release({1: TX})
        assert reservations.get(1).state.value == RELEASED
        assert reservations.get(2).state.value == DEDUCTED
        assert self.case.free(database) == left

    @pytest.mark.in_turn
    @pytest.mark.parametrize("step", sorted(failpoints.of_participant("")))
    def test_fault_between_steps(
        self, database: Database, reservations: Reservations[Any], monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        """Whatever step it fails after, doing all of it again ends as if it had been done once."""
        passed: list[str] = []

        def fail(point: str) -> None:
            passed.append(point)
            if point == f"{reservations.name}{step}" and passed.count(point) == 1:
                raise FailpointRaised

        before = self.case.free(database)
        monkeypatch.setattr(failpoints, "hit", fail)
        rollback = Delivery("m", Message(ROLLBACK_TOPIC, OrderEvent(tx_id=TX, order_ids=(1,)).to_body()), 1, 0)
        works: list[Callable[[], object]] = [
            lambda: _take(reservations, 1, self.case.last),
            lambda: reservations.settle({1: (TX, "stands")}),
            lambda: RollbackConsumer(reservations)([rollback]),
        ]
        failed = [_failed(work) for work in works]
        assert failed.count(True) == 1
        assert {f"{point}" for point in passed} == failpoints.of_participant(reservations.name)
        assert reservations.get(1).state.value == RELEASED
        assert self.case.free(database) == before

    def test_over_rest(self, reservations: Reservations[Any]) -> None:
        """The client that order has, and the routes: what one asks the other answers, each want as its body has it."""
        client = self._client(reservations)
        wanted = {1: self.case.body(self.case.last), 2: self.case.body(self.case.last)}
        verdicts = {order_id: item["verdict"] for order_id, item in client.reserve(TX, wanted).items()}
        assert verdicts == {1: DEDUCTED, 2: self.second}
        assert client.settle([(2, TX, "void")]) == {2: RELEASED}
        assert client.unverified(older_than=2**53, after=0, limit=9) == [LiveReservation(1, TX)]
        assert client.settle([(1, TX, "paid")]) == {1: DEDUCTED}
        assert client.unverified(older_than=2**53, after=0, limit=9) == []
        assert client.live(older_than=2**53, after=0, limit=9) == [LiveReservation(1, TX)]
        assert client.settle([(2, TX, "void"), (3, TX, "stands")]) == {2: RELEASED, 3: None}
        assert client.states([1, 2, 3]) == {1: DEDUCTED, 2: RELEASED, 3: None}
        shown = client.reservation(1)
        assert (shown["order_id"], shown["tx_id"], shown["verified"]) == ("1", str(TX), True)
        assert shown.keys() - client.reservation(2).keys() == set()  # a tombstone has the same members
        with pytest.raises(NotFound):
            client.reservation(3)
        revived = client.reserve(TX, {2: self.case.body(self.case.wants[0])}, revive=True)
        assert revived[2]["verdict"] == DEDUCTED

    def _client(self, reservations: Reservations[Any]) -> ReservationClient:
        class Client(ReservationClient):
            refusals = frozenset({self.second})

        api = Api(
            reservations.name,
            title="Participant",
            description="Its internal routes.",
            max_body=2048,
            verifier=Verifier(_SECRET),
            metrics=Metrics(reservations.name),
            checks={},
        )
        self.case.install(api, reservations)
        return Client(_InProcess(api), reservations.name)  # type: ignore[arg-type]


class _InProcess:
    """Calls an `Api` as `common.peer.Peer` would, without the network between."""

    def __init__(self, api: Api) -> None:
        self._http = api.app.test_client()
        self._headers = {"Authorization": f"Bearer {issue(_SECRET, 'order', ['service'], 60)}"}

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call; return the status and the answer."""
        answer = self._http.open(path, method=method, json=body, headers=self._headers)
        return answer.status_code, answer.get_json()


def _take(reservations: Reservations[Any], order_id: int, want: Any) -> str:
    (decision,) = reservations.deduct(TX, {order_id: want})
    return decision.verdict


def _failed(work: Callable[[], object]) -> bool:
    """Do it, again if it failed; whether it did."""
    try:
        work()
    except FailpointRaised:
        work()
        return True
    return False


def _at_once(*works: Callable[[], Any]) -> list[Any]:
    start = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        start.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))
