"""Coupons and their rules: made, found, withdrawn."""

import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from heapq import merge
from itertools import islice
from typing import Final, Literal

from sqlalchemy import ColumnElement, cast, func, literal, or_, select, true
from sqlalchemy import String as Text

from common.db import Database
from common.idempotency import Answered, IdempotencyKey, Keys
from common.rows import Rows
from coupon.model import CodeTaken, coupon_users, coupons, idempotency_keys
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow
from halfmessage.ids import IdSource

_CODE: Final = 12  # characters of a code that is made up: 60 bits, so that guesses find none
_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: none looks like another


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCoupon:
    """A coupon to make. `value`: minor units, or per cent; times in ms since the epoch, None: no bound."""

    code: str
    kind: Literal["amount", "percent"]
    value: int
    currency: str | None
    minimum_amount: int
    user_id: str | None
    uses: int
    uses_per_user: int
    starts_at: int | None
    ends_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon(NewCoupon):
    """A coupon as it is now; `version` changes with its rules, not with its uses."""

    coupon_id: int
    held: int = 0
    used: int = 0
    withdrawn: bool = False
    version: int = 1

    @property
    def free(self) -> int:
        """Uses that are neither held nor used."""
        return self.uses - self.held - self.used


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: `sees_all`, or only coupons of everybody and their own."""

    user_id: str
    sees_all: bool = False

    @property
    def visible(self) -> ColumnElement[bool]:
        """Which coupons they see."""
        return true() if self.sees_all else or_(coupons.c.user_id.is_(None), coupons.c.user_id == self.user_id)

    def usable(self, now: int) -> ColumnElement[bool]:
        """Which coupons an order of theirs could use at a time (ms); how much it buys apart."""
        key = cast(coupons.c.coupon_id, Text(20)) + literal(f" {self.user_id}")
        taken = select(coupon_users.c.taken).where(coupon_users.c.coupon_user == key).scalar_subquery()
        return (
            or_(coupons.c.user_id.is_(None), coupons.c.user_id == self.user_id)
            & ~coupons.c.withdrawn
            & or_(coupons.c.starts_at.is_(None), coupons.c.starts_at <= now)
            & or_(coupons.c.ends_at.is_(None), coupons.c.ends_at > now)
            & (coupons.c.held + coupons.c.used < coupons.c.uses)
            & (func.coalesce(taken, 0) < coupons.c.uses_per_user)
        )


class Coupons:
    """The coupons of one database."""

    def __init__(self, database: Database, ids: IdSource) -> None:
        """Keep them in `database`; take new ids from `ids`."""
        self._ids = ids
        self._made = Keys(database, idempotency_keys, lambda answer: Coupon(**answer))
        self._rows = Rows(database, coupons.c.coupon_id, Coupon)

    def make(self, new: NewCoupon, key: IdempotencyKey | None = None) -> Answered[Coupon]:
        """Store a new coupon, once for each key; without a code it gets one.

        Raise `CodeTaken`, `IdempotencyMismatch`, `Unavailable` (not stored) or `OutcomeUnknown`.
        """
        code = new.code or "".join(secrets.choice(_LETTERS) for _ in range(_CODE))
        made = Coupon(coupon_id=self._ids.next(), **asdict(replace(new, code=code)))
        try:
            return self._made.store(key, coupons, made, created_at=now_ms())
        except DuplicateRow:
            raise CodeTaken from None

    def get(self, coupon_id: int, viewer: Viewer) -> Coupon:
        """Return one. Raise `NotFound`, for one that the viewer does not see too."""
        return self._rows.first((coupons.c.coupon_id == coupon_id) & viewer.visible)

    def by_code(self, code: str, viewer: Viewer) -> Coupon:
        """Return the one with a code. Raise `NotFound`, unless an order of the viewer's could use it now."""
        return self._rows.first((coupons.c.code == code) & viewer.usable(now_ms()))

    def list(self, viewer: Viewer, limit: int, before: int | None, *, usable: bool | None = None) -> list[Coupon]:
        """Return up to `limit` coupons that the viewer sees, newest first, made before the coupon `before`.

        `usable`: only those that an order of theirs could use now, or could not.
        """
        is_usable = viewer.usable(now_ms())
        which = true() if usable is None else is_usable if usable else ~is_usable
        # Each list by its own part of the index: of what is other people's nothing is read
        whose = [true()] if viewer.sees_all else [coupons.c.user_id.is_(None), coupons.c.user_id == viewer.user_id]
        found = [self._rows.newest(limit, before, which, theirs) for theirs in whose]
        return list(islice(merge(*found, key=lambda coupon: -coupon.coupon_id), limit))

    def lookup(self, coupon_ids: Iterable[int]) -> tuple[Coupon, ...]:
        """Return those that exist, in no order."""
        return self._rows.lookup(coupon_ids)

    def withdraw(self, coupon_id: int) -> Coupon:
        """Let it be used by no further order; what is held or used stays. Raise `NotFound`, `Unavailable`."""
        withdrawn = {"withdrawn": True, "version": coupons.c.version + 1}
        return self._rows.change(coupon_id, withdrawn, ~coupons.c.withdrawn)
