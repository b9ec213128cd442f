"""What a participant brings: how something is taken for orders, and given back, in the transaction of their headers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Table, delete

T = TypeVar("T")
Want = TypeVar("Want")

Members = Mapping[str, Any]
"""Members of a JSON object, as the participant's schema has them."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an order got nothing: `verdict` is a word of the participant's own, `members` are told beside it."""

    verdict: str
    members: Members = field(default_factory=dict)


class Taker(ABC, Generic[Want]):
    """Takes for orders inside one database transaction, and writes down what each then holds."""

    def begin(self, connection: Connection, wants: Mapping[int, Want]) -> None:
        """Prepare for orders (order id → want): lock rows in one order for all.

        Called once in each try of a transaction that takes one order after the other, before the first `take`.
        """

    @abstractmethod
    def take(self, connection: Connection, order_id: int, want: Want) -> Refusal | None:
        """Take for one order, or return why not: then the caller rolls back to before."""

    def take_all(self, connection: Connection, wants: Mapping[int, Want]) -> dict[int, Refusal]:
        """Take for each order (order id → want) whole or not at all; return the refusals by order id.

        Called once in each try of a transaction. One order after the other, unless a participant knows a faster way.
        """
        self.begin(connection, wants)
        tried = {order_id: take_or_undo(self, connection, order_id, want) for order_id, want in wants.items()}
        return {order_id: refusal for order_id, refusal in tried.items() if refusal is not None}


def take_or_undo(taker: Taker[Want], connection: Connection, order_id: int, want: Want) -> Refusal | None:
    """Take for one order; a refusal leaves nothing behind."""
    with connection.begin_nested() as savepoint:
        refusal = taker.take(connection, order_id, want)
        if refusal is not None:
            savepoint.rollback()
    return refusal


class Effect(ABC, Generic[Want]):
    """What a participant's reservations do. Each method but `run` works in the transaction of the headers.

    The headers decide what is called: `take` for an order that has none, `give_back` for one that was live, once.
    """

    @property
    @abstractmethod
    def held(self) -> Table:
        """The rows of what orders hold, with a column `order_id`."""

    @abstractmethod
    def run(self, wants: Mapping[int, Want], transact: Callable[[Taker[Want]], T]) -> T:
        """Return what `transact` returns; it may be run again if nothing of it was committed. Raise what it does."""

    @abstractmethod
    def unfit(self, want: Want) -> Refusal:
        """Return the refusal of an order whose rows the database refuses (a CHECK, a foreign key)."""

    @abstractmethod
    def give_back(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Give back what these orders hold; they were live until now."""

    def forget(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Delete the rows of what these released orders held; at most `halfmessage.chunks.VALUES` orders."""
        connection.execute(delete(self.held).where(self.held.c.order_id.in_(order_ids)))

    @abstractmethod
    def describe(self, connection: Connection, order_id: int) -> Members:
        """Return what an order holds, or held, as members of its reservation; nothing for a tombstone."""

    def keeps(self, connection: Connection, order_ids: Collection[int]) -> Collection[int]:  # noqa: ARG002 - few do
        """Return those of these released orders that may not be forgotten yet. None, unless a participant says so."""
        return ()

    def weigh(self, connection: Connection, order_ids: Collection[int]) -> dict[int, int]:  # noqa: ARG002 - others count rows
        """Return how many rows giving back or forgetting each order changes, so that a transaction has a bound.

        Orders that are left out hold nothing. One row each, unless a participant says otherwise.
        """
        return dict.fromkeys(order_ids, 1)

    def paid(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Take note that these live orders are paid. May be told again. Nothing to do for most participants."""


class Direct(Effect[Want], Taker[Want]):
    """An effect that takes by itself, in the database's transaction alone: most participants' base."""

    def run(self, wants: Mapping[int, Want], transact: Callable[[Taker[Want]], T]) -> T:  # noqa: ARG002 - others lock
        """Run it."""
        return transact(self)
