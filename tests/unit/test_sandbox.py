"""The sandbox provider's books: each scenario, each fault, refunds once for each charge, and callbacks that survive."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, update

from common.db import Database
from common.errors import IdempotencyMismatch
from halfmessage.clock import now_ms
from halfmessage.errors import LeaseLost, NotFound
from sandbox import model, schema
from sandbox.model import CallbackState, RefundState, SessionState
from sandbox.service.asking import Asking, Failed
from sandbox.service.books import Books, NewSession
from sandbox.service.faults import Fault, Faults, fraction
from sandbox.service.reading import Reader, Session
from sandbox.service.refunding import NewRefund, Refunding
from sandbox.service.scenarios import UnknownScenario, scenario
from sandbox.service.telling import MOST_TRIES, Telling
from sandbox.service.together import Together
from sandbox.service.worker import Worker
from tests.fakes import Ids, open_database
from tests.support import eventually

NEW = NewSession(
    attempt_id=1, payment_id=5, amount=1250, currency="EUR", callback_url="http://pay.example", expires_at=0,
    scenario="card",
)  # fmt: skip
SOON = 60_000  # ms that a fault may delay something


class Receiver:
    """Takes callbacks, unless it refuses."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.refuses = False

    def __call__(self, url: str, raw: bytes) -> tuple[bool, str]:
        if self.refuses:
            return False, "503"
        self.got.append({"url": url, **orjson.loads(raw)})
        return True, "200"

    @property
    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.got]


@dataclass
class Sandbox:
    """The use cases on a database; the worker works when told to."""

    database: Database
    asking: Asking
    refunding: Refunding
    reader: Reader
    faults: Faults
    worker: Worker
    receiver: Receiver

    def begin(self, word: str = "card", **fields: Any) -> Session:
        return self.asking.begin(replace(NEW, scenario=word, **fields))

    def refund(self, session: Session, key: str = "k", **fields: Any) -> Any:
        charge = session.charges[0].row
        return self.refunding.refund(
            replace(NewRefund(charge.charge_id, key, charge.amount, charge.currency), **fields)
        )

    def fail(self, *faults: Fault, probability: float = 1.0, seed: int = 1, longest: int = SOON) -> None:
        self.faults.set(seed, longest, dict.fromkeys(faults, probability))

    def work(self) -> None:
        """Do all that is due now."""
        while self.worker.work():
            pass

    def later(self) -> None:
        """Have all that waits be due."""
        for table in (model.callbacks, model.plans):
            self.database.transact(lambda c, table=table: c.execute(update(table).values(due_at=0)))

    def again(self, session: Session) -> Session:
        return self.reader.session(session.row.reference)

    def done(self) -> int:
        """Return how many refunds sent money back."""
        query = select(func.count()).where(model.refunds.c.state == RefundState.DONE)
        with self.database.read() as connection:
            return connection.execute(query).scalar_one()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    database, ids = open_database(tmp_path / "sandbox.db", model.metadata), Ids()
    books, receiver = Books(ids), Receiver()
    worker, together = Worker(Telling(database, books), receiver), Together(database)
    yield Sandbox(
        database,
        Asking(together, books, worker.wake),
        Refunding(together, ids, books, worker.wake),
        Reader(database),
        Faults(database),
        worker,
        receiver,
    )
    worker.close()
    database.close()


def test_a_card_pays_at_once_and_is_told_twice(sandbox: Sandbox) -> None:
    """By the answer, and by a callback that says the same."""
    session = sandbox.begin()
    (charge,), (event,) = session.charges, session.events
    assert (session.state, charge.row.amount, charge.row.currency) == (SessionState.PAID, 1250, "EUR")
    assert (event.kind, event.charge_id) == ("succeeded", charge.row.charge_id)
    sandbox.work()
    (told,) = sandbox.receiver.got
    assert (told["url"], told["event_id"], told["payment_id"], told["amount"], told["currency"]) == (
        "http://pay.example", str(event.event_id), "5", 1250, "EUR"
    )  # fmt: skip


