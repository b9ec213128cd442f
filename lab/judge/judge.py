"""Judges the databases of a deployment at rest, by SQL and page by page: exact, also with millions of orders."""

from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

from common.registry import PARTICIPANTS, SANDBOX
from lab.judge.agreement import agreement, held
from lab.judge.coupons import coupons
from lab.judge.databases import read, snapshot
from lab.judge.flash import sales
from lab.judge.invariant import Invariant
from lab.judge.money import money
from lab.judge.orders import orders_alone
from lab.judge.stock import conservation
from ops.deployment import Deployment
from ops.errors import NotInTime
from ops.waiting import wait_for

_LOOK_EVERY = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Judge:
    """The databases' URLs; None: there is none. `others`: of further participants, each needed by every order.

    Each answer may take `patience` seconds.

    Of each kind of wrong `most` lines are told, and how many more there are; None: all.
    """

    order: str
    stock: str
    coupon: str | None = None
    pay: str | None = None
    sandbox: str | None = None
    flash: str | None = None
    patience: float = 10.0
    most: int | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, deployment: Deployment, *, patience: float = 10.0, most: int | None = None) -> Self:
        """Return the judge of a deployment."""
        services = deployment.plan.services
        urls = {name: deployment.database_url(name) for name in (*PARTICIPANTS, SANDBOX) if name in services}
        own = {name: urls.pop(name, None) for name in ("coupon", "pay", SANDBOX, "flash")}
        return cls(
            deployment.database_url("order"), urls.pop("stock"), **own, patience=patience, most=most, others=urls
        )

    def invariants(self, acknowledged: Collection[int] = (), *, since: int = 0) -> list[Invariant]:
        """Return the invariants of docs/protocol.md as they are now; the orders `acknowledged` with 201 must exist.

        Of orders, those from the id `since` on are looked at (ids rise with time); of stock and coupons, all.
        Raise `CommandFailed`.
        """
        with ExitStack() as stack:
            orders, stock = (
                stack.enter_context(snapshot(url, patience=self.patience)) for url in (self.order, self.stock)
            )
            found = [
                conservation(stock, self.most),
                *agreement(orders, stock, since, acknowledged, self.most),
                *orders_alone(orders, since, self.most),
            ]
            if self.coupon is not None:
                coupon = stack.enter_context(snapshot(self.coupon, patience=self.patience))
                found.append(coupons(orders, coupon, self.most))
            if self.pay is not None and self.sandbox is not None:
                pay, sandbox = (
                    stack.enter_context(snapshot(url, patience=self.patience)) for url in (self.pay, self.sandbox)
                )
                found.append(money(orders, pay, sandbox, since, self.most))
            if self.flash is not None:
                flash = stack.enter_context(snapshot(self.flash, patience=self.patience))
                found.append(sales(orders, stock, flash, self.most))
            for name, url in self.others.items():
                other = stack.enter_context(snapshot(url, patience=self.patience))
                found.append(held(name, orders, other, since, self.most))
        return found

    def wrong(self, acknowledged: Collection[int] = (), *, since: int = 0) -> list[str]:
        """Return what breaks any invariant, in words. Raise `CommandFailed`."""
        return [line for one in self.invariants(acknowledged, since=since) for line in one.broken]

    def settle(self, acknowledged: Collection[int], *, since: int = 0, within: float = 30.0) -> list[str]:
        """Wait until nothing is wrong, as rollbacks may be on their way; return what is, after `within` seconds."""
        wrong: list[str] = []

        def right() -> bool:
            wrong[:] = self.wrong(acknowledged, since=since)
            return not wrong

        try:
            wait_for("the databases to agree", right, within=within, every=_LOOK_EVERY)
        except NotInTime:
            return wrong
        return []

    def newest_order(self) -> int:
        """Return the id of the newest order, 0 if there is none."""
        (((newest,),),) = read(self.order, "SELECT MAX(order_id) FROM orders")
        return int(newest or 0)

    def newest_reservation(self, first: int) -> int | None:
        """Return the newest order that stock heard of, whether it exists or not, from this id on; None: of none."""
        query = f"SELECT MAX(order_id) FROM reservations WHERE order_id >= {first:d}"  # noqa: S608 # nosec B608 - a number
        (((newest,),),) = read(self.stock, query)
        return newest if newest is None else int(newest)
