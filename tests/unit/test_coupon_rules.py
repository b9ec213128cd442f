"""Coupons and their rules: made, seen by whom, found by their code, listed, withdrawn."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from common.db import Database
from common.errors import IdempotencyMismatch
from common.idempotency import IdempotencyKey
from coupon import model, schema
from coupon.model import CodeTaken
from coupon.service.rules import Coupon, Coupons, NewCoupon, Viewer
from coupon.service.uses import Want, coupon_reservations
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from tests.fakes import Ids, open_database

ANN, BOB, ADMIN = Viewer("ann"), Viewer("bob"), Viewer("boss", sees_all=True)
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
def coupons(database: Database) -> Coupons:
    return Coupons(database, Ids())


def made(coupons: Coupons, **fields: Any) -> Coupon:
    return coupons.make(replace(OFF, **fields)).answer


def took(database: Database, coupon: Coupon, user: str, order_id: int) -> None:
    want = Want(coupon.coupon_id, user, 1000, "EUR", coupon.version)
    (decision,) = coupon_reservations(database).deduct(1, {order_id: want})
    assert decision.verdict == "deducted"


def test_a_coupon_is_as_it_was_made(coupons: Coupons) -> None:
    """With a code of its own, or one that is made up; no order holds it yet."""
    first, second = made(coupons, code="SPRING"), made(coupons)
    assert (first.code, len(second.code), first.held, first.used, first.withdrawn) == ("SPRING", 12, 0, 0, False)
    assert coupons.get(first.coupon_id, ANN) == first
    assert coupons.get(second.coupon_id, ANN) == second


def test_a_code_is_one_coupon_s(coupons: Coupons) -> None:
    """Another one with it is refused; upper and lower case differ."""
    made(coupons, code="SPRING")
    with pytest.raises(CodeTaken):
        made(coupons, code="SPRING")
    assert made(coupons, code="spring").code == "spring"


def test_a_key_makes_one_coupon(coupons: Coupons) -> None:
    """The first answer again, with its made up code; another request under the key is refused."""
    key = IdempotencyKey("boss", "k", "hash")
    first, again = coupons.make(OFF, key), coupons.make(OFF, key)
    assert (again.replayed, again.answer) == (True, first.answer)
    assert len(coupons.list(ADMIN, 10, None)) == 1
    with pytest.raises(IdempotencyMismatch):
        coupons.make(OFF, replace(key, request_hash="other"))


def test_who_sees_what(coupons: Coupons) -> None:
    """All users' and one's own; an admin sees any."""
    every, anns = made(coupons), made(coupons, user_id="ann")
    assert coupons.get(anns.coupon_id, ANN) == coupons.get(anns.coupon_id, ADMIN) == anns
    with pytest.raises(NotFound):
        coupons.get(anns.coupon_id, BOB)
    with pytest.raises(NotFound):
        coupons.get(999, ADMIN)
    assert coupons.list(ANN, 10, None) == coupons.list(ADMIN, 10, None) == [anns, every]
    assert coupons.list(BOB, 10, None) == [every]


def test_pages_are_newest_first_for_every_caller(coupons: Coupons) -> None:
    """Those for every user and one's own are one list."""
    ids = [made(coupons, user_id=user).coupon_id for user in (None, "ann", None, "bob", "ann", None)]
    seen = [coupon.coupon_id for coupon in coupons.list(ANN, 10, None)]
    assert seen == [ids[5], ids[4], ids[2], ids[1], ids[0]]
    assert [coupon.coupon_id for coupon in coupons.list(ANN, 2, ids[4])] == [ids[2], ids[1]]


def test_usable_is_what_an_order_could_use_now(coupons: Coupons, database: Database) -> None:
    """Neither withdrawn, nor too early, nor too late, nor used up, by all or by this user, nor another's."""
    now = now_ms()
    good = [
        made(coupons),
        made(coupons, user_id="ann", starts_at=now - 1000, ends_at=now + 100_000),
        made(coupons, uses_per_user=2),
    ]
    bad = [
        coupons.withdraw(made(coupons).coupon_id),
        made(coupons, starts_at=now + 100_000),
        made(coupons, ends_at=now),
        made(coupons, uses=1),
        made(coupons),
    ]
    took(database, good[2], "ann", 1)
    took(database, bad[3], "bob", 2)
    took(database, bad[4], "ann", 3)
    made(coupons, user_id="bob")
    usable = {coupon.coupon_id for coupon in coupons.list(ANN, 50, None, usable=True)}
    unusable = {coupon.coupon_id for coupon in coupons.list(ANN, 50, None, usable=False)}
    assert usable == {coupon.coupon_id for coupon in good}
    assert unusable == {coupon.coupon_id for coupon in bad}
    assert good[1].coupon_id not in {coupon.coupon_id for coupon in coupons.list(ADMIN, 50, None, usable=True)}
    for coupon in good:
        assert coupons.by_code(coupon.code, ANN).coupon_id == coupon.coupon_id
    for coupon in bad:
        with pytest.raises(NotFound):
            coupons.by_code(coupon.code, ANN)
    with pytest.raises(NotFound):
        coupons.by_code(good[1].code, BOB)