def test_an_attempt_is_one_session(sandbox: Sandbox) -> None:
    """The same again is the same; about another amount it is refused, and takes nothing."""
    assert sandbox.begin() == sandbox.begin()
    for other in ({"amount": 1251}, {"currency": "USD"}, {"payment_id": 6}):
        with pytest.raises(IdempotencyMismatch):
            sandbox.begin(**other)
    assert len(sandbox.reader.list(10, 0)) == 1


def test_an_attempt_that_is_begun_by_many_at_once_is_one(sandbox: Sandbox) -> None:
    """Its money is taken once."""
    barrier = threading.Barrier(8)

    def begin(_: int) -> str:
        barrier.wait()
        return str(sandbox.begin().row.reference)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(begin, range(8)))) == 1
    (session,) = sandbox.reader.list(10, 0)
    assert len(session.charges) == 1


def test_what_fails_midway_leaves_nothing_and_spoils_no_other(sandbox: Sandbox) -> None:
    """No ids are to be had, for example: of works that are one transaction each is done, or is not there."""
    together = sandbox.asking._together

    def fails(connection: Any) -> None:
        connection.execute(model.faults.insert().values(name="x", chance=0, seed=0, longest=0))
        raise LeaseLost

    def works(connection: Any) -> int:
        connection.execute(model.faults.insert().values(name="y", chance=0, seed=0, longest=0))
        return 1

    failed, done = together._run([fails, works])
    assert (type(failed), done) == (LeaseLost, 1)
    with sandbox.database.read() as connection:
        assert connection.execute(select(model.faults.c.name)).scalars().all() == ["y"]


@pytest.mark.parametrize(
    ("word", "state", "charges", "calls"),
    [
        ("decline", SessionState.DECLINED, 0, ["failed"]),
        ("page", SessionState.OPEN, 0, []),
        ("never", SessionState.OPEN, 0, []),
        ("silent", SessionState.PAID, 1, []),
        ("callback", SessionState.PAID, 1, ["succeeded"]),
        ("twice", SessionState.PAID, 2, ["succeeded", "succeeded"]),
        ("late:0", SessionState.PAID, 1, ["succeeded"]),
        ("late:60", SessionState.OPEN, 0, []),
    ],
)
def test_scenarios(sandbox: Sandbox, word: str, state: SessionState, charges: int, calls: list[str]) -> None:
    """What each word does, once all that is due was done."""
    session = sandbox.begin(word)
    sandbox.work()
    session = sandbox.again(session)
    assert (session.state, len(session.charges), sandbox.receiver.kinds) == (state, charges, calls)


@pytest.mark.parametrize("word", ["", "cards", "late", "late:", "late:-1", "late:86401", "late:1.5"])
def test_words_that_are_no_scenario(word: str) -> None:
    """They are refused, and not taken for the default."""
    with pytest.raises(UnknownScenario):
        scenario(word)


def test_what_has_no_scenario_pays_by_card() -> None:
    """None and the default are the same; a word that is none is refused before anything is stored."""
    body = {"attempt_id": "1", "payment_id": "2", "amount": 5, "currency": "JPY", "callback_url": "http://h:1",
            "expires_at": "2026-01-01T00:00:00Z"}  # fmt: skip
    assert schema.SessionIn.model_validate_json(orjson.dumps(body)).parsed().scenario == "card"
    for changed in ({"scenario": "x"}, {"amount": 0}, {"currency": "XXX"}, {"callback_url": "http://h/path"}):
        with pytest.raises(ValidationError):
            schema.SessionIn.model_validate_json(orjson.dumps(body | changed))


def test_late_money_is_taken_once_though_the_session_was_closed(sandbox: Sandbox) -> None:
    """It was under way: that is how late money comes."""
    session = sandbox.begin("late:60")
    assert sandbox.asking.close(session.row.reference).state is SessionState.CLOSED
    sandbox.later()
    sandbox.work()
    sandbox.work()
    assert len(sandbox.again(session).charges) == 1
    assert sandbox.receiver.kinds == ["succeeded"]


