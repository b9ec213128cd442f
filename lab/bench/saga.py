"""An order placed by a saga of three steps, and by a transactional message: the example's shop, in turns.

What is timed is how long a caller waits until it knows that the order stands: at the end of the run, or at the commit
of the order, after which the piece and the coupon are taken. `per_second` waits for all that follows, in both ways.
"""

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Final

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import Session

from halfmessage.contrib.migrations import upgrade
from halfmessage.paths import SQLITE, file_url
from halfmessage.saga.model import RunState
from halfmessage.transactional import TransactionalMessages
from lab.bench.figures import times_of
from ops.errors import CommandFailed
from ops.waiting import wait_for

MESSAGE: Final = "transactional message"
SAGA: Final = "saga of three steps"
_SHOP: Final = Path(__file__).parents[2] / "examples" / "order_two_ways" / "shop.py"
_MANY: Final = 2**31 - 1  # pieces, and uses of the coupon: nobody is refused
_FOLLOWS_WITHIN: Final = 120.0  # seconds: what consumers have to do after a turn

Place = Callable[[int], None]
"""Places the order of a number; returns when it stands."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Orders of one turn: how many a second, all that follows included; ms until each was known to stand."""

    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Way:
    """Medians of the turns, and of their ratios to the message's of the same turn; then the turns themselves."""

    way: str
    median: Turn
    ratio: Turn
    turns: tuple[Turn, ...]


def measure(url: str | None, turns: int, seconds: float, clients: int, tell: Callable[[str], None]) -> list[Way]:
    """Place orders for so many seconds in each way, in `turns` turns, by `clients` threads of one process.

    `url`: an empty database; None: a file of SQLite. Raise `CommandFailed` for an order that does not stand, and
    unless each took one piece and one use of the coupon soon. The shop's tables are dropped then; the library's stay.
    """
    found: dict[str, list[Turn]] = {MESSAGE: [], SAGA: []}
    numbers = count(1)
    with _open_shop(url) as (ways, taken):
        for turn in range(turns):
            tell(f"turn {turn + 1} of {turns}")
            for name, made in found.items():
                made.append(_turn(ways[name], numbers, seconds, clients, taken))
    return [_way(name, made, found[MESSAGE]) for name, made in found.items()]


def _way(name: str, turns: list[Turn], base: list[Turn]) -> Way:
    ratios = [
        Turn(one.per_second / other.per_second, one.p50 / other.p50, one.p99 / other.p99)
        for one, other in zip(turns, base, strict=True)
    ]
    return Way(name, _median(turns), _median(ratios), tuple(turns))


def _median(turns: list[Turn]) -> Turn:
    return Turn(
        statistics.median(turn.per_second for turn in turns),
        statistics.median(turn.p50 for turn in turns),
        statistics.median(turn.p99 for turn in turns),
    )


def _turn(
    place: Place, numbers: Iterator[int], seconds: float, clients: int, taken: Callable[[], tuple[int, ...]]
) -> Turn:
    before, begun = taken()[0], time.perf_counter()

    def client(_: int) -> list[float]:
        waited: list[float] = []
        while not waited or time.perf_counter() < begun + seconds:
            at = time.perf_counter()
            place(next(numbers))
            waited.append(time.perf_counter() - at)
        return waited

    with ThreadPoolExecutor(clients, thread_name_prefix="client") as threads:
        waited = [one for each in threads.map(client, range(clients)) for one in each]
    placed = before + len(waited)
    what = f"{placed} orders, as many pieces and as many uses of the coupon"
    wait_for(what, lambda: taken() == (placed,) * 3, within=_FOLLOWS_WITHIN, every=0.002)
    elapsed, times = time.perf_counter() - begun, times_of(waited)
    assert times is not None  # noqa: S101 - each client places one order at least # nosec B101
    return Turn(len(waited) / elapsed, times.p50, times.p99)


@contextmanager
def _open_shop(url: str | None) -> Iterator[tuple[Mapping[str, Place], Callable[[], tuple[int, ...]]]]:
    """Yield the ways to place an order, and what tells how many orders, pieces and uses of the coupon there are."""
    example = _example()
    with TemporaryDirectory(prefix="orders-bench-") as folder:
        engine = create_engine(url or file_url(SQLITE, Path(folder, "shop.db")))
        tx = TransactionalMessages("bench", engine, broker=file_url("embedded", Path(folder, "broker.db")))
        try:
            shop = example.Shop(tx)
            upgrade(engine)
            example.Base.metadata.create_all(engine)
            with Session(engine) as session, session.begin():
                session.add_all([example.Goods(id=1, left=_MANY), example.Coupon(id=1, left=_MANY)])
            tx.start()
            yield {MESSAGE: partial(_by_message, shop), SAGA: partial(_by_saga, shop)}, partial(_taken, example, engine)
        finally:
            tx.close()
            example.Base.metadata.drop_all(engine)
            engine.dispose()


def _example() -> ModuleType:
    """Import the example's shop: examples are no package."""
    spec = importlib.util.spec_from_file_location("order_two_ways_shop", _SHOP)
    if spec is None or spec.loader is None:
        raise CommandFailed(f"{_SHOP} is not there.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _by_message(shop: Any, number: int) -> None:
    shop.by_message(number, goods_id=1, coupon_id=1)


def _by_saga(shop: Any, number: int) -> None:
    run = shop.by_saga(number, goods_id=1, coupon_id=1)
    if run.state is not RunState.DONE:
        errors = [step.error for step in run.steps.values() if step.error]
        raise CommandFailed(f"The saga of order {number} is {run.state}: {', '.join(errors) or run.reason}")


def _taken(example: Any, engine: Engine) -> tuple[int, ...]:
    with Session(engine) as session:
        orders = session.scalar(select(func.count()).select_from(example.Order)) or 0
        left = session.scalars(select(example.Goods.left)).one(), session.scalars(select(example.Coupon.left)).one()
        return orders, *(_MANY - each for each in left)
