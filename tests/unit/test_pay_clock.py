"""Pay when the clock is set back by an hour: what was to be done soon is done soon, by who runs on or starts anew."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select, update

from halfmessage.clock import now_ms
from halfmessage.errors import DatabaseUnavailable
from pay.model import AttemptState, Via, attempts, charges, payments
from pay.providers.port import Kind, RefundState
from pay.service.claims import Claims
from pay.service.polling import OFTEN
from tests.payments import Till, success
from tests.support import SetClock

pytestmark = pytest.mark.P7

HOUR: Final = 3600.0

Run = Callable[[], int]


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path)
    yield till
    till.close()


def a_try(till: Till) -> Run:
    """Have a try of which nothing was heard."""
    till.page(1)
    return till.polling.run


def a_try_that_failed(till: Till) -> Run:
    """Have one that a provider may take money for all the same."""
    till.hear(till.provider.no(till.page(1), Kind.FAILED))
    return till.polling.run


def an_event(till: Till) -> Run:
    """Have an event that was stored by a process which died."""
    till.inbox.store("fake", success("c9", 1), Via.CALLBACK)
    return till.handling.handle_due


def a_refund(till: Till) -> Run:
    """Have money that is on its way back, as the provider said some seconds ago."""
    till.pay(1)
    till.release(1)
    till.provider.refunds = lambda _: RefundState.PENDING
    till.refunding.run()
    return till.refunding.run


def a_success(till: Till) -> Run:
    """Have a payment that the order service has not confirmed."""
    till.pay(1)
    return till.telling.run


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("prepare", [a_try, a_try_that_failed, an_event, a_refund, a_success])
def test_what_was_put_off_by_seconds(
    till: Till, set_clock: SetClock, prepare: Callable[[Till], Run], restarted: bool
) -> None:
    """It is not put off by an hour more; under the right clock it was not due yet."""
    till.owe(1)
    run = prepare(till)
    if not restarted:
        assert run() == 0
    set_clock(-HOUR)
    assert run() == 1
    assert run() == 0


def test_the_clock_is_set_back_twice(till: Till, set_clock: SetClock) -> None:
    """Each time is noticed."""
    till.owe(1)
    till.page(1)
    for hours in (1, 2):
        assert till.polling.run() == 0
        set_clock(-hours * HOUR)
        assert till.polling.run() == 1


def test_what_could_have_been_put_off_so_far(till: Till, set_clock: SetClock) -> None:
    """It waits: a try that failed long ago is asked about rarely; and under a right clock nothing is moved."""
    till.owe(1, 2)
    till.hear(till.provider.no(till.page(1), Kind.FAILED))
    till.page(2)
    rare = {"polls": OFTEN + 1, "next_poll_at": now_ms() + 2 * 3_600_000}
    is_over = attempts.c.state == AttemptState.OVER.value
    till.database.transact(lambda connection: connection.execute(update(attempts).where(is_over).values(rare)))
    usual = {"polls": OFTEN, "next_poll_at": now_ms() + 590_000}
    till.database.transact(lambda connection: connection.execute(update(attempts).where(~is_over).values(usual)))
    assert till.polling.run() == 0
    set_clock(-1.0)
    assert till.polling.run() == 0
    set_clock(-HOUR)
    assert till.polling.run() == 1
    with till.database.read() as connection:
        (left,) = connection.scalars(select(attempts.c.next_poll_at).where(is_over))
    assert left == rare["next_poll_at"]


def test_it_is_tried_again_where_that_fails(till: Till, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away just then costs one look, not the hour."""
    till.owe(1)
    till.page(1)
    assert till.polling.run() == 0
    set_clock(-HOUR)
    with monkeypatch.context() as patched:
        patched.setattr(till.database, "transact", _away)
        with pytest.raises(DatabaseUnavailable):
            till.polling.run()
    assert till.polling.run() == 1


def _away(_: object) -> None:
    raise DatabaseUnavailable


def test_many(till: Till, set_clock: SetClock) -> None:
    """More than one transaction moves, of tables with a key of one column or of two."""
    till.owe(*range(1, 400))
    far = now_ms() + 30_000
    rows = [
        {"provider": "fake", "charge_id": f"c{n}", "order_id": n, "amount": 1, "currency": "EUR"}
        | {"state": "refunding", "taken_at": 1, "next_try_at": far}
        for n in range(1, 400)
    ]
    till.database.transact(lambda connection: connection.execute(charges.insert(), rows))
    told = update(payments).values(tell_at=far)
    till.database.transact(lambda connection: connection.execute(told))
    set_clock(-HOUR)
    for column in (charges.c.next_try_at, payments.c.tell_at):
        Claims(till.database, column).take(1)
        with till.database.read() as connection:
            late = select(column).where(column > now_ms() + 30_000)
            assert connection.execute(late).all() == []