def test_a_person_pays_declines_or_waits_once(sandbox: Sandbox) -> None:
    """Who presses twice has pressed once; who pays twice on purpose pays twice."""
    pages = {word: sandbox.begin("page", attempt_id=number) for number, word in enumerate("pdtwc", 1)}
    for _ in range(2):
        sandbox.asking.pay(pages["p"].row.reference)
        sandbox.asking.decline(pages["d"].row.reference)
        sandbox.asking.pay(pages["t"].row.reference, times=2)
        sandbox.asking.wait(pages["w"].row.reference)
        sandbox.asking.close(pages["c"].row.reference)
        sandbox.asking.pay(pages["c"].row.reference)
    found = {word: sandbox.again(page) for word, page in pages.items()}
    assert {word: (one.state.value, len(one.charges)) for word, one in found.items()} == {
        "p": ("paid", 1), "d": ("declined", 0), "t": ("paid", 2), "w": ("closed", 0), "c": ("closed", 0),
    }  # fmt: skip
    sandbox.later()
    sandbox.work()
    assert len(sandbox.again(pages["w"]).charges) == 1


def test_only_a_page_is_paid_by_hand(sandbox: Sandbox) -> None:
    """A customer who knows the address of another session's page."""
    session = sandbox.begin("never")
    assert sandbox.asking.pay(session.row.reference).charges == ()


def test_a_charge_goes_back_once(sandbox: Sandbox) -> None:
    """The same key again: the same refund. Another key: an attempt that can be seen, and no money."""
    session = sandbox.begin()
    first, again, other = sandbox.refund(session), sandbox.refund(session), sandbox.refund(session, "other")
    assert (first.state, again.state, other.state) == ("done", "done", "refused")
    assert first.refund_id == again.refund_id != other.refund_id
    (charge,) = sandbox.again(session).charges
    assert [(row.refund_key, row.state, row.asked) for row in charge.refunds] == [
        ("k", "done", 2),
        ("other", "refused", 1),
    ]
    assert [event.kind for event in sandbox.again(session).events] == ["succeeded", "refunded", "refund-refused"]
    sandbox.work()
    assert sandbox.receiver.kinds == ["succeeded"]  # what a call was answered with is not called back as well


def test_refunds_of_many_keys_at_once_send_back_once(sandbox: Sandbox) -> None:
    """Of each charge."""
    session, barrier = sandbox.begin(), threading.Barrier(8)

    def refund(number: int) -> str:
        barrier.wait()
        return str(sandbox.refund(session, f"key-{number % 4}").state)

    with ThreadPoolExecutor(8) as threads:
        states = list(threads.map(refund, range(8)))
    assert states.count("done") == 2  # one key, asked twice
    assert sandbox.done() == 1


def test_a_part_of_a_charge_is_not_sent_back(sandbox: Sandbox) -> None:
    """Nor more of it, nor in another currency; a key is for one request."""
    session = sandbox.begin()
    assert sandbox.refund(session, "a", amount=1249).state == "refused"
    assert sandbox.refund(session, "b", currency="USD").state == "refused"
    with pytest.raises(IdempotencyMismatch):
        sandbox.refund(session, "a")
    with pytest.raises(NotFound):
        sandbox.refund(session, "c", charge_id=1)
    assert sandbox.done() == 0


def test_wrong_money_is_what_was_taken(sandbox: Sandbox) -> None:
    """Its books and its callbacks say the same, and all of that goes back."""
    sandbox.fail(Fault.WRONG_AMOUNT, Fault.WRONG_CURRENCY)
    session = sandbox.begin()
    (charge,) = session.charges
    assert (charge.row.amount, charge.row.currency) == (1251, "USD")
    sandbox.work()
    assert (sandbox.receiver.got[0]["amount"], sandbox.receiver.got[0]["currency"]) == (1251, "USD")
    assert sandbox.refund(session).state == "done"


@pytest.mark.parametrize(
    ("fault", "begun"), [(Fault.BEGIN_FAILS, 0), (Fault.BEGIN_FAILS_DONE, 1)], ids=["not done", "done"]
)
def test_begin_fails_done_or_not(sandbox: Sandbox, fault: Fault, begun: int) -> None:
    """Either way it is as if nothing had been answered, and the same attempt finds what there is."""
    sandbox.fail(fault)
    with pytest.raises(Failed):
        sandbox.begin()
    assert len(sandbox.reader.list(10, 0)) == begun
    sandbox.fail()
    assert len(sandbox.begin().charges) == 1


