"""What the contract has to know of a participant, and what a participant is to be."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import MetaData

from common.db import Database
from common.web import Api
from halfmessage.participant.model import ReservationState
from halfmessage.participant.reservations import Reservations

Want = TypeVar("Want")
Amounts = Mapping[Hashable, int]
"""How much of each kind there is, or is held: pieces by goods, uses by coupon."""

DEDUCTED, RELEASED = ReservationState.DEDUCTED.value, ReservationState.RELEASED.value


class Case(ABC, Generic[Want]):
    """One participant: its tables, its words, and how to ask for what it has."""

    metadata: ClassVar[MetaData]
    refusal: ClassVar[str | None]
    """Its word for an order that wants more than there is; None: there is no end of what it has."""
    last: ClassVar[Any]
    """A want of something of which there is one, so that a second order is refused, or any where there is no end."""
    on_postgresql: ClassVar[bool] = True
    """Whether all that it is made of runs on PostgreSQL, as the library does."""
    wants: ClassVar[Sequence[Any]]
    """Others that six orders may want; of some there is too little for all."""

    @abstractmethod
    def prepare(self, database: Database) -> None:
        """Put into an empty database what may be wanted."""

    @abstractmethod
    def reservations(self, database: Database) -> Reservations[Want]:
        """Return the participant's reservations."""

    @abstractmethod
    def install(self, api: Api, reservations: Reservations[Want]) -> None:
        """Declare the participant's internal routes."""

    @abstractmethod
    def body(self, want: Want) -> dict[str, Any]:
        """Return a want as the body of `POST /reservations` has it, without the order's id."""

    @abstractmethod
    def free(self, database: Database) -> Amounts:
        """Return what is left of each kind, as the participant's tables say; of what has no end: less than nothing."""

    @abstractmethod
    def takes(self, want: Want) -> Amounts:
        """Return what an order with that want holds of each kind."""

    def used(self, database: Database) -> Amounts | None:  # noqa: ARG002 - of those that hear of payments
        """Return what paid orders hold of each kind; None where payments mean nothing to the participant."""
        return None


@dataclass(frozen=True, slots=True)
class Header:
    """A reservation as it is to be; no want: a tombstone."""

    state: str
    want: Any = None
    verified: bool = False
    paid: bool = False


class Model:
    """A participant as it is to be: how much there is in all, and each order's header."""

    def __init__(self, case: Case[Any], total: Amounts) -> None:
        """Take how much of each kind is free before anything is held."""
        self._case, self._total = case, total
        self.headers: dict[int, Header] = {}

    def held(self, *, paid: bool = False) -> Amounts:
        """Return what is held of each kind: by live orders, or by the paid ones of them."""
        held: Counter[Hashable] = Counter(dict.fromkeys(self._total, 0))
        for header in self.headers.values():
            if header.state == DEDUCTED and (header.paid or not paid):
                held.update(self._case.takes(header.want))
        return dict(held)

    def free(self) -> Amounts:
        """Return what is left of each kind."""
        return {kind: self._total[kind] - amount for kind, amount in self.held().items()}

    def deduct(self, order_id: int, want: Any) -> str:
        """Take for an order; return the verdict."""
        if order_id in self.headers:
            return self.headers[order_id].state
        refusal, free = self._case.refusal, self.free()
        if refusal and any(amount > free.get(kind, 0) for kind, amount in self._case.takes(want).items()):
            return refusal
        self.headers[order_id] = Header(DEDUCTED, want)
        return DEDUCTED

    def release(self, order_id: int) -> None:
        """Give back, or leave a tombstone."""
        self.headers[order_id] = replace(self.headers.get(order_id, Header(RELEASED)), state=RELEASED)

    def settle(self, order_id: int, fate: str) -> None:
        """Take the order service's word."""
        header = self.headers.get(order_id)
        if fate == "void":
            self.release(order_id)
        elif header is not None and header.state == DEDUCTED:
            self.headers[order_id] = replace(header, verified=True, paid=header.paid or fate == "paid")

    def forget(self) -> int:
        """Forget what is released; return how many orders."""
        gone = [order_id for order_id, header in self.headers.items() if header.state == RELEASED]
        for order_id in gone:
            del self.headers[order_id]
        return len(gone)
