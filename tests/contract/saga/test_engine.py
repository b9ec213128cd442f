"""What a run does, step by step."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text, update

from halfmessage.clock import now_ms
from halfmessage.errors import CommitOutcomeUnknown, Conflict, DatabaseUnavailable, DuplicateRow, Misconfigured
from halfmessage.saga.definition import Call, Direction, Local, Saga
from halfmessage.saga.engine import Engine
from halfmessage.saga.errors import StateTooLarge, StepRefused
from halfmessage.saga.means import Trouble
from halfmessage.saga.model import MOST_BYTES, Run, RunState
from halfmessage.saga.operating import Sagas
from halfmessage.saga.plan import Delay
from tests.contract.saga.shop import Shop
from tests.support import SetClock

ALL_STAND = {"reserve": 1, "charge": 1, "ship": 1}
NONE_STANDS = dict.fromkeys(ALL_STAND, 0)


def _refuse(_call: Call) -> None:
    raise StepRefused("sold out")


def _fail(_call: Call) -> None:
    raise ConnectionError("nobody is there")


class _Dead(BaseException):
    """The process ended here, as far as the engine can tell."""


def _die(_call: Call) -> None:
    raise _Dead


def _sequence(shop: Shop, ship: Callable[[Call], Any] | None = None, **options: Any) -> Saga:
    steps = [shop.outside("reserve"), shop.local("charge"), shop.outside("ship", ship)]
    return Saga("sale", steps, **({"deadline": 60} | options))


def test_done(shop: Shop) -> None:
    """Each step once and in its order, and each is told what those before it returned."""
    engine = shop.make(_sequence(shop))
    run = engine.run("sale", "7", {"pieces": 2})
    assert run.state is RunState.DONE
    assert shop.asked() == ["reserve", "charge", "ship"]
    assert shop.effects_of(run) == ALL_STAND
    last = shop.calls[-1]
    assert (last.input, last.results) == ({"pieces": 2}, {"reserve": "reserve of 7", "charge": "charge of 7"})
    assert last.idempotency_key == f"sale-{run.run_id}/ship/do"
    assert (run.due_at, run.owner, run.reason) == (None, None, None)


def test_refused(shop: Shop) -> None:
    """A refusal turns the run back at once: what was done is undone, the last first, and the reason is kept."""
    engine = shop.make(_sequence(shop, _refuse))
    run = engine.run("sale", "7")
    assert run.state is RunState.UNDONE
    assert run.reason == "ship was refused: sold out"
    assert shop.asked(Direction.UNDO) == ["ship", "charge", "reserve"]
    assert shop.effects_of(run) == NONE_STANDS


def test_failed_is_not_refused(shop: Shop) -> None:
    """A step that fails is tried again, later each time; its tries and its last error are told."""
    fails = iter([True, True, False])
    engine = shop.make(_sequence(shop, lambda call: _fail(call) if next(fails) else shop.arrive(call)))
    run = engine.run("sale", "7")
    for tries in (1, 2):
        assert run.state is RunState.RUNNING
        assert (run.steps["ship"].tries, run.steps["ship"].error) == (tries, "ConnectionError: nobody is there")
        assert run.owner is None
        shop.pass_time()
        engine.sweep()
        run = Sagas(engine).show(run.run_id)
    assert run.state is RunState.DONE
    assert shop.effects_of(run) == ALL_STAND
    assert [call.attempt for call in shop.calls if call.step == "ship"] == [3]


def test_delay_grows_to_its_bound() -> None:
    """A try waits twice as long as the one before, up to a bound, and up to half of it less."""
    delay = Delay(first=1, longest=60)
    for tries, most in ((1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (50_000, 60)):
        waits = {delay.after(tries) for _ in range(50)}
        assert most * 500 <= min(waits) <= max(waits) <= most * 1000


def test_a_failed_step_waits(shop: Shop) -> None:
    """Nothing is due before a failed step's delay is over."""
    engine = shop.make(_sequence(shop, _fail), delay=Delay(first=600, longest=600))
    run = engine.run("sale", "7")
    assert run.due_at is not None
    assert 0 < run.due_at - now_ms() <= 60_000, "no longer than its deadline, at which it turns back"
    assert engine.sweep() == 0
    assert not engine.drive(run.run_id)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_failed_step_waits_no_longer_where_the_clock_is_set_back(
    shop: Shop, set_clock: SetClock, restarted: bool
) -> None:
    """An hour back, the step that was put off by some seconds is tried again at once, and no other hour is waited."""
    engine = shop.make(_sequence(shop, _fail), delay=Delay(first=20, longest=20))
    run_id = engine.run("sale", "7").run_id
    assert restarted or engine.sweep() == 0
    set_clock(-3600.0)
    assert engine.sweep() == 1
    run = Sagas(engine).show(run_id)
    assert [row.tries for row in run.steps.values() if row.error] == [2]
    assert run.due_at is not None
    assert run.due_at - now_ms() <= 20_000
    assert engine.sweep() == 0


