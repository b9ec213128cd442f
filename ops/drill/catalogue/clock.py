"""Clocks that step, and leases of worker ids that are lost: no id is ever issued twice."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ops.drill.clockwork import Clock
from ops.drill.crowd import spread
from ops.drill.drill import Drill, Ground
from ops.drill.freezing import frozen
from ops.drill.profiles import PAIR, PAIR_ALONE
from ops.drill.scene import Scene

_BACK = 2.0  # seconds
_AHEAD = 60.0  # seconds: more than a lease of worker ids lasts
_LEASE = 17.0  # seconds: a lease of 15, its handover of 1, and a little
_CREATED, _REFUSED = 201, 503


@contextmanager
def _with_clock(scene: Scene, *processes: str) -> Iterator[Clock]:
    """Restart processes with a clock that can be shifted; it is right again afterwards."""
    clock = Clock(scene.site.deployment.place.root / f"clock-{processes[0]}")
    for process in processes:
        scene.restart(process, clock.environment, "a clock that can be set")
    yield clock
    clock.shift(0.0)


def _steps_back(scene: Scene) -> None:
    with _with_clock(scene, "order", "stock") as clock:
        before = [scene.placed() for _ in range(5)]
        clock.shift(-_BACK)
        scene.fault(f"the clock steps back by {_BACK:g} s")
        answer = scene.place()
        scene.same("HTTP status of the answer, nothing created", answer and answer.status, _REFUSED)
        again = scene.wait("orders to be accepted again", lambda: _accepted(scene), within=_BACK + 5)
        scene.mended("the clock has caught up with the ids that were issued")
        after = [again, *(scene.placed() for _ in range(5))]
        scene.claim("no id was issued twice, and they rise", sorted({*before, *after}) == [*before, *after])
        scene.settle()
        scene.stands(*["created"] * 11)


def _steps_forward(scene: Scene) -> None:
    with _with_clock(scene, "order", "stock") as clock:
        before = [scene.placed() for _ in range(5)]
        order_id = before[0]
        scene.change(order_id, "cancel")
        clock.shift(_AHEAD)
        scene.fault(f"the clock steps forward by {_AHEAD:g} s: the lease of the worker id has run out")
        again = scene.wait("orders to be accepted again", lambda: _accepted(scene), within=10)
        after = [again, *(scene.placed() for _ in range(5))]
        scene.claim("no id was issued twice, and they rise", sorted({*before, *after}) == [*before, *after])
        scene.settle()
        scene.stands(*["created"] * 10, "closed")


def _accepted(scene: Scene) -> str | None:
    answer = scene.site.place(scene.user, scene.goods_id)
    return str(answer.body["order_id"]) if answer is not None and answer.status == _CREATED else None


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
    scene.wait("order to issue ids again", lambda: _accepted(scene))
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
        "orders are refused until it has caught up; no id is issued twice",
        _steps_back,
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
