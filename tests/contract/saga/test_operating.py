"""What an operator sees of runs, and does about them."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from halfmessage.clock import now_ms
from halfmessage.errors import Conflict, Misconfigured, NotFound
from halfmessage.saga.definition import Call, Direction, Saga
from halfmessage.saga.errors import DefinitionChanged, StepRefused
from halfmessage.saga.model import Run, RunState, StepState
from halfmessage.saga.operating import Counts, Sagas
from tests.contract.saga.shop import Shop


def _fail(_call: Call) -> None:
    raise ConnectionError("nobody is there")


def _refuse(_call: Call) -> None:
    raise StepRefused("sold out")


class _Dead(BaseException):
    """The process ended here, as far as the engine can tell."""


def _sale(shop: Shop, ship: Callable[[Call], Any] | None = _fail, **options: Any) -> Saga:
    return Saga("sale", [shop.outside("reserve"), shop.outside("ship", ship)], **({"deadline": 60} | options))


def test_list_and_show(shop: Shop) -> None:
    """Newest first, by state and by saga, page after page; each with its steps, their tries and their last error."""
    engine = shop.make(_sale(shop), Saga("quick", [shop.outside("reserve")], deadline=60))
    slow = [engine.run("sale", str(number)) for number in range(3)]
    quick = engine.run("quick", "1")
    sagas = Sagas(engine)
    assert [run.run_id for run in sagas.list()] == [run.run_id for run in reversed(slow)]
    assert sagas.list(limit=1) == [slow[2]]
    assert sagas.list(before=slow[2].run_id, limit=1) == [slow[1]]
    assert sagas.list(list(RunState), saga="quick") == [quick]
    assert sagas.list([RunState.DONE]) == [quick]
    shown = sagas.show(slow[0].run_id)
    assert sagas.of_key("sale", "0") == shown
    assert [(name, row.state, row.tries) for name, row in shown.steps.items()] == [
        ("reserve", "done", 0),
        ("ship", "waiting", 1),
    ]
    assert shown.steps["ship"].error == "ConnectionError: nobody is there"
    for find in (lambda: sagas.show(1), lambda: sagas.of_key("sale", "none")):
        with pytest.raises(NotFound):
            find()


def test_counts(shop: Shop) -> None:
    """How many runs are open, and of how many of them a step failed so often; those that ended count no more."""
    engine = shop.make(_sale(shop), Saga("quick", [shop.outside("reserve")], deadline=60))
    sagas = Sagas(engine)
    assert sagas.counts(1) == Counts(open=0, troubled=0)
    for key in ("1", "2"):
        engine.run("sale", key)
    engine.run("quick", "1")
    engine.start("quick", "2")
    assert (sagas.counts(1), sagas.counts(2)) == (Counts(open=3, troubled=2), Counts(open=3, troubled=0))


def test_retry(shop: Shop) -> None:
    """The next try is made now, whatever its delay was; the engine is told at once."""
    woken: list[int] = []
    fails = iter([True, False])
    sale = _sale(shop, lambda call: _fail(call) if next(fails) else shop.arrive(call))
    engine = shop.make(sale, wake=woken.append)
    run = engine.run("sale", "7")
    assert engine.sweep() == 0
    Sagas(engine).retry(run.run_id)
    assert woken == [run.run_id]
    assert engine.sweep() == 1
    assert Sagas(engine).show(run.run_id).state is RunState.DONE
    with pytest.raises(Conflict, match="has ended: done"):
        Sagas(engine).retry(run.run_id)
    with pytest.raises(NotFound):
        Sagas(engine).retry(1)


def test_retry_of_what_is_at_work(shop: Shop) -> None:
    """An instance that holds the run is left alone, until its claim is over."""

    def die(_call: Call) -> None:
        raise _Dead

    engine = shop.make(_sale(shop, die))
    with pytest.raises(_Dead):
        engine.run("sale", "7")
    sagas = Sagas(engine)
    run = sagas.of_key("sale", "7")
    with pytest.raises(Conflict, match="at work on it"):
        sagas.retry(run.run_id)
    shop.pass_time()
    assert sagas.retry(run.run_id).owner is None


def test_give_up_undoes(shop: Shop) -> None:
    """A run that goes forward turns back, for the reason that was given."""
    engine = shop.make(_sale(shop))
    run = engine.run("sale", "7")
    told = Sagas(engine).give_up(run.run_id, " the customer called ")
    assert (told.state, told.reason) == (RunState.UNDOING, "given up: the customer called")
    run = shop.settle(engine, run.run_id)
    assert run.state is RunState.UNDONE
    assert shop.asked(Direction.UNDO) == ["ship", "reserve"]
    assert shop.effects_of(run) == {"reserve": 0, "ship": 0}


def test_give_up_before_anything(shop: Shop) -> None:
    """Nothing local was begun: there is nothing to undo, and the run is over at once."""
    engine = shop.make(Saga("sale", [shop.local("reserve")], deadline=60))
    run_id = engine.start("sale", "7")
    assert Sagas(engine).give_up(run_id, "a mistake").state is RunState.UNDONE
    assert engine.sweep() == 0


def test_give_up_undoing(shop: Shop) -> None:
    """Where a compensation can't succeed, the run ends as it is, and what is not undone stays told."""
    steps = [shop.outside("reserve", undo=_fail), shop.outside("ship", _refuse)]
    engine = shop.make(Saga("sale", steps, deadline=60))
    run = engine.run("sale", "7")
    assert run.state is RunState.UNDOING
    run = Sagas(engine).give_up(run.run_id, "written off")
    assert (run.state, run.reason) == (RunState.GIVEN_UP, "given up: written off")
    assert [row.state for row in run.steps.values()] == [StepState.DONE, StepState.UNDONE]
    shop.pass_time()
    assert engine.sweep() == 0
    with pytest.raises(Conflict, match="given-up"):
        Sagas(engine).give_up(run.run_id, "again")