def test_a_run_whose_instance_died_waits_no_longer_where_the_clock_is_set_back(shop: Shop, set_clock: SetClock) -> None:
    """Its claim of before is over."""
    dying = shop.make(_sequence(shop, _die))
    with pytest.raises(_Dead):
        dying.run("sale", "7")
    engine = shop.make(_sequence(shop))
    assert engine.sweep() == 0
    set_clock(-3600.0)
    assert engine.sweep() == 1


def test_so_many_failures_turn_it_back(shop: Shop) -> None:
    """A step that failed as often as it may turns the run back, and it is undone: it may have arrived."""

    def arrive_and_fail(call: Call) -> None:
        shop.arrive(call)
        _fail(call)

    engine = shop.make(_sequence(shop, arrive_and_fail, tries=3))
    run = shop.settle(engine, engine.start("sale", "7"))
    assert (run.state, run.reason) == (RunState.UNDONE, "ship failed 3 times: ConnectionError: nobody is there")
    assert shop.effects_of(run) == NONE_STANDS


def test_deadline_of_the_run(shop: Shop) -> None:
    """Past its deadline a run turns back; a step that may be under way is undone too, and refused when it comes."""
    late: list[Call] = []

    def delay(call: Call) -> None:
        late.append(call)
        _fail(call)

    engine = shop.make(_sequence(shop, delay))
    run = engine.run("sale", "7")
    shop.pass_time(deadline_at=0)
    engine.sweep()
    run = Sagas(engine).show(run.run_id)
    assert (run.state, run.reason) == (RunState.UNDONE, "its deadline is over")
    assert shop.asked(Direction.UNDO) == ["ship", "charge", "reserve"]
    with pytest.raises(StepRefused, match="undone before it came"):
        shop.arrive(late[0])
    assert shop.effects_of(run) == NONE_STANDS


def test_steps_never_sent_are_not_undone(shop: Shop) -> None:
    """What can't have been called is not asked to compensate."""
    engine = shop.make(Saga("sale", [shop.outside("reserve", _refuse), shop.outside("ship")], deadline=60))
    run = engine.run("sale", "7")
    assert shop.asked(Direction.UNDO) == ["reserve"]
    assert [row.state for row in run.steps.values()] == ["undone", "untouched"]


def test_deadlines_are_nested(shop: Shop) -> None:
    """A try ends with its step's time, or with the run's, or with that of what the run is a part of."""
    seen = []

    def see(call: Call) -> None:
        seen.append(call.deadline - now_ms())

    step = shop.outside("reserve", see, within=5)
    engine = shop.make(Saga("short", [step], deadline=1), Saga("long", [step], deadline=60))
    engine.run("short", "1")
    engine.run("long", "2")
    engine.run("long", "3", deadline=now_ms() + 2000)
    assert [round(left / 1000) for left in seen] == [1, 5, 2]


