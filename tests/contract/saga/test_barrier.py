"""A participant's barrier: repetition, null compensation and suspension, in any order and at once."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, insert

from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow, Misconfigured
from halfmessage.saga.barrier import Barrier
from halfmessage.saga.errors import StateTooLarge, StepRefused
from tests.contract.saga.shop import Shop

DO, UNDO = "sale-7/reserve/do", "sale-7/reserve/undo"


@pytest.fixture
def barrier(shop: Shop) -> Barrier:
    """Return the shop's."""
    return shop.barrier


class Counting:
    """What a step does; how often, its rows tell, which are rolled back with it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.undone: list[Any] = []

    def do(self, connection: Connection) -> dict[str, int]:
        connection.execute(insert(self._shop.effects).values(run_id="7", step="reserve", change=1))
        return {"pieces": 2}

    def refuse(self, connection: Connection) -> None:
        self.do(connection)
        raise StepRefused("sold out")

    def undo(self, connection: Connection, result: Any) -> None:
        connection.execute(insert(self._shop.effects).values(run_id="7", step="reserve", change=-1))
        self.undone.append(result)

    @property
    def stands(self) -> list[int]:
        with self._shop.database.read() as connection:
            return list(connection.scalars(self._shop.effects.select().with_only_columns(self._shop.effects.c.change)))


@pytest.fixture
def counting(shop: Shop) -> Counting:
    """Return work that is counted."""
    return Counting(shop)


def test_repetition(barrier: Barrier, counting: Counting) -> None:
    """A call that comes again gets the first answer, and has no effect; so does its compensation."""
    assert barrier.do(DO, counting.do) == barrier.do(DO, counting.do) == {"pieces": 2}
    assert counting.stands == [1]
    for _ in range(2):
        barrier.undo(UNDO, counting.undo)
    assert counting.stands == [1, -1]
    assert counting.undone == [{"pieces": 2}], "it is told what the step returned"


def test_null_compensation(barrier: Barrier, counting: Counting) -> None:
    """A compensation whose step never came undoes nothing."""
    barrier.undo(UNDO, counting.undo)
    assert counting.stands == []


def test_suspension(barrier: Barrier, counting: Counting) -> None:
    """A step that comes after its compensation is refused; also where it was done before that."""
    barrier.undo(UNDO, counting.undo)
    with pytest.raises(StepRefused, match="undone before it came"):
        barrier.do(DO, counting.do)
    assert counting.stands == []
    barrier.do("sale-8/reserve/do", counting.do)
    barrier.undo("sale-8/reserve/undo", counting.undo)
    with pytest.raises(StepRefused, match="undone before it came"):
        barrier.do("sale-8/reserve/do", counting.do)
    assert counting.stands == [1, -1]


def test_a_refusal_is_kept(barrier: Barrier, counting: Counting) -> None:
    """What was refused once is refused however often it comes, though it might be done by now; nothing of it stands."""
    for work in (counting.refuse, counting.do):
        with pytest.raises(StepRefused, match="sold out"):
            barrier.do(DO, work)
    assert counting.stands == []
    barrier.undo(UNDO, counting.undo)
    assert counting.stands == []


def test_a_failure_leaves_nothing(barrier: Barrier, counting: Counting) -> None:
    """After anything but a refusal the step may come again, and be done; also where its result is too large."""

    def fail(connection: Connection) -> None:
        counting.do(connection)
        raise ConnectionError

    def tell_too_much(connection: Connection) -> str:
        counting.do(connection)
        return "x" * 20_000

    def collide(connection: Connection) -> None:
        for _ in range(2):
            connection.execute(insert(counting._shop.effects).values(number=1, run_id="", step="", change=0))

    for work, error in ((fail, ConnectionError), (tell_too_much, StateTooLarge), (collide, DuplicateRow)):
        with pytest.raises(error):
            barrier.do(DO, work)
    assert barrier.do(DO, counting.do) == {"pieces": 2}
    assert counting.stands == [1]


def test_keys_say_their_direction(barrier: Barrier, counting: Counting) -> None:
    """A key of the other direction, none, or too long a one, is a mistake that is told."""
    for key in (UNDO, "reserve", "/do", f"{'x' * 193}/do"):
        with pytest.raises(Misconfigured):
            barrier.do(key, counting.do)
    with pytest.raises(Misconfigured):
        barrier.undo(DO, counting.undo)
    assert barrier.do("x" * 192 + "/do", counting.do)


@pytest.mark.parametrize("round_", range(3))
def test_at_once(barrier: Barrier, counting: Counting, round_: int) -> None:
    """Steps and compensations of one key at once: it is done once at most, and undone where it was done."""
    key = f"sale-{round_}/reserve"
    start = threading.Barrier(8, timeout=10)

    def run(work: Callable[[], Any]) -> None:
        start.wait()
        try:
            work()
        except StepRefused:
            pass

    do = [lambda: barrier.do(f"{key}/do", counting.do)] * 5
    undo = [lambda: barrier.undo(f"{key}/undo", counting.undo)] * 3
    threads = [threading.Thread(target=run, args=(work,)) for work in (*do, *undo)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counting.stands in ([], [1, -1])


def test_refused_and_done_at_once(shop: Shop, barrier: Barrier, counting: Counting) -> None:
    """A call is refused while the same call, which came again, is done: both are told the same."""

    def refuse(connection: Connection) -> None:
        raise StepRefused("sold out")

    def do_meanwhile(step_key: str, refused: StepRefused) -> Any:
        other = Barrier(shop.database, shop.metadata.tables["saga_barrier"])
        other.do(DO, counting.do)
        return refuse_first(step_key, refused)

    refuse_first = barrier._refuse
    barrier._refuse = do_meanwhile  # type: ignore[method-assign]
    assert barrier.do(DO, refuse) == {"pieces": 2}
    barrier._refuse = refuse_first  # type: ignore[method-assign]
    assert counting.stands == [1]


def test_undone_while_it_is_refused(shop: Shop, barrier: Barrier, counting: Counting) -> None:
    """A compensation comes between a refusal and its being kept: the step stays undone."""
    refuse_first = barrier._refuse

    def undo_meanwhile(step_key: str, refused: StepRefused) -> Any:
        barrier.undo(UNDO, counting.undo)
        return refuse_first(step_key, refused)

    barrier._refuse = undo_meanwhile  # type: ignore[method-assign]
    with pytest.raises(StepRefused, match="undone before it came"):
        barrier.do(DO, counting.refuse)
    assert counting.stands == []


def test_purge(barrier: Barrier, counting: Counting) -> None:
    """Rows that were decided before a time are forgotten, and no others."""
    barrier.do(DO, counting.do)
    assert barrier.purge(now_ms() - 60_000) == 0
    assert barrier.purge(now_ms() + 1) == 1
    assert barrier.purge(now_ms() + 1) == 0
