"""What reservations of coupons hold: each rule refused by its word, each use counted once, whatever comes at once.

What any participant keeps is in tests/contract/participants.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from common.db import Database
from coupon import model
from coupon.model import coupon_users, coupon_uses, coupons
from coupon.service.rules import Coupon, Coupons, NewCoupon, Viewer
from coupon.service.uses import Uses, Want, coupon_reservations
from halfmessage.clock import now_ms
from halfmessage.participant.reservations import Reservations
from tests.fakes import Ids, open_database

pytestmark = pytest.mark.P6
TX = 100
CLIENTS = 50
ADMIN = Viewer("boss", sees_all=True)
OFF = NewCoupon(
    code="", kind="amount", value=500, currency="EUR", minimum_amount=0, user_id=None, uses=3, uses_per_user=1,
    starts_at=None, ends_at=None,
)  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "coupon.db", model.metadata)
    yield database
    database.close()


@pytest.fixture
def rules(database: Database) -> Coupons:
    return Coupons(database, Ids())


@pytest.fixture
def reservations(database: Database) -> Reservations[Want]:
    return coupon_reservations(database)


def made(rules: Coupons, **fields: Any) -> Coupon:
    return rules.make(replace(OFF, **fields)).answer


def want(coupon: Coupon, user: str = "ann", **fields: Any) -> Want:
    return replace(Want(coupon.coupon_id, user, 1000, "EUR", coupon.version), **fields)


def take(reservations: Reservations[Want], order_id: int, wanted: Want) -> tuple[str, str | None]:
    (decision,) = reservations.deduct(TX, {order_id: wanted})
    return decision.verdict, decision.members.get("reason")


def counts(database: Database, coupon: Coupon) -> tuple[int, int]:
    """Return held and used, as counted, after comparing them with the uses themselves."""
    with database.read() as connection:
        of_it = coupons.c.coupon_id == coupon.coupon_id
        held, used = connection.execute(select(coupons.c.held, coupons.c.used).where(of_it)).one()
        rows = connection.execute(select(coupon_uses).where(coupon_uses.c.coupon_id == coupon.coupon_id)).all()
        users = connection.execute(select(coupon_users)).all()
    states = Counter(row.state for row in rows)
    assert (held, used) == (states["held"], states["used"])
    live = Counter(f"{row.coupon_id} {row.user_id}" for row in rows if row.state != "free")
    mine = {key: taken for key, taken in users if key.startswith(f"{coupon.coupon_id} ")}
    assert {key: taken for key, taken in mine.items() if taken} == dict(live)
    return held, used


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


DAY = 86_400_000


@pytest.mark.parametrize(
    ("rule", "asked", "answer"),
    [
        ({}, {}, ("deducted", None)),
        ({"minimum_amount": 1001}, {}, ("refused", "below-minimum")),
        ({"minimum_amount": 1000}, {}, ("deducted", None)),
        ({}, {"currency": "USD"}, ("refused", "other-currency")),
        ({"kind": "percent", "value": 10, "currency": None}, {"currency": "USD"}, ("deducted", None)),
        ({"kind": "percent", "value": 10}, {"currency": "USD"}, ("refused", "other-currency")),
        ({"starts_at": now_ms() + DAY}, {}, ("refused", "not-started")),
        ({"starts_at": now_ms() - DAY, "ends_at": now_ms() + DAY}, {}, ("deducted", None)),
        ({"ends_at": now_ms() - DAY}, {}, ("changed", "expired")),
        ({"user_id": "bob"}, {}, ("changed", None)),
        ({"user_id": "ann"}, {}, ("deducted", None)),
        ({}, {"version": 2}, ("changed", None)),
        ({}, {"thing_id": 999}, ("changed", None)),
    ],
)
def test_each_rule(
    database: Database,
    rules: Coupons,
    reservations: Reservations[Want],
    rule: dict[str, Any],
    asked: dict[str, Any],
    answer: tuple[str, str | None],
) -> None:
    """An order that breaks one gets its word, and nothing is counted; one that keeps all holds a use."""
    coupon = made(rules, **rule)
    for _ in range(2):  # asked again: the same
        assert take(reservations, 1, want(coupon, **asked)) == answer
    taken = int(answer[0] == "deducted")
    assert counts(database, coupon) == (taken, 0)
    assert len(reservations.states([1])) == taken


def test_a_coupon_withdrawn_while_it_is_held_stays_held(
    database: Database, rules: Coupons, reservations: Reservations[Want]
) -> None:
    """What was priced before gets `changed`, what is priced after `withdrawn`; the order that holds it is paid."""
    coupon = made(rules)
    assert take(reservations, 1, want(coupon))[0] == "deducted"
    after = rules.withdraw(coupon.coupon_id)
    assert take(reservations, 2, want(coupon, "bob")) == ("changed", None)
    assert take(reservations, 2, want(after, "bob")) == ("refused", "withdrawn")
    assert take(reservations, 1, want(coupon))[0] == "deducted"
    reservations.settle({1: (TX, "paid")})
    assert counts(database, coupon) == (0, 1)


def test_a_coupon_that_expires_between_pricing_and_reservation(
    database: Database, rules: Coupons, reservations: Reservations[Want]
) -> None:
    """The order hears `changed`, and prices again; what holds it keeps it."""
    coupon = made(rules, ends_at=now_ms() + DAY)
    assert take(reservations, 1, want(coupon))[0] == "deducted"
    ended = update(coupons).values(ends_at=now_ms())
    database.transact(lambda connection: connection.execute(ended))
    assert take(reservations, 2, want(coupon, "bob")) == ("changed", "expired")
    assert take(reservations, 1, want(coupon))[0] == "deducted"
    assert counts(database, coupon) == (1, 0)


def test_uses_end_for_all_and_for_each(database: Database, rules: Coupons, reservations: Reservations[Want]) -> None:
    """In one batch as one by one; a use that comes back is there for the next."""
    coupon = made(rules, uses=3, uses_per_user=2)
    batch = {n: want(coupon, user) for n, user in enumerate(("ann", "ann", "ann", "bob", "cid"), 1)}
    verdicts = [decision.verdict for decision in reservations.deduct(TX, batch)]
    assert verdicts == ["deducted", "deducted", "refused", "deducted", "refused"]
    assert take(reservations, 6, want(coupon, "dan")) == ("refused", "used")
    reservations.release({1: TX})
    assert take(reservations, 7, want(coupon, "ann"))[0] == "deducted"
    assert take(reservations, 8, want(coupon, "bob")) == ("refused", "used")
    assert counts(database, coupon) == (3, 0)


def test_who_comes_too_late_is_refused_by_the_rule_and_not_by_the_database(
    database: Database, rules: Coupons, reservations: Reservations[Want], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that the database refuses is taken order by order: right, but one transaction more for all in it."""
    coupon, begun, transact = made(rules, uses=3), [], database.transact
    monkeypatch.setattr(database, "transact", lambda work: (begun.append(1), transact(work))[1])
    verdicts = [one.verdict for one in reservations.deduct(TX, {n: want(coupon, f"user{n}") for n in (1, 2, 3, 4)})]
    assert (verdicts, len(begun)) == (["deducted"] * 3 + ["refused"], 1)
    reservations.settle(dict.fromkeys((1, 2), (TX, "paid")))
    begun.clear()
    assert take(reservations, 5, want(coupon, "user5")) == ("refused", "used")
    assert len(begun) == 1