def test_a_compensation_is_tried_until_it_succeeds(shop: Shop) -> None:
    """However often it fails or is refused, and past every deadline."""
    answers = iter([_fail, _refuse] * 30)

    def undo(call: Call) -> None:
        answer = next(answers, None)
        if answer:
            answer(call)
        shop.arrive(call)

    steps = [shop.outside("reserve", undo=undo), shop.outside("ship", _refuse)]
    engine = shop.make(Saga("sale", steps, deadline=60, tries=2))
    run = shop.settle(engine, engine.start("sale", "7"))
    assert run.state is RunState.UNDONE
    assert shop.effects_of(run) == {"reserve": 0, "ship": 0}


def test_branches_are_called_at_once(shop: Shop) -> None:
    """Steps that need nothing of each other are under way together; what needs both comes after both."""
    both = threading.Barrier(2, timeout=10)

    def meet(call: Call) -> Any:
        both.wait()
        return shop.arrive(call)

    steps = [
        shop.outside("reserve", meet, needs=(), within=10),
        shop.outside("charge", meet, needs=(), within=10),
        shop.outside("ship", needs=("reserve", "charge")),
    ]
    run = shop.make(Saga("sale", steps, deadline=60)).run("sale", "7")
    assert run.state is RunState.DONE
    assert shop.calls[-1].step == "ship"
    assert set(shop.calls[-1].results) == {"reserve", "charge"}


def test_a_branch_that_is_under_way_is_undone_too(shop: Shop) -> None:
    """One branch is refused while the other is under way: that is heard out, then undone."""
    refused = threading.Event()

    def slow(call: Call) -> Any:
        assert refused.wait(10)
        return shop.arrive(call)

    def refuse(call: Call) -> None:
        refused.set()
        _refuse(call)

    steps = [
        shop.outside("reserve", slow, needs=(), within=10),
        shop.outside("charge", refuse, needs=()),
        shop.outside("ship", needs=("reserve", "charge")),
    ]
    run = shop.make(Saga("sale", steps, deadline=60)).run("sale", "7")
    assert run.state is RunState.UNDONE
    assert shop.effects_of(run) == NONE_STANDS
    assert [call.results.get("reserve") for call in shop.calls if call.idempotency_key.endswith("reserve/undo")] == [
        "reserve of 7"
    ]


def test_a_branch_that_fails_while_the_run_turns_back_is_undone(shop: Shop) -> None:
    """What is heard of it then counts no more: it may have arrived."""
    refused = threading.Event()

    def arrive_and_fail(call: Call) -> None:
        assert refused.wait(10)
        shop.arrive(call)
        _fail(call)

    def refuse(call: Call) -> None:
        refused.set()
        _refuse(call)

    steps = [shop.outside("reserve", arrive_and_fail, needs=(), within=10), shop.outside("charge", refuse, needs=())]
    run = shop.make(Saga("sale", steps, deadline=60)).run("sale", "7")
    assert run.state is RunState.UNDONE
    assert run.steps["reserve"].tries == 0
    assert shop.effects_of(run) == {"reserve": 0, "charge": 0}


def test_a_local_step_is_one_transaction_with_the_log(shop: Shop) -> None:
    """Where it fails or is refused, nothing of it stands, and it is not undone: it never was."""
    tries: list[int] = []

    def write(connection: Connection, call: Call) -> None:
        shop.effect(connection, call, 1)
        tries.append(call.attempt)
        if len(tries) < 3:
            raise ConnectionError("after it has written")
        raise StepRefused("too poor")

    engine = shop.make(Saga("sale", [shop.local("reserve"), shop.local("charge", do=write)], deadline=60))
    run = shop.settle(engine, engine.start("sale", "7"))
    assert tries == [1, 2, 3]
    assert (run.state, run.steps["charge"].state) == (RunState.UNDONE, "untouched")
    assert shop.effects_of(run) == {"reserve": 0, "charge": 0}