@pytest.mark.parametrize(
    ("fault", "done"), [(Fault.REFUND_FAILS, 0), (Fault.REFUND_FAILS_DONE, 1)], ids=["not done", "done"]
)
def test_refund_fails_done_or_not(sandbox: Sandbox, fault: Fault, done: int) -> None:
    """And is asked again under the same key."""
    session = sandbox.begin()
    sandbox.fail(fault)
    with pytest.raises(Failed):
        sandbox.refund(session)
    assert sandbox.done() == done
    sandbox.fail()
    assert sandbox.refund(session).state == "done"
    assert sandbox.done() == 1
    sandbox.work()
    assert sandbox.receiver.kinds == ["succeeded", *["refunded"] * done]  # what no call was answered with is told


def test_ask_fails(sandbox: Sandbox) -> None:
    """Where it does, it says nothing."""
    session = sandbox.begin()
    sandbox.fail(Fault.ASK_FAILS)
    with pytest.raises(Failed):
        sandbox.asking.ask(session.row.reference)


def test_a_refund_that_was_refused_is_done_when_it_is_asked_for_again(sandbox: Sandbox) -> None:
    """Refusals are told once, with a reason."""
    session = sandbox.begin()
    sandbox.fail(Fault.REFUND_REFUSED)
    refused = [sandbox.refund(session) for _ in range(2)]
    assert [(one.state, bool(one.reason)) for one in refused] == [("refused", True)] * 2
    sandbox.fail()
    assert sandbox.refund(session).state == "done"
    assert [event.kind for event in sandbox.again(session).events] == ["succeeded", "refund-refused", "refunded"]


def test_it_may_say_no_and_do_it_later(sandbox: Sandbox) -> None:
    """As providers do at times; by then another refund may have been done, and is the only one."""
    first, second = sandbox.begin(attempt_id=1), sandbox.begin(attempt_id=2)
    sandbox.fail(Fault.REFUND_REFUSED_DONE)
    assert [sandbox.refund(one, f"k{n}").state for n, one in enumerate((first, second))] == ["refused", "refused"]
    sandbox.fail()
    assert sandbox.refund(second, "other").state == "done"
    sandbox.later()
    sandbox.work()
    states = [[row.state for row in sandbox.again(one).charges[0].refunds] for one in (first, second)]
    assert states == [["done"], ["refused", "done"]]
    assert sandbox.done() == 2


def test_a_refund_may_take_its_time(sandbox: Sandbox) -> None:
    """Meanwhile no other is begun."""
    session = sandbox.begin()
    sandbox.fail(Fault.REFUND_PENDING)
    assert sandbox.refund(session).state == "pending"
    sandbox.fail()
    assert (sandbox.refund(session).state, sandbox.refund(session, "other").state) == ("pending", "refused")
    sandbox.later()
    sandbox.work()
    assert sandbox.refund(session).state == "done"
    assert sandbox.done() == 1
    assert sandbox.receiver.kinds == ["succeeded", "refunded"]


def test_callbacks_get_lost(sandbox: Sandbox) -> None:
    """The money was taken: it has to be asked for."""
    sandbox.fail(Fault.LOST)
    session = sandbox.begin()
    sandbox.later()
    sandbox.work()
    assert sandbox.receiver.got == []
    assert len(sandbox.asking.ask(session.row.reference).events) == 1


def test_callbacks_come_twice(sandbox: Sandbox) -> None:
    """The same event."""
    sandbox.fail(Fault.DUPLICATE)
    sandbox.begin()
    sandbox.later()
    sandbox.work()
    assert len(sandbox.receiver.got) == 2
    assert len({one["event_id"] for one in sandbox.receiver.got}) == 1


def test_callbacks_come_late(sandbox: Sandbox) -> None:
    """Not at once, and within the time that was set."""
    sandbox.fail(Fault.DELAY)
    sandbox.begin()
    sandbox.work()
    assert sandbox.receiver.got == []
    with sandbox.database.read() as connection:
        (due_at,) = connection.execute(select(model.callbacks.c.due_at)).scalars()
    assert 0 < due_at - now_ms() <= SOON
    sandbox.later()
    sandbox.work()
    assert sandbox.receiver.kinds == ["succeeded"]