def test_a_batch_takes_of_several_coupons(database: Database, rules: Coupons, reservations: Reservations[Want]) -> None:
    """Each counts its own, however many of a batch want it."""
    one, two = made(rules, uses=9, uses_per_user=9), made(rules, uses=9, uses_per_user=9)
    reservations.deduct(TX, {n: want(one if n % 3 else two) for n in range(1, 7)})
    assert (counts(database, one), counts(database, two)) == ((4, 0), (2, 0))
    reservations.settle(dict.fromkeys((1, 2, 3), (TX, "paid")))
    assert (counts(database, one), counts(database, two)) == ((2, 2), (1, 1))
    reservations.release(dict.fromkeys(range(1, 7), TX))
    assert (counts(database, one), counts(database, two)) == ((0, 0), (0, 0))


def test_payment_uses_a_coupon_up_once(database: Database, rules: Coupons, reservations: Reservations[Want]) -> None:
    """Told again: the same. Of a use that came back nothing is used; the order service's word frees a used one."""
    coupon = made(rules, uses_per_user=3)
    for order_id in (1, 2):
        take(reservations, order_id, want(coupon))
    reservations.release({2: TX})
    for _ in range(2):
        reservations.settle({1: (TX, "paid"), 2: (TX, "paid"), 3: (TX, "paid")})
    assert counts(database, coupon) == (0, 1)
    assert reservations.get(1).held == {"coupon_id": coupon.coupon_id, "used": True}
    assert reservations.get(2).held == {"coupon_id": coupon.coupon_id, "used": False}
    reservations.settle({1: (TX, "void")})
    assert counts(database, coupon) == (0, 0)


