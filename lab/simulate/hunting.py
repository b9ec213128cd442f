"""Time to find: how many runs it takes until a planted bug is seen."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from lab.drill.mutants.mutant import DoesNotFit, Edit, Mutant
from lab.simulate.plan import Plan, plan_of
from lab.simulate.run import Simulator
from lab.simulate.templates import Templates, templates

SIMULATED: Final = (
    "common.aside",
    "common.breaker",
    "common.flight",
    "common.payments",
    "common.peer",
    "common.reservations",
    "common.standby",
    "coupon.service",
    "halfmessage.chunks",
    "halfmessage.db",
    "halfmessage.ids",
    "halfmessage.mq.embedded",
    "halfmessage.participant",
    "halfmessage.saga.driver",
    "halfmessage.saga.engine",
    "halfmessage.saga.log",
    "halfmessage.saga.plan",
    "halfmessage.saga.waking",
    "halfmessage.tx",
    "order.clients.coupon",
    "order.clients.lookups",
    "order.clients.participant",
    "order.clients.pay",
    "order.consumer",
    "order.model",
    "order.service.auditing",
    "order.service.closing",
    "order.service.ordering",
    "order.service.overdue",
    "order.service.participants",
    "order.service.paying",
    "order.service.placing",
    "order.service.pricing",
    "order.service.reading",
    "order.service.return_saga",
    "order.service.returning",
    "order.service.settling",
    "order.service.successes",
    "order.service.sweeping",
    "order.service.telling",
    "order.service.timeouts",
    "pay.api",
    "pay.model",
    "pay.providers.sandbox",
    "pay.service",
    "stock.service.pieces",
    "stock.service.strategies.in_database",
)
"""Modules, and packages, whose code the simulator runs."""
_COMES_TO: Final[Mapping[tuple[str, ...], Callable[[Plan], bool]]] = {
    ("pay",): lambda plan: plan.pays,
    ("halfmessage.saga", "order.service.return_saga", "order.service.returning"): lambda plan: plan.returns,
}
"""Of modules, and packages, that not every run comes to, which runs do."""


@dataclass(frozen=True, slots=True)
class Find:
    """What became of one planted bug: the seed that found it, None where none did; after how many runs and CPU s."""

    name: str
    seed: int | None
    runs: int
    seconds: float
    said: str


def is_simulated(mutant: Mutant) -> bool:
    """Tell whether all that a planted bug changes is code that the simulator runs."""
    return all(_is_in(module, SIMULATED) for module in _modules(mutant))


def _modules(mutant: Mutant) -> list[str]:
    names = [change.function if isinstance(change, Edit) else getattr(change, "name", "") for change in mutant.changes]
    return [name.partition(":")[0] for name in names]


def _is_in(module: str, packages: Iterable[str]) -> bool:
    return any(f"{module}.".startswith(f"{one}.") for one in packages)


def may_show(mutant: Mutant, plan: Plan) -> bool:
    """Tell whether a run comes to any code that a planted bug changes; one that does not is as it was without it."""
    return any(
        all(comes(plan) for packages, comes in _COMES_TO.items() if _is_in(module, packages))
        for module in _modules(mutant)
    )


def hunted(mutants: Sequence[Mutant], *, first: int, runs: int) -> Iterator[Find]:
    """Plant each in a process of its own, and make runs from the seed `first` on until one fails, or after `runs`.

    Those that can't come to what it changes are counted, and not made.
    """
    with templates() as files:
        for mutant in mutants:
            read, write = os.pipe()
            pid = os.fork()
            if pid == 0:
                _be_the_child(mutant, range(first, first + runs), files, write)
            os.close(write)
            with os.fdopen(read) as answers:
                told = answers.read()
            os.waitpid(pid, 0)
            found = json.loads(told) if told else {"seed": None, "runs": 0, "seconds": 0.0, "said": "its process died"}
            yield Find(mutant.name, **found)


def _be_the_child(mutant: Mutant, seeds: range, files: Templates, write: int) -> None:
    """Hunt, tell and end."""
    try:
        found = _hunt(mutant, seeds, files)
        told = {name: value for name, value in asdict(found).items() if name != "name"}
        os.write(write, json.dumps(told).encode())
    finally:
        with suppress(OSError):
            os.close(write)
        os._exit(0)


def _hunt(mutant: Mutant, seeds: range, like: Templates) -> Find:
    with templates(like) as files:
        try:
            mutant.plant()
        except DoesNotFit as error:
            return Find(mutant.name, None, 0, 0.0, f"does not fit: {error}")
        simulator = Simulator(files)
        began = time.process_time()
        with simulator.ready():
            for number, seed in enumerate(seeds, 1):
                plan = plan_of(seed)
                if may_show(mutant, plan) and (wrong := simulator.run(plan).wrong):
                    return Find(mutant.name, seed, number, time.process_time() - began, wrong[0])
        return Find(mutant.name, None, len(seeds), time.process_time() - began, "")