def test_callbacks_overtake_each_other(sandbox: Sandbox) -> None:
    """One is held until a later one was sent."""
    sandbox.fail(Fault.REORDER)
    sandbox.begin(attempt_id=1, payment_id=1)
    sandbox.fail()
    sandbox.work()
    assert sandbox.receiver.got == []
    sandbox.begin(attempt_id=2, payment_id=2)
    sandbox.work()
    assert [one["payment_id"] for one in sandbox.receiver.got] == ["2", "1"]


def test_a_callback_that_is_refused_comes_again_later_and_later_and_not_for_ever(sandbox: Sandbox) -> None:
    """The distance doubles up to a limit; then it is given up, and said so."""
    sandbox.receiver.refuses = True
    session = sandbox.begin()
    distances = []
    for _ in range(MOST_TRIES):
        sandbox.work()
        (callback,) = sandbox.reader.callbacks(session.row.reference)
        distances.append((callback.due_at - now_ms()) / 1000)
        sandbox.later()
    assert [round(distance) for distance in distances[:3]] == [1, 2, 4]
    assert max(distances[:-1]) <= 600
    (callback,) = sandbox.reader.callbacks(session.row.reference)
    assert (callback.state, callback.tries, callback.answer) == (CallbackState.GIVEN_UP, MOST_TRIES, "503")
    sandbox.receiver.refuses = False
    sandbox.later()
    sandbox.work()
    assert sandbox.receiver.got == []


def test_a_callback_of_a_sandbox_that_was_killed_is_sent_by_the_next(sandbox: Sandbox) -> None:
    """It was claimed, and never recorded as sent."""
    sandbox.begin()
    telling = Telling(sandbox.database, Books(Ids()))
    assert len(telling.claim(10)) == 1
    assert telling.claim(10) == []
    assert 0 < telling.waiting() <= 20
    sandbox.later()
    sandbox.work()
    assert sandbox.receiver.kinds == ["succeeded"]


def test_the_worker_wakes_for_what_is_new(sandbox: Sandbox) -> None:
    """It sends at once what is begun while it waits, and what was there before it started."""
    sandbox.begin(attempt_id=1)
    sandbox.worker.start()
    eventually(lambda: len(sandbox.receiver.got) == 1)
    sandbox.begin(attempt_id=2)
    eventually(lambda: len(sandbox.receiver.got) == 2)


def test_a_worker_whose_database_fails_goes_on(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next round may do better."""
    claim, failures = Telling.claim, iter([True])

    def fails_once(self: Telling, most: int) -> Any:
        if next(failures, False):
            raise RuntimeError
        return claim(self, most)

    monkeypatch.setattr(Telling, "claim", fails_once)
    sandbox.begin()
    sandbox.worker.start()
    eventually(lambda: sandbox.receiver.got)


def test_faults_strike_by_their_seed(sandbox: Sandbox) -> None:
    """The same calls in the same order fail again; another seed has others fail; the report counts them."""

    def struck(seed: int) -> list[bool]:
        sandbox.fail(Fault.BEGIN_FAILS, probability=0.5, seed=seed)
        results = []
        for number in range(20):
            try:
                sandbox.begin("never", attempt_id=1000 * seed + number + 1)
                results.append(False)
            except Failed:
                results.append(True)
        (report,) = sandbox.faults.report().reports
        assert (report.name, report.probability, report.drawn, report.struck) == (
            Fault.BEGIN_FAILS, 0.5, 20, sum(results)
        )  # fmt: skip
        return results

    first = struck(1)
    assert first == [fraction(1, Fault.BEGIN_FAILS, number) < 0.5 for number in range(1, 21)]
    assert struck(2) != first
    assert 0 < sum(first) < 20


def test_no_faults_are_drawn_that_are_not_set(sandbox: Sandbox) -> None:
    """Setting none ends them all, with their counts."""
    sandbox.fail(*Fault, probability=0.0)
    sandbox.refund(sandbox.begin())
    assert sandbox.faults.report().reports == ()


def test_the_ledger_is_listed_page_by_page(sandbox: Sandbox) -> None:
    """Each session once, oldest first."""
    begun = [sandbox.begin(attempt_id=number).row.session_id for number in range(1, 6)]
    first = sandbox.reader.list(2, 0)
    second = sandbox.reader.list(10, first[-1].row.session_id)
    assert [one.row.session_id for one in (*first, *second)] == begun