def test_a_miscounted_coupon_is_the_matter_of_its_own_orders(
    database: Database, rules: Coupons, reservations: Reservations[Want]
) -> None:
    """Uses of others are used up; the sweep asks about its own again, though it had asked: until it is put right."""
    wrong, sound = made(rules), made(rules)
    for order_id, coupon in ((1, wrong), (2, sound)):
        take(reservations, order_id, want(coupon))
    reservations.settle(dict.fromkeys((1, 2), (TX, "stands")))

    def count(held: int) -> None:
        counted = update(coupons).where(coupons.c.coupon_id == wrong.coupon_id).values(held=held)
        database.transact(lambda connection: connection.execute(counted))

    count(0)
    reservations.settle(dict.fromkeys((1, 2), (TX, "paid")))
    assert counts(database, sound) == (0, 1)
    assert not reservations.get(1).held["used"]
    unverified = reservations.unverified(older_than=now_ms() + DAY, after=0, limit=9)
    assert [one.order_id for one in unverified] == [1]
    count(1)
    reservations.settle({1: (TX, "paid")})
    assert counts(database, wrong) == (0, 1)
    assert reservations.get(1).verified


def test_what_was_released_is_forgotten_by_age(
    database: Database, rules: Coupons, reservations: Reservations[Want]
) -> None:
    """Rows of uses too; what is live stays."""
    coupon = made(rules, uses_per_user=3)
    for order_id in (1, 2):
        take(reservations, order_id, want(coupon))
    reservations.release({2: TX, 3: TX})
    assert reservations.purge(now_ms() + DAY) == 2
    with database.read() as connection:
        assert list(connection.scalars(select(coupon_uses.c.order_id))) == [1]
    assert counts(database, coupon) == (1, 0)


def test_an_order_whose_rows_the_database_refuses_gets_no_use() -> None:
    """Its counts are wrong already: that it is told, and the rest of its batch goes on."""
    refusal = Uses(coupons.c.coupon_id, coupon_uses, coupon_users).unfit(Want(1, "ann", 1000, "EUR", 1))
    assert (refusal.verdict, refusal.members) == ("refused", {"reason": "used"})


def test_the_last_use_is_had_once(database: Database, rules: Coupons, reservations: Reservations[Want]) -> None:
    """Of fifty users at the same moment one gets it, all others are told `used`."""
    coupon = made(rules, uses=1)
    calls = [lambda n=n: take(reservations, n, want(coupon, f"user-{n}")) for n in range(1, CLIENTS + 1)]
    answers = Counter(at_once(calls))
    assert answers == {("deducted", None): 1, ("refused", "used"): CLIENTS - 1}
    assert counts(database, coupon) == (1, 0)


def test_one_user_at_fifty_clients(database: Database, rules: Coupons, reservations: Reservations[Want]) -> None:
    """They get as many uses as one user may have, and the coupon keeps the others."""
    coupon = made(rules, uses=CLIENTS, uses_per_user=2)
    answers = Counter(at_once([lambda n=n: take(reservations, n, want(coupon)) for n in range(1, CLIENTS + 1)]))
    assert answers == {("deducted", None): 2, ("refused", "used"): CLIENTS - 2}
    assert counts(database, coupon) == (2, 0)


def test_a_withdrawal_at_the_same_moment(database: Database, rules: Coupons, reservations: Reservations[Want]) -> None:
    """Each order got its use before it or is told `changed`; what was taken stays."""
    coupon = made(rules, uses=CLIENTS)
    calls: list[Callable[[], Any]] = [
        lambda n=n: take(reservations, n, want(coupon, f"user-{n}")) for n in range(1, 17)
    ]
    calls.insert(8, lambda: rules.withdraw(coupon.coupon_id))
    answers = Counter(answer for answer in at_once(calls) if isinstance(answer, tuple))
    assert answers.keys() <= {("deducted", None), ("changed", None)}
    assert counts(database, coupon) == (answers["deducted", None], 0)


def test_taken_given_back_and_paid_at_the_same_moment(
    database: Database, rules: Coupons, reservations: Reservations[Want]
) -> None:
    """In batches that name two coupons in both orders: no deadlock is left, and the counts are those of the uses."""
    one, two = made(rules, uses=200, uses_per_user=200), made(rules, uses=200, uses_per_user=200)

    def batch(first: int, which: tuple[Coupon, Coupon]) -> None:
        orders = {first + n: want(which[n % 2], f"user-{n}") for n in range(6)}
        reservations.deduct(TX, orders)
        reservations.settle({first: (TX, "paid"), first + 1: (TX, "paid")})
        reservations.release({first + 2: TX, first + 3: TX})

    at_once([lambda n=n: batch(10 * n, (one, two) if n % 2 else (two, one)) for n in range(1, 9)])
    assert (counts(database, one), counts(database, two)) == ((8, 8), (8, 8))
