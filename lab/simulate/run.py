"""One run: a seed's plan, carried out, brought to rest and judged."""

import gc
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from halfmessage.mq.embedded.wakeup import Wakeup
from lab.drill.nemesis.history import Entry
from lab.simulate import scheduler as schedulers
from lab.simulate.clients import Client, serve_goods, start_clients
from lab.simulate.connections import SimulatedConnection
from lab.simulate.faults import Fault
from lab.simulate.history import History
from lab.simulate.keeper import Keeper
from lab.simulate.logged import logged_by
from lab.simulate.ordering import PROVIDER, start_order
from lab.simulate.participants import start_coupon, start_stock
from lab.simulate.paying import start_pay
from lab.simulate.plan import Plan
from lab.simulate.provider import Provider
from lab.simulate.scheduler import Process, TooLong
from lab.simulate.substitution import simulated
from lab.simulate.templates import Templates
from lab.simulate.transport import Pool
from lab.simulate.verdict import Books
from lab.simulate.world import World

_CALM_AT: Final = 32.0  # seconds after the beginning, from when on nothing goes wrong
_LOOKS_EVERY: Final = 2.5  # seconds, whether all is at rest
_RESTS_WITHIN: Final = 400.0  # seconds after the beginning

_COLLECTS_EVERY: Final = 20  # runs

_STARTS: Final = {"order": start_order, "stock": start_stock, "coupon": start_coupon, "pay": start_pay}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: what was wrong (nothing: it is sound), what struck, and how long it was, in virtual seconds.

    `asked`: what clients asked and were told. `final`: how everything stood in the end; None if it did not come to it.
    """

    plan: Plan
    wrong: Sequence[str]
    struck: Sequence[Fault]
    history: History
    seconds: float
    steps: int
    asked: Sequence[Entry]
    final: Mapping[str, Any] | None

    @property
    def kinds(self) -> list[str]:
        """What is wrong, without its numbers: the same failure has the same."""
        return ["".join(letter for letter in line if not letter.isdigit()) for line in self.wrong]


class Simulator:
    """Carries out plans, one at a time, in one interpreter."""

    def __init__(self, templates: Templates) -> None:
        """Take the databases to begin with."""
        self._keeper = Keeper(templates, self._adopt)
        self._books = Books(templates.folder)
        self._world: World | None = None
        self._runs = 0

    @property
    def world(self) -> World:
        """The world of the run that is under way."""
        assert self._world is not None  # noqa: S101 # nosec B101
        return self._world

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the product's modules use what is simulated; runs are made inside."""
        collects = gc.isenabled()
        gc.collect()
        gc.freeze()  # modules and all that: to look at it again costs more than ten runs
        gc.disable()  # a third of all time; and what a killed process leaves must not be finalized while others run
        try:
            with (
                logged_by(self._log),
                simulated(
                    connect=lambda name, **_: self.world.broker_connection(name),
                    pool_of=lambda url, **_: Pool(self.world.network, url),
                    passed=self._passed,
                    watch=self._watch,
                ),
            ):
                yield
        finally:
            self._books.close()
            self._keeper.close()
            gc.unfreeze()
            if collects:
                gc.enable()

    def _adopt(self, connection: SimulatedConnection) -> None:
        self.world.adopt(connection)

    def _passed(self, point: str) -> None:
        if schedulers.is_ours():
            self.world.injector.passed(point)

    def _watch(self, wakeup: Wakeup) -> None:
        self.world.watch(wakeup)

    def _log(self, event: str, more: dict[str, Any]) -> None:
        if schedulers.is_ours():
            self.world.injector.tell("log", event=event, **more)

    def run(self, plan: Plan) -> Outcome:
        """Carry a plan out, and judge what became of it."""
        self._keeper.reset()
        self._world = None
        self._runs += 1
        if self._runs % _COLLECTS_EVERY == 0:
            gc.collect()
            gc.freeze()  # what is left is kept by caches, for all runs to come
        world = self._world = World(plan, self._keeper, _STARTS)
        schedulers.activate(world.scheduler)
        try:
            return _carried_out(world, self._books)
        finally:
            world.close()
            schedulers.activate(None)


def _carried_out(world: World, books: Books) -> Outcome:
    goods, people = Process("goods"), Process("clients")
    world.network.listen(goods, serve_goods)
    provider = Provider(world, Process(PROVIDER)) if world.plan.pays else None
    if provider is not None:
        world.network.listen(provider.process, provider.serve)
    for name in (name for service in world.plan.services for name in world.processes(service)):
        world.boot(name)
    clients = start_clients(world, people)
    world.strike_in_time()
    rest = _Rest(world, books, clients, provider)
    rest.look_in(_CALM_AT)
    wrong: list[str] = []
    try:
        world.scheduler.run(lambda: rest.is_over)
    except TooLong:
        wrong = [f"the run does not end: {world.scheduler.steps} steps"]
    except Exception as error:  # noqa: BLE001 - what a thread of the product lets out is a failure as any other
        wrong = [f"a thread ended with {type(error).__name__}: {str(error).partition(chr(10))[0]}"]
        world.history.add(world.scheduler.now, "world", "raised", traceback=traceback.format_exc())
    final = None if wrong else books.final()
    told = [client.told for client in clients]
    wrong = wrong or rest.moving or books.wrong(world, told, provider)
    for line in wrong:
        world.history.add(world.scheduler.now, "world", "wrong", line=line)
    return Outcome(
        world.plan,
        wrong,
        world.injector.struck,
        world.history,
        world.seconds(),
        world.scheduler.steps,
        world.asked.entries,
        final,
    )


class _Rest:
    """Sees whether a run has come to rest."""

    def __init__(self, world: World, books: Books, clients: Sequence[Client], provider: Provider | None) -> None:
        self._world = world
        self._provider = provider
        self._books = books
        self._clients = clients
        self.is_over = False
        self.moving: list[str] = []

    def look_in(self, seconds: float) -> None:
        """Look after so many seconds."""
        self._world.scheduler.at(self._world.scheduler.now + int(seconds * 1e9), self._look)

    def _look(self) -> None:
        world = self._world
        if not world.injector.is_calm:
            world.injector.is_calm = True
            world.history.add(world.scheduler.now, "world", "is calm")
        self.moving = self._what_moves()
        self.is_over = not self.moving or world.seconds() > _RESTS_WITHIN
        if not self.is_over:
            self.look_in(_LOOKS_EVERY)

    def _what_moves(self) -> list[str]:
        down = [f"{service} is down" for service, is_up in self._world.up.items() if not is_up]
        busy = [f"client {one.told.wish.number} is busy" for one in self._clients if not one.told.is_done]
        held = ["a thread is held up"] if self._world.injector.is_any_held() else []
        now, sweeps = self._world.scheduler.now // 1_000_000, self._world.plan.sweeps
        return down or busy or held or self._books.moving(now, sweeps=sweeps, provider=self._provider)
