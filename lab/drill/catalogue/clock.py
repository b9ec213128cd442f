"""Clocks that step or are set, and leases of worker ids that are lost: no id is ever issued twice."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType

from lab.drill.clockwork import Clock
from lab.drill.crowd import spread
from lab.drill.drill import Drill, Ground
from lab.drill.freezing import frozen
from lab.drill.profiles import PAIR, PAIR_ALONE
from lab.drill.scene import PIECES, Scene
from lab.drill.site import STOCK

_BACK = 2.0  # seconds
_AHEAD = 60.0  # seconds: more than a lease of worker ids lasts
_HOUR = 3600.0  # seconds
_UNPAID_FOR = 5.0  # seconds; then an order falls due
_LEASE = 17.0  # seconds: a lease of 15, its handover of 1, and a little
_OK, _CREATED, _REFUSED = 200, 201, 503


@contextmanager
def _with_clock(scene: Scene, *processes: str, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[Clock]:
    """Restart processes with a clock that can be shifted; it is right again afterwards."""
    clock = Clock(scene.site.deployment.place.root / f"clock-{processes[0]}")
    for process in processes:
        scene.restart(process, {**clock.environment, **settings}, "a clock that can be set")
    yield clock
    clock.shift(0.0)


def _steps_back(scene: Scene) -> None:
    with _with_clock(scene, "order", "stock") as clock:
        before = [scene.placed() for _ in range(5)]
        clock.shift(-_BACK)
        scene.fault(f"the clock steps back by {_BACK:g} s: ids from before lie ahead of it")
        again = scene.accepted()
        after = [again, *(scene.placed() for _ in range(5))]
        _none_twice(scene, [*before, *after])
        scene.settle()
        scene.stands(*["created"] * 11)


def _steps_forward(scene: Scene) -> None:
    with _with_clock(scene, "order", "stock") as clock:
        before = [scene.placed() for _ in range(5)]
        order_id = before[0]
        scene.change(order_id, "cancel")
        clock.shift(_AHEAD)
        scene.fault(f"the clock steps forward by {_AHEAD:g} s: the lease of the worker id has run out")
        again = scene.accepted()
        after = [again, *(scene.placed() for _ in range(5))]
        _none_twice(scene, [*before, *after])
        scene.settle()
        scene.stands(*["created"] * 10, "closed")


def _an_hour_off(scene: Scene, shift: float) -> None:
    unpaid_for = MappingProxyType({"ORDERS_PAY_TIMEOUT": str(_UNPAID_FOR)})
    with _with_clock(scene, "order", "stock", "goods", settings=unpaid_for) as clock:
        made = [scene.placed() for _ in range(5)]
        clock.shift(shift)
        scene.fault(f"the clock is set {'forward' if shift > 0 else 'back'} by an hour")
        made += _lives(scene)
        clock.shift(0.0)
        scene.fault("the clock is set right again: another step")
        made += _lives(scene)
        _none_twice(scene, made)
        scene.mended("the last order has fallen due; what came before had limits of its own")
        scene.settle()
        scene.stands(*["paid"] * 2, *["closed"] * (len(made) - 2))


def _lives(scene: Scene) -> list[str]:
    """Have an order paid, one cancelled and two fall due, each in its time; return all their ids."""
    first = scene.accepted()
    scene.supervisor.wait_ready(within=scene.limit)
    paid, cancelled, due = (scene.placed() for _ in range(3))
    scene.say("every process says that it is ready, and orders are accepted")
    for order_id, action in ((paid, "pay"), (cancelled, "cancel")):
        answer = scene.change(order_id, action)
        scene.same(f"HTTP status of its {action}", answer and answer.status, _OK)
    ours = {first, cancelled, due}
    scene.wait("two to fall due", lambda: not ours & _open(scene), within=_UNPAID_FOR + scene.limit)
    scene.wait("their pieces to come back", lambda: _none_held(scene), within=scene.limit)
    return [first, paid, cancelled, due]


def _open(scene: Scene) -> set[str]:
    return {order["order_id"] for order in scene.site.orders(scene.user) if order["status"] == "created"}


def _none_held(scene: Scene) -> bool:
    """Whether all pieces are there but those of orders that stand."""
    standing = sum(status != "closed" for status in scene.statuses())
    return scene.available() == STOCK - PIECES * standing


def _none_twice(scene: Scene, order_ids: list[str]) -> None:
    scene.same("ids issued twice", len(order_ids) - len(set(order_ids)), 0)


def _lease_lost(scene: Scene) -> None:
    scene.stock(1000)
    first = _ids(scene, "order", 20)
    with frozen(scene.site.deployment, "order") as pid:
        scene.fault(f"order (pid {pid}) is frozen (SIGSTOP) for longer than its lease of a worker id")
        scene.pause(_LEASE)
        other = scene.kill("order-2")  # its own lease goes on, so it takes the one that ran out
        scene.back("order-2", other)
        taken = _ids(scene, "order-2", 20)
        scene.same("worker id that order-2 took over", _worker(taken[0]), _worker(first[0]))
    scene.mended("order goes on (SIGCONT)")
    scene.accepted()
    both = spread(lambda number: _ids(scene, ("order", "order-2")[number % 2], 10), range(4), threads=4)
    made = [*first, *taken, *(order_id for ids in both for order_id in ids)]
    scene.same("ids issued twice", len(made) - len(set(made)), 0)
    scene.claim("order has another worker id now", _worker(both[0][0]) != _worker(taken[0]))
    scene.settle()


def _clock_ahead(scene: Scene) -> None:
    scene.stock(1000)
    first = _ids(scene, "order", 10)
    with _with_clock(scene, "order-2") as clock:
        clock.shift(_AHEAD)
        scene.fault(f"order-2's clock is {_AHEAD:g} s ahead: to it, every lease has run out")
        scene.restart("order-2", clock.environment, "its wrong clock, taking over a worker id in use")
        answers = spread(lambda number: scene.place(at=("order", "order-2")[number % 2]), range(40), threads=4)
        told = Counter(answer.status for answer in answers if answer)
        scene.same("answers that are neither 201 nor 503", 40 - told[_CREATED] - told[_REFUSED], 0)
        scene.say(f"{told[_REFUSED]} orders were given up by a check-back to which they looked a minute old")
        made = first + [answer.body["order_id"] for answer in answers if answer and answer.status == _CREATED]
        scene.same("ids issued twice", len(made) - len(set(made)), 0)
    scene.restart("order-2", {}, "the right clock again")
    scene.mended("order-2's clock is right again")
    scene.settle()
    scene.stands_with_stock(1000, *["created"] * len(made))


def _ids(scene: Scene, at: str, number: int) -> list[str]:
    return [scene.placed(at=at) for _ in range(number)]


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
        ground=Ground.EMBEDDED,
    ),
    Drill(
        "clock-forward-an-hour",
        "the clock is set forward by an hour, and back again",
        "in every process, with unpaid orders",
        "orders are accepted at once, paid, cancelled and timed out by that clock; no id is issued twice",
        partial(_an_hour_off, shift=_HOUR),
        ground=Ground.EMBEDDED,
    ),
    Drill(
        "clock-steps-forward",
        "the clock steps forward by a minute",
        "in order and stock, while orders are placed",
        "orders are refused until order has a lease again; no id is issued twice",
        _steps_forward,
        ground=Ground.EMBEDDED,
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
        ground=Ground.REAL,
        profile=PAIR,
    ),
)
