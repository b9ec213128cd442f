"""Clocks that step or are set, and leases of worker ids that are lost: no id is ever issued twice."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

from lab.drill.drill import Drill, ServerKind
from lab.drill.drill_run import PIECES, DrillRun
from lab.drill.freezing import frozen
from lab.drill.parallel import spread
from lab.drill.profiles import PAIR, PAIR_ALONE
from lab.drill.shifted_clock import Clock
from lab.drill.sut import STOCK

_BACK = 2.0  # seconds
_AHEAD = 60.0  # seconds: more than a lease of worker ids lasts
_HOUR = 3600.0  # seconds
_UNPAID_FOR = 5.0  # seconds; then an order falls due
_LEASE = 17.0  # seconds: a lease of 15, its handover of 1, and a little
_OK, _CREATED, _REFUSED = 200, 201, 503


@contextmanager
def _with_clock(run: DrillRun, *processes: str, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Clock]:
    """Restart processes with a clock that can be shifted; it is right again afterwards."""
    clock = Clock(run.sut.deployment.directory.root / f"clock-{processes[0]}")
    for process in processes:
        run.restart(process, {**clock.environment, **settings}, "a clock that can be set")
    yield clock
    clock.shift(0.0)


def _steps_back(run: DrillRun) -> None:
    with _with_clock(run, "order", "stock") as clock:
        before = [run.placed() for _ in range(5)]
        clock.shift(-_BACK)
        run.fault(f"the clock steps back by {_BACK:g} s: ids from before lie ahead of it")
        again = run.accepted()
        after = [again, *(run.placed() for _ in range(5))]
        _none_twice(run, [*before, *after])
        run.settle()
        run.stands(*["created"] * 11)


def _steps_forward(run: DrillRun) -> None:
    with _with_clock(run, "order", "stock") as clock:
        before = [run.placed() for _ in range(5)]
        order_id = before[0]
        run.change(order_id, "cancel")
        clock.shift(_AHEAD)
        run.fault(f"the clock steps forward by {_AHEAD:g} s: the lease of the worker id has run out")
        again = run.accepted()
        after = [again, *(run.placed() for _ in range(5))]
        _none_twice(run, [*before, *after])
        run.settle()
        run.stands(*["created"] * 10, "closed")


def _an_hour_off(run: DrillRun, shift: float) -> None:
    unpaid_for = MappingProxyType({"ORDERS_PAY_TIMEOUT": str(_UNPAID_FOR)})
    with _with_clock(run, "order", "stock", "goods", settings=unpaid_for) as clock:
        made = [run.placed() for _ in range(5)]
        clock.shift(shift)
        run.fault(f"the clock is set {'forward' if shift > 0 else 'back'} by an hour")
        made += _lives(run)
        clock.shift(0.0)
        run.fault("the clock is set right again: another step")
        made += _lives(run)
        _none_twice(run, made)
        run.mended("the last order has fallen due; what came before had limits of its own")
        run.settle()
        run.stands(*["paid"] * 2, *["closed"] * (len(made) - 2))


def _lives(run: DrillRun) -> list[str]:
    """Have an order paid, one cancelled and two fall due, each in its time; return all their ids."""
    first = run.accepted()
    run.supervisor.wait_ready(within=run.limit)
    paid, cancelled, due = (run.placed() for _ in range(3))
    run.say("every process says that it is ready, and orders are accepted")
    for order_id, action in ((paid, "pay"), (cancelled, "cancel")):
        answer = run.change(order_id, action)
        run.same(f"HTTP status of its {action}", answer and answer.status, _OK)
    ours = {first, cancelled, due}
    run.wait("two to fall due", lambda: not ours & _open(run), within=_UNPAID_FOR + run.limit)
    run.wait("their pieces to come back", lambda: _none_held(run), within=run.limit)
    return [first, paid, cancelled, due]


def _open(run: DrillRun) -> set[str]:
    return {order["order_id"] for order in run.sut.orders(run.user) if order["status"] == "created"}


def _none_held(run: DrillRun) -> bool:
    """Whether all pieces are there but those of orders that stand."""
    standing = sum(status != "closed" for status in run.statuses())
    return run.available() == STOCK - PIECES * standing


def _none_twice(run: DrillRun, order_ids: list[str]) -> None:
    run.same("ids issued twice", len(order_ids) - len(set(order_ids)), 0)


def _lease_lost(run: DrillRun) -> None:
    run.stock(1000)
    first = _ids(run, "order", 20)
    with frozen(run.sut.deployment, "order") as pid:
        run.fault(f"order (pid {pid}) is frozen (SIGSTOP) for longer than its lease of a worker id")
        run.pause(_LEASE)
        other = run.kill("order-2")  # its own lease goes on, so it takes the one that ran out
        run.back("order-2", other)
        taken = _ids(run, "order-2", 20)
        run.same("worker id that order-2 took over", _worker(taken[0]), _worker(first[0]))
    run.mended("order goes on (SIGCONT)")
    run.accepted()
    both = spread(lambda number: _ids(run, ("order", "order-2")[number % 2], 10), range(4), threads=4)
    made = [*first, *taken, *(order_id for ids in both for order_id in ids)]
    run.same("ids issued twice", len(made) - len(set(made)), 0)
    run.claim("order has another worker id now", _worker(both[0][0]) != _worker(taken[0]))
    run.settle()


def _clock_ahead(run: DrillRun) -> None:
    run.stock(1000)
    first = _ids(run, "order", 10)
    with _with_clock(run, "order-2") as clock:
        clock.shift(_AHEAD)
        run.fault(f"order-2's clock is {_AHEAD:g} s ahead: to it, every lease has run out")
        run.restart("order-2", clock.environment, "its wrong clock, taking over a worker id in use")
        answers = spread(lambda number: run.place(at=("order", "order-2")[number % 2]), range(40), threads=4)
        told = Counter(answer.status for answer in answers if answer)
        run.same("answers that are neither 201 nor 503", 40 - told[_CREATED] - told[_REFUSED], 0)
        run.say(f"{told[_REFUSED]} orders were given up by a check-back to which they looked a minute old")
        made = first + [answer.body["order_id"] for answer in answers if answer and answer.status == _CREATED]
        run.same("ids issued twice", len(made) - len(set(made)), 0)
    run.restart("order-2", {}, "the right clock again")
    run.mended("order-2's clock is right again")
    run.settle()
    run.stands_with_stock(1000, *["created"] * len(made))


def _ids(run: DrillRun, at: str, number: int) -> list[str]:
    return [run.placed(at=at) for _ in range(number)]


def _worker(order_id: str) -> int:
    return int(order_id) >> 12 & 1023


DRILLS = (
    Drill(
        "clock-steps-back",
        "the clock steps back by 2 s",
        "in order and stock, while orders are placed",
        "another worker id is leased at once; no id is issued twice",
        _steps_back,
    ),
    Drill(
        "clock-back-an-hour",
        "the clock is set back by an hour, and right again",
        "in every process, with unpaid orders",
        "orders are accepted at once, paid, cancelled and timed out by that clock; no id is issued twice",
        partial(_an_hour_off, shift=-_HOUR),
        servers=ServerKind.EMBEDDED,
    ),
    Drill(
        "clock-forward-an-hour",
        "the clock is set forward by an hour, and back again",
        "in every process, with unpaid orders",
        "orders are accepted at once, paid, cancelled and timed out by that clock; no id is issued twice",
        partial(_an_hour_off, shift=_HOUR),
        servers=ServerKind.EMBEDDED,
    ),
    Drill(
        "clock-steps-forward",
        "the clock steps forward by a minute",
        "in order and stock, while orders are placed",
        "orders are refused until order has a lease again; no id is issued twice",
        _steps_forward,
        servers=ServerKind.EMBEDDED,
    ),
    Drill(
        "worker-id-lease-lost",
        "order is frozen until its lease of a worker id runs out and another takes it",
        "two order processes",
        "woken up, it issues no id under the lease that it lost",
        _lease_lost,
        profile=PAIR_ALONE,
    ),
    Drill(
        "clock-ahead",
        "the clock of one order process is a minute ahead",
        "two order processes; it takes over a worker id in use",
        "no id is issued twice; an order that it takes for old is refused, nothing created",
        _clock_ahead,
        servers=ServerKind.REAL,
        profile=PAIR,
    ),
)