def test_withdrawing_changes_the_rules_once(coupons: Coupons) -> None:
    """Their version rises, so that no order that was priced before relies on it; again: nothing."""
    coupon = made(coupons)
    once = coupons.withdraw(coupon.coupon_id)
    assert (once.withdrawn, once.version) == (True, coupon.version + 1)
    assert coupons.withdraw(coupon.coupon_id) == once
    with pytest.raises(NotFound):
        coupons.withdraw(999)


def test_looking_up_leaves_unknown_ones_out(coupons: Coupons) -> None:
    """Whichever user they belong to: it is for the order service."""
    one, anns = made(coupons), made(coupons, user_id="ann")
    assert set(coupons.lookup([one.coupon_id, anns.coupon_id, 999])) == {one, anns}


BODY: dict[str, Any] = {"kind": "amount", "value": 500, "currency": "EUR", "uses": 3}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"value": 0}, "value"),
        ({"kind": "percent", "value": 101}, "value"),
        ({"currency": None}, "currency"),
        ({"kind": "gift"}, "kind"),
        ({"uses": 0}, "uses"),
        ({"uses_per_user": 0}, "uses_per_user"),
        ({"minimum_amount": -1}, "minimum_amount"),
        ({"code": "two words"}, "code"),
        ({"code": ""}, "code"),
        ({"user_id": ""}, "user_id"),
        ({"starts_at": "2026-01-01"}, "starts_at"),
        ({"starts_at": "2026-01-01T00:00:00"}, "starts_at"),
        ({"starts_at": 1}, "starts_at"),
        ({"ends_at": "1969-12-31T23:59:59Z"}, "ends_at"),
        ({"ends_at": "9999-12-31T23:59:59-01:00"}, "ends_at"),
        ({"ends_at": "2026-13-01T00:00:00Z"}, "ends_at"),
        ({"starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z"}, "ends_at"),
    ],
)
def test_what_no_coupon_may_be(change: dict[str, Any], pointer: str) -> None:
    """Refused, with the place that is wrong."""
    with pytest.raises(ValidationError) as refused:
        schema.NewCoupon.model_validate_json(json.dumps(BODY | change))
    assert [error["loc"] for error in refused.value.errors()] == [(pointer,)]


def test_an_amount_needs_a_currency_and_a_percentage_none() -> None:
    """And what is left out has a default."""
    with pytest.raises(ValidationError):
        schema.NewCoupon.model_validate({"kind": "amount", "value": 1, "uses": 1})
    percent = schema.NewCoupon.model_validate({"kind": "percent", "value": 100, "uses": 1}).parsed()
    assert percent == replace(OFF, kind="percent", value=100, currency=None, uses=1)


def test_times_of_any_offset_are_the_same_time() -> None:
    """Written in UTC, whatever the offset they came with; small letters are letters too."""
    body = '{"kind":"percent","value":1,"uses":1,"starts_at":"2026-01-02t01:00:00.5+01:00"}'
    new = schema.NewCoupon.model_validate_json(body)
    assert new.starts_at == 1_767_312_000_500
    assert '"starts_at":"2026-01-02T00:00:00.500Z"' in new.model_dump_json()


def test_what_is_shown_adds_up(coupons: Coupons, database: Database) -> None:
    """`uses = free + held + used`."""
    coupon = made(coupons, uses=3)
    took(database, coupon, "ann", 1)
    took(database, coupon, "bob", 2)
    coupon_reservations(database).settle({2: (1, "paid")})
    shown = schema.CouponOut.of_attributes(coupons.get(coupon.coupon_id, ANN))
    assert (shown.uses, shown.free, shown.held, shown.used) == (3, 1, 1, 1)