def test_give_up_past_what_cannot_be_undone(shop: Shop) -> None:
    """It can't turn back: it ends as it is."""
    engine = shop.make(Saga("sale", [shop.outside("refund", undo=None), shop.outside("tell", _fail)], deadline=60))
    run = Sagas(engine).give_up(engine.run("sale", "7").run_id, "told by telephone")
    assert run.state is RunState.GIVEN_UP
    assert shop.asked(Direction.UNDO) == []


def test_skip(shop: Shop) -> None:
    """A step that an operator saw to by hand counts as done, and the run goes on; only a step whose turn it is."""
    steps = [shop.outside("reserve", _fail), shop.outside("ship")]
    engine = shop.make(Saga("sale", steps, deadline=60))
    run = engine.run("sale", "7")
    with pytest.raises(Conflict, match="not the turn of ship; now: reserve"):
        Sagas(engine).skip(run.run_id, "ship", "by hand")
    Sagas(engine).skip(run.run_id, "reserve", "by hand")
    engine.sweep()
    run = Sagas(engine).show(run.run_id)
    assert run.state is RunState.DONE
    assert (run.steps["reserve"].state, run.steps["reserve"].error) == ("skipped", "skipped: by hand")
    assert shop.asked() == ["ship"]


def test_skipping_the_last_ends_the_run(shop: Shop) -> None:
    """Nothing is left to do."""
    engine = shop.make(_sale(shop))
    run = Sagas(engine).skip(engine.run("sale", "7").run_id, "ship", "by hand")
    assert (run.state, run.due_at) == (RunState.DONE, None)


