"""Whatever happens to each call: done means that each step stands once, undone that none does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from halfmessage import failpoints
from halfmessage.errors import Conflict, FailpointRaised
from halfmessage.saga.definition import Call, Local, Outside, Saga
from halfmessage.saga.engine import Engine
from halfmessage.saga.errors import StepRefused
from halfmessage.saga.model import Run, RunState, StepState
from halfmessage.saga.operating import Sagas
from tests.contract.saga.shop import Shop

POINTS = failpoints.of_saga("saga")
FATES = (
    *("well", "well", "well", "refused", "fails before", "answer lost", "comes late", "comes twice", "dies before"),
    *("dies after", "taken over", "taken over after", "given up", "skipped", "retried", "deadline"),
)
fates = st.lists(st.sampled_from(FATES), max_size=14)
shapes = st.lists(st.tuples(st.sampled_from(["outside", "local", "final"]), st.booleans()), min_size=1, max_size=4)
armed = st.one_of(st.just(""), st.builds("{}=raise@{}".format, st.sampled_from(sorted(POINTS)), st.integers(1, 4)))


class _Dead(BaseException):
    """The process ended here, as far as the engine can tell."""


@dataclass
class World:
    """One run, what is to happen to each of its calls, and the calls that are still on their way."""

    shop: Shop
    fates: Iterator[str]
    late: list[tuple[Call, bool]] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    depth: int = 0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def call(self, call: Call) -> Any:
        """Be a participant, and all that can go wrong on the way to it."""
        with self.guard:
            fate = next(self.fates, "well")
        refused = fate == "refused"
        if fate == "comes late":
            self.late.append((call, refused))
        if fate in {"fails before", "comes late"}:
            raise ConnectionError(fate)
        if fate == "dies before":
            raise _Dead
        if fate in {"taken over", "given up", "skipped", "retried", "deadline"}:
            self._meanwhile(call, fate)
        if fate == "comes twice":
            self.late.append((call, refused))
        answer = self.shop.arrive(call, refuse=refused)
        if fate == "taken over after":
            self._meanwhile(call, "taken over")
        if fate == "dies after":
            raise _Dead
        if fate == "answer lost":
            raise ConnectionError(fate)
        return answer

    def _meanwhile(self, call: Call, fate: str) -> None:
        """Have another instance or an operator act while a call is under way."""
        with self.guard:
            if self.depth >= 2:
                return
            self.depth += 1
            other = self.engines[self.depth % 2]
        try:
            if fate == "given up":
                Sagas(other).give_up(call.run_id, fate)
            elif fate == "skipped":
                Sagas(other).skip(call.run_id, call.step, fate)
            elif fate == "retried":
                Sagas(other).retry(call.run_id)
            self.shop.pass_time(**({"deadline_at": 0} if fate == "deadline" else {}))
            self.drive(other, call.run_id)
        except Conflict:
            pass
        finally:
            with self.guard:
                self.depth -= 1

    def drive(self, engine: Engine, run_id: int) -> None:
        with suppress(_Dead, FailpointRaised):  # that instance is gone; the run is claimed until its lease is over
            engine.drive(run_id)

    def arrive_late(self) -> None:
        for call, refused in self.late:
            with suppress(StepRefused):
                self.shop.arrive(call, refuse=refused)


def _saga(world: World, shape: list[tuple[str, bool]]) -> Saga:
    steps: list[Outside | Local] = []
    for number, (kind, is_apart) in enumerate(shape):
        needs = () if is_apart else None
        if kind == "local":
            steps.append(world.shop.local(f"s{number}", needs=needs))
        else:
            undo: Callable[[Call], Any] | None = None if kind == "final" else world.call
            steps.append(world.shop.outside(f"s{number}", world.call, undo=undo, needs=needs))
    return Saga("any", steps, deadline=60, tries=3)


def _wrong(world: World, run: Run) -> dict[str, int]:
    """Return the steps that do not stand as they should."""
    stand = world.shop.effects_of(run)
    if run.state is RunState.GIVEN_UP:
        return {step: effect for step, effect in stand.items() if effect not in {0, 1}}
    if run.state is RunState.DONE:
        by_hand = {step for step, row in run.steps.items() if row.state == "skipped"}
        return {step: effect for step, effect in stand.items() if effect != 1 and not (step in by_hand and effect == 0)}
    left = {step for step, row in run.steps.items() if row.state == "left"}
    return {step: effect for step, effect in stand.items() if effect and step not in left}


def _see_to(world: World, saga: Saga, run: Run) -> None:
    """Be the operator that a run waits for: a step is refused, and one that can't be undone may have been done."""
    cannot_be_undone = {step.name for step in saga.steps.values() if isinstance(step, Outside) and step.undo is None}
    sent = {name for name, row in run.steps.items() if row.tries or row.state in {StepState.DONE, StepState.SKIPPED}}
    refused = [name for name, row in run.steps.items() if row.state is StepState.WAITING and row.error == "sold out"]
    if run.state is RunState.RUNNING and sent & cannot_be_undone:
        for name in refused:
            Sagas(world.engines[0]).skip(run.run_id, name, "refused for ever")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(  # s0 is refused once s1, which can't be undone, was seen to by hand: forward only, and for an operator
    shape=[("final", True), ("final", True), ("local", True), ("final", False)],
    fates=["refused", "skipped"],
    armed="",
)
@given(shape=shapes, fates=fates, armed=armed)
def test_every_interleaving(shop: Shop, shape: list[tuple[str, bool]], fates: list[str], armed: str) -> None:
    """Calls fail, get lost, come late or twice; instances end or are overtaken; operators act in the middle."""
    world = World(shop, iter(fates))
    saga = _saga(world, shape)
    world.engines = [shop.make(saga), shop.make(saga)]
    run_id = world.engines[0].start("any", str(shop.ids.next()))
    failpoints.arm(armed, POINTS)
    for round_ in range(40):
        world.drive(world.engines[round_ % 2], run_id)
        run = Sagas(world.engines[0]).show(run_id)
        if run.ended_at is not None:
            break
        if round_ > 20:
            _see_to(world, saga, run)
        shop.pass_time()
        if round_ == 2:
            failpoints.arm("", POINTS)
    failpoints.arm("", POINTS)
    assert run.ended_at is not None, run
    world.arrive_late()
    assert not _wrong(world, run), (run, shop.effects_of(run))


def test_the_property_sees_a_participant_without_a_barrier(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step is done whenever it comes, the check above fails: it is not blind."""
    monkeypatch.setattr(shop.barrier, "do", lambda _key, work: shop.database.transact(work))
    world = World(shop, iter(["answer lost"]))
    saga = _saga(world, [("outside", False)])
    engine = shop.make(saga)
    run = shop.settle(engine, engine.start("any", "1"))
    assert _wrong(world, run) == {"s0": 2}