def test_a_row_of_a_local_step_that_is_there_is_its_failure(shop: Shop) -> None:
    """What the database refuses of a local step is told as its failure, and the run goes on later."""

    def write_twice(connection: Connection, _call: Call) -> None:
        for _ in range(2):
            connection.execute(insert(shop.effects).values(number=1, run_id="", step="", change=0))

    engine = shop.make(Saga("sale", [shop.local("charge", do=write_twice)], deadline=60))
    run = engine.run("sale", "7")
    assert (
        run.steps["charge"].error
        == "DuplicateRow: A row with this key exists already (a unique or primary key was hit)."
    )


@pytest.mark.parametrize("step", ["outside", "local"])
def test_taken_over_while_it_is_at_work(shop: Shop, step: str) -> None:
    """Another instance takes a slow one's run over: the slow one writes nothing more, and each effect is one."""
    others: list[Engine] = []

    def slow(call: Call) -> None:
        if others:
            other = others.pop()
            shop.pass_time()
            assert other.drive(call.run_id)

    def outside(call: Call) -> Any:
        slow(call)
        return shop.arrive(call)

    steps = [shop.outside("reserve", outside), shop.local("charge"), shop.outside("ship")]
    if step == "local":  # it holds the run's lock, so it is the step before it that is overtaken
        steps = [shop.outside("reserve", outside), shop.local("charge")]
    saga = Saga("sale", steps, deadline=60)
    engine = shop.make(saga)
    others.append(shop.make(saga))
    run = engine.run("sale", "7")
    assert run.state is RunState.DONE
    assert set(shop.effects_of(run).values()) == {1}
    assert shop.asked().count("reserve") == 2
    assert shop.asked().count("charge") == 1


@pytest.mark.parametrize("at", ["reserve", "charge", "ship"])
def test_another_instance_goes_on(shop: Shop, at: str) -> None:
    """A process that ends in the middle of a step leaves a run that another takes once its claim is over."""
    alive = [False]

    def die_local(connection: Connection, call: Call) -> None:
        shop.effect(connection, call, 1)
        if not alive[0]:
            raise _Dead

    def die(call: Call) -> Any:
        shop.arrive(call)
        if not alive[0]:
            raise _Dead

    steps = [
        shop.outside("reserve", die if at == "reserve" else None),
        shop.local("charge", **({"do": die_local} if at == "charge" else {})),
        shop.outside("ship", die if at == "ship" else None),
    ]
    saga = Saga("sale", steps, deadline=60)
    with pytest.raises(_Dead):
        shop.make(saga).run("sale", "7")
    alive[0] = True
    other = shop.make(saga)
    assert other.sweep() == 0, "it is claimed"
    shop.pass_time()
    assert other.sweep() == 1
    run = Sagas(other).of_key("sale", "7")
    assert run.state is RunState.DONE
    assert shop.effects_of(run) == ALL_STAND