def test_what_was_skipped_is_undone_all_the_same(shop: Shop) -> None:
    """A try that was given up on may have arrived: a run that turns back later undoes the skipped step, too."""

    def arrive_and_fail(call: Call) -> None:
        shop.arrive(call)
        _fail(call)

    steps = [shop.outside("reserve", arrive_and_fail), shop.outside("ship", _refuse)]
    engine = shop.make(Saga("sale", steps, deadline=60))
    run = engine.run("sale", "7")
    Sagas(engine).skip(run.run_id, "reserve", "I thought it had not arrived")
    run = shop.settle(engine, run.run_id)
    assert run.state is RunState.UNDONE
    assert shop.effects_of(run) == {"reserve": 0, "ship": 0}


def test_a_local_step_that_was_skipped_is_undone_all_the_same(shop: Shop) -> None:
    """It was done by hand: the log of its own database does not know of that, and the operator said so."""

    def fail(_connection: Connection, _call: Call) -> None:
        raise ConnectionError("not today")

    def undo(connection: Connection, call: Call) -> None:
        shop.effect(connection, call, -1)

    steps = [shop.local("reserve", do=fail, undo=undo), shop.outside("ship", _refuse)]
    engine = shop.make(Saga("sale", steps, deadline=60))
    run = Sagas(engine).skip(engine.run("sale", "7").run_id, "reserve", "done by hand")
    run = shop.settle(engine, run.run_id)
    assert (run.state, run.steps["reserve"].state) == (RunState.UNDONE, "undone")
    assert shop.effects_of(run)["reserve"] == -1


def test_skip_a_compensation(shop: Shop) -> None:
    """A compensation that an operator saw to by hand is left, and told as that."""
    steps = [shop.outside("reserve", undo=_fail), shop.outside("ship", _refuse)]
    engine = shop.make(Saga("sale", steps, deadline=60))
    run = Sagas(engine).skip(engine.run("sale", "7").run_id, "reserve", "put back by hand")
    assert (run.state, run.steps["reserve"].state) == (RunState.UNDONE, "left")
    assert run.steps["reserve"].error == "skipped: put back by hand"


def test_reasons_are_needed(shop: Shop) -> None:
    """Without a reason, or with a book for one, nothing is changed."""
    sagas = Sagas(engine := shop.make(_sale(shop)))
    run = engine.run("sale", "7")
    for why in ("", "  ", "x" * 500):
        with pytest.raises(Misconfigured, match="Say why"):
            sagas.give_up(run.run_id, why)
        with pytest.raises(Misconfigured, match="Say why"):
            sagas.skip(run.run_id, "ship", why)
    assert sagas.show(run.run_id) == run


def _changed(shop: Shop) -> tuple[Sagas, Run]:
    run = shop.make(_sale(shop)).run("sale", "7")
    return Sagas(shop.make(_sale(shop, version=2))), run


def test_a_changed_definition_is_told(shop: Shop) -> None:
    """What to do about it, too; giving the run up is possible all the same."""
    sagas, run = _changed(shop)
    for word in (lambda: sagas.retry(run.run_id), lambda: sagas.skip(run.run_id, "ship", "by hand")):
        with pytest.raises(DefinitionChanged, match="Give the engine the earlier definition as well"):
            word()
    assert sagas.show(run.run_id) == run
    assert sagas.give_up(run.run_id, "nobody has it").state is RunState.GIVEN_UP


def test_purge(shop: Shop) -> None:
    """Runs that ended before a time are forgotten with their steps; an open one never is."""
    engine = shop.make(_sale(shop), Saga("quick", [shop.outside("reserve")], deadline=60))
    sagas = Sagas(engine)
    done, is_open = engine.run("quick", "1"), engine.run("sale", "1")
    assert sagas.purge(now_ms() - 60_000) == 0
    assert sagas.purge(now_ms() + 1) == 1
    assert sagas.list(list(RunState)) == [is_open]
    with pytest.raises(NotFound):
        sagas.show(done.run_id)
    with shop.database.read() as connection:
        assert {row.run_id for row in connection.execute(shop.tables.steps.select())} == {is_open.run_id}