def test_many_instances_drive_one_run_once(shop: Shop) -> None:
    """Of many that are woken at once, one takes the run."""
    saga = _sequence(shop)
    engines = [shop.make(saga) for _ in range(8)]
    run_id = engines[0].start("sale", "7")
    taken: list[bool] = []
    threads = [threading.Thread(target=lambda each=each: taken.append(each.drive(run_id))) for each in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken.count(True) == 1
    assert shop.asked() == ["reserve", "charge", "ship"]


def test_an_unlucky_run_holds_up_no_other(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one run can't be written, the sweep goes on with those behind it."""
    engine = shop.make(_sequence(shop))
    runs = [engine.start("sale", key) for key in "12"]
    drive = engine.drive

    def unlucky(run_id: int) -> bool:
        if run_id == runs[0]:
            raise DatabaseUnavailable
        return drive(run_id)

    monkeypatch.setattr(engine, "drive", unlucky)
    assert engine.sweep() == 1
    assert Sagas(engine).show(runs[1]).state is RunState.DONE


def test_one_key_one_run(shop: Shop) -> None:
    """Started again, it is the same run, whichever instance starts it and however; with another input it is refused."""
    engine = shop.make(_sequence(shop))
    first = engine.run("sale", "7", {"pieces": 1})
    assert engine.start("sale", "7", {"pieces": 1}) == first.run_id
    assert engine.run("sale", "7", {"pieces": 1}).run_id == first.run_id
    assert engine.run("sale", "seven").run_id != engine.run("sale", "Seven").run_id, "keys are exact"
    with pytest.raises(Conflict, match="another input"):
        engine.start("sale", "7", {"pieces": 2})
    with pytest.raises(Conflict, match="There is a run"):
        shop.database.transact(lambda connection: engine.begin(connection, "sale", "7"))
    assert shop.asked().count("reserve") == 3


def test_begun_in_ones_own_transaction(shop: Shop) -> None:
    """It runs if, and only if, that transaction is committed."""
    engine = shop.make(_sequence(shop))

    def and_fail(connection: Connection) -> None:
        engine.begin(connection, "sale", "7")
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable):
        shop.database.transact(and_fail)
    assert engine.sweep() == 0
    run_id = shop.database.transact(lambda connection: engine.begin(connection, "sale", "7", {"a": "é"}))
    assert engine.sweep() == 1
    run = Sagas(engine).show(run_id)
    assert (run.state, run.input) == (RunState.DONE, {"a": "é"})


def test_bounds(shop: Shop) -> None:
    """What is too large to be remembered is refused at once, or is the failure of the step that returns it."""
    saga = Saga("sale", [shop.outside("reserve", lambda _: "x" * MOST_BYTES)], deadline=60)
    local = Saga("local", [shop.local("charge", do=lambda *_: object())], deadline=60)
    engine = shop.make(saga, local)
    with pytest.raises(StateTooLarge, match="at most 16384 bytes"):
        engine.start("sale", "7", "x" * MOST_BYTES)
    with pytest.raises(StateTooLarge, match="JSON only"):
        engine.start("sale", "7", {1, 2})
    with pytest.raises(Misconfigured, match="1 to 128 characters"):
        engine.start("sale", "x" * 129)
    with pytest.raises(Misconfigured, match="no saga sail"):
        engine.start("sail", "7")
    assert "StateTooLarge" in str(engine.run("sale", "7").steps["reserve"].error)
    assert "JSON only" in str(engine.run("local", "7").steps["charge"].error)
    with pytest.raises(Misconfigured, match=r"lease must be 1\.2 s"):
        shop.make(saga, lease=1.0)
    with pytest.raises(Misconfigured, match="1 failure at least"):
        shop.make(saga, alert_after=0)


def test_an_id_that_was_issued_twice(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no repetition of a key: that is told, and nothing is started."""
    engine = shop.make(_sequence(shop))
    run = engine.run("sale", "7")
    monkeypatch.setattr(shop.ids, "next", lambda: run.run_id)
    with pytest.raises(DuplicateRow):
        engine.start("sale", "8")


def test_long_words_are_cut(shop: Shop) -> None:
    """An error of any length and any characters is kept as far as there is room."""

    def fail(_call: Call) -> None:
        raise ValueError("\udc80é☃\0" * 1000)

    run = shop.make(Saga("sale", [shop.outside("reserve", fail)], deadline=60)).run("sale", "7")
    assert len(str(run.steps["reserve"].error)) == 500


def _no_row(connection: Connection, _call: Call) -> None:
    connection.execute(select(1).where(text("1 = 0"))).one()


def _wrong_statement(connection: Connection, _call: Call) -> None:
    connection.exec_driver_sql("SELECT ?" if connection.dialect.name == "sqlite" else "SELEC 1")


@pytest.mark.parametrize(("does", "named"), [(_no_row, "NoResultFound"), (_wrong_statement, "ProgrammingError")])
def test_a_local_step_whose_code_is_wrong_is_a_failure(
    shop: Shop, does: Callable[[Connection, Call], None], named: str
) -> None:
    """Not the database's: the try is counted, its error kept, and after so many of them the run turns back."""
    steps = [shop.outside("reserve"), shop.local("charge", do=does)]
    engine = shop.make(Saga("sale", steps, deadline=60, tries=2))
    run = engine.run("sale", "7")
    assert (run.steps["charge"].tries, str(run.steps["charge"].error).partition(":")[0]) == (1, named)
    run = shop.settle(engine, run.run_id)
    assert run.state is RunState.UNDONE
    assert shop.effects_of(run)["reserve"] == 0


def _irreversible(shop: Shop, **steps: Callable[[Call], Any]) -> Saga:
    return Saga(
        "return",
        [
            shop.outside("restock", steps.get("restock")),
            shop.outside("refund", steps.get("refund"), undo=None),
            shop.outside("tell", steps.get("tell")),
        ],
        deadline=60,
        tries=2,
    )


def test_forward_only_past_what_cannot_be_undone(shop: Shop) -> None:
    """From when a refund may have been made on, neither a deadline nor tries nor a refusal turns the run back."""
    answers = iter([_fail, _fail, _fail, _refuse])

    def tell(call: Call) -> Any:
        answer = next(answers, None)
        return answer(call) if answer else shop.arrive(call)

    engine = shop.make(_irreversible(shop, tell=tell))
    run = engine.run("return", "7")
    shop.pass_time(deadline_at=0)
    run = shop.settle(engine, run.run_id)
    assert (run.state, run.reason) == (RunState.DONE, None)
    assert shop.effects_of(run) == {"restock": 1, "refund": 1, "tell": 1}


def test_a_refund_that_is_refused_is_undone_around_it(shop: Shop) -> None:
    """What can't be undone and was refused did not happen: the rest is undone, and it is not asked to."""
    run = shop.make(_irreversible(shop, refund=_refuse)).run("return", "7")
    assert run.state is RunState.UNDONE
    assert shop.asked(Direction.UNDO) == ["restock"]
    assert run.steps["refund"].state == "untouched"


def test_alert(shop: Shop) -> None:
    """After so many failures, and each as many more, an operator is told which step of which run it is, and why."""
    told: list[Trouble] = []

    def alert(trouble: Trouble) -> None:
        told.append(trouble)
        raise ValueError("what an alert raises is no fault of the run")

    engine = shop.make(_sequence(shop, _fail), alert=alert, alert_after=3)
    run = engine.run("sale", "7")
    for _ in range(6):
        shop.pass_time()
        engine.sweep()
    assert told == [
        Trouble(run.run_id, "sale", "7", "ship", tries, "ConnectionError: nobody is there") for tries in (3, 6)
    ]


def test_alert_of_a_step_that_ends_the_process(shop: Shop) -> None:
    """Instances that end in the middle of a run, one after the other, are told too: no failure is ever written down."""
    told: list[Trouble] = []
    engine = shop.make(Saga("sale", [shop.outside("reserve", _die)], deadline=60), alert=told.append, alert_after=2)
    run_id = engine.start("sale", "7")
    for _ in range(3):
        shop.pass_time()
        with pytest.raises(_Dead):
            engine.drive(run_id)
    assert [(trouble.step, trouble.tries) for trouble in told] == [(None, 2)]


def test_a_changed_definition_never_runs_an_old_log(shop: Shop) -> None:
    """An engine leaves runs alone whose definition it does not have; given the old one as well, it ends them."""
    old = _sequence(shop, _fail)
    new = _sequence(shop, version=2)
    run = shop.make(old).run("sale", "7")
    engine = shop.make(new)
    shop.pass_time()
    assert engine.sweep() == 0
    assert not engine.drive(run.run_id)
    assert not Sagas(engine).is_known(run)
    both = shop.make(new, _sequence(shop))
    assert both.sweep() == 1
    assert Sagas(both).show(run.run_id).state is RunState.DONE
    assert both.run("sale", "8").definition == new.definition, "new runs are of the first one"


def _rewritten(shop: Shop, run: Run, **values: Any) -> None:
    runs = shop.tables.runs
    shop.database.transact(lambda c: c.execute(update(runs).where(runs.c.run_id == run.run_id).values(values)))


def test_a_lost_claim_stops_the_instance(shop: Shop) -> None:
    """An instance that writes without the epoch is told, and goes no further: an operator's word has passed it, say."""
    engine: Engine

    def give_up(call: Call) -> Any:
        answer = shop.arrive(call)
        Sagas(engine).give_up(call.run_id, "the customer called")
        return answer

    engine = shop.make(Saga("sale", [shop.outside("reserve", give_up), shop.outside("ship")], deadline=60))
    run = engine.run("sale", "7")
    assert run.state is RunState.UNDOING
    assert shop.asked() == ["reserve"]
    run = shop.settle(engine, run.run_id)
    assert (run.state, run.reason) == (RunState.UNDONE, "given up: the customer called")
    assert shop.effects_of(run) == {"reserve": 0, "ship": 0}


def test_an_unknown_outcome_is_not_taken_for_a_failure(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to a COMMIT is lost: the run is left until its claim is over, and goes on from what the log says."""
    engine = shop.make(Saga("sale", [shop.local("charge"), shop.local("ship")], deadline=60))
    run_id = engine.start("sale", "7")
    transact = shop.database.transact

    def lost(work: Any) -> Any:
        result = transact(work)
        if shop.asked() == ["charge"]:
            raise CommitOutcomeUnknown
        return result

    monkeypatch.setattr(shop.database, "transact", lost)
    with pytest.raises(CommitOutcomeUnknown):
        engine.drive(run_id)
    monkeypatch.setattr(shop.database, "transact", transact)
    run = shop.settle(engine, run_id)
    assert run.state is RunState.DONE
    assert shop.effects_of(run) == {"charge": 1, "ship": 1}
    with shop.database.read() as connection:
        assert len(connection.execute(select(shop.effects)).all()) == 2


def test_definitions_that_mean_nothing() -> None:
    """A wrong definition is told before anything runs."""

    def step(name: str, **options: Any) -> Local:
        return Local(name, do=lambda *_: None, undo=None, **options)

    for steps, options in (
        ([], {}),
        ([step("a"), step("a")], {}),
        ([step("A")], {}),
        ([step("a", needs=("b",)), step("b")], {}),
        ([step("a")], {"deadline": 0}),
        ([step("a")], {"tries": 0}),
        ([step("a", within=0)], {}),
        ([step(f"s{number}") for number in range(33)], {}),
    ):
        with pytest.raises(Misconfigured):
            Saga("sale", steps, **({"deadline": 1} | options))  # type: ignore[arg-type]


def test_what_a_definition_is(shop: Shop) -> None:
    """Renamed, rewired, undone otherwise, or of another version: another definition. Times are tuned freely."""
    one = Saga("sale", [shop.outside("a"), shop.outside("b")], deadline=60)
    same = Saga("sale", [shop.outside("a", within=9), shop.outside("b", needs=("a",))], deadline=9, tries=1)
    assert one.definition == same.definition
    others = [
        Saga("sail", [shop.outside("a"), shop.outside("b")], deadline=60),
        Saga("sale", [shop.outside("a"), shop.outside("c")], deadline=60),
        Saga("sale", [shop.outside("a"), shop.outside("b", needs=())], deadline=60),
        Saga("sale", [shop.outside("a"), shop.outside("b", undo=None)], deadline=60),
        Saga("sale", [shop.outside("a"), shop.local("b")], deadline=60),
        Saga("sale", [shop.outside("a"), shop.outside("b")], deadline=60, version=2),
    ]
    assert len({saga.definition for saga in (one, *others)}) == 7
