"""An effect for things that have so many uses each, of which one user may have so many: coupons, wraps, places.

A thing's row is the lock of all that is counted about it: a change of a count holds it, taken in the order of ids.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Column, Connection, Row, Table, insert

from halfmessage.clock import now_ms
from halfmessage.participant.counts import Counts, Tallies
from halfmessage.participant.effect import Direct, Members, Refusal
from halfmessage.participant.model import UseState, use_of
from halfmessage.participant.states import States


@dataclass(frozen=True, slots=True)
class Use:
    """The use that an order wants: of which thing, and for whom. What else decides about it, a subclass adds."""

    thing_id: int
    user_id: str

    @property
    def user(self) -> str:
        """Whose uses of which thing are counted."""
        return use_of(self.thing_id, self.user_id)


Wanted = TypeVar("Wanted", bound=Use)


class Limited(Direct[Wanted], Generic[Wanted]):
    """Takes a use of a thing for each order, gives it back, or lets it be used up."""

    def __init__(self, thing: Column[int], uses: Table, users: Table) -> None:
        """Take the key of the things, whose rows count `held` and `used`, and the tables of `use_tables`."""
        self._thing = thing.name
        self._uses_table = uses
        self._things = Counts(thing, "held", "used")
        self._uses: States[int] = States(uses.c.order_id, uses.c.state)
        (user,) = users.primary_key
        self._users = Tallies(user, "taken")

    @property
    def held(self) -> Table:
        """See `Effect`."""
        return self._uses_table

    @abstractmethod
    def refusal(self, thing: Row[Any] | None, want: Wanted, now: int, more: int, taken: int) -> Refusal | None:
        """Return why an order gets no use of a thing, None where it does; the thing's row is locked, if there is one.

        `now` in ms; so many uses `more` are taken than the row counts, and so many are `taken` by this user.
        """

    def begin(self, connection: Connection, wants: Mapping[int, Wanted]) -> None:
        """Lock their things, in one order for everybody."""
        self._things.lock(connection, {want.thing_id for want in wants.values()})

    def take(self, connection: Connection, order_id: int, want: Wanted) -> Refusal | None:
        """Take one."""
        return self.take_all(connection, {order_id: want}).get(order_id)

    def take_all(self, connection: Connection, wants: Mapping[int, Wanted]) -> dict[int, Refusal]:
        """Look at all under their locks; decide; take with few statements."""
        things = self._things.lock(connection, {want.thing_id for want in wants.values()})
        known = self._users.known(connection, {want.user for want in wants.values()})
        taken, more = Counter(known), Counter[int]()
        refused: dict[int, Refusal] = {}
        now = now_ms()
        for order_id, want in wants.items():
            refusal = self.refusal(things.get(want.thing_id), want, now, more[want.thing_id], taken[want.user])
            if refusal is not None:
                refused[order_id] = refusal
                continue
            more[want.thing_id] += 1
            taken[want.user] += 1
        self._write(connection, {order_id: want for order_id, want in wants.items() if order_id not in refused}, known)
        return refused

    def _write(self, connection: Connection, wants: Mapping[int, Wanted], known: Collection[str]) -> None:
        """Count and note the uses of orders (order id → want); `known`: the users that have a count already."""
        if not wants:
            return
        self._count(connection, (want.thing_id for want in wants.values()), held=1)
        self._users.count(connection, Counter(want.user for want in wants.values()), known)
        rows = [
            {"order_id": order_id, self._thing: want.thing_id, "user_id": want.user_id, "state": UseState.HELD.value}
            for order_id, want in wants.items()
        ]
        connection.execute(insert(self._uses_table), rows)

    def give_back(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Free their uses, used ones too: the order service alone knows whether an order stands."""
        rows = self._locked(connection, order_ids, {UseState.HELD, UseState.USED})
        self._count(connection, self._of(rows, UseState.HELD), held=-1)
        self._count(connection, self._of(rows, UseState.USED), used=-1)
        users = Counter(use_of(getattr(row, self._thing), row.user_id) for row in rows)
        self._users.add(connection, {user: (-uses,) for user, uses in users.items()})
        self._uses.move(connection, (row.order_id for row in rows), UseState.FREE.value)

    def paid(self, connection: Connection, order_ids: Collection[int]) -> None:
        """Move what they hold to used; again: nothing."""
        rows = self._locked(connection, order_ids, {UseState.HELD})
        self._count(connection, (getattr(row, self._thing) for row in rows), held=-1, used=1)
        self._uses.move(connection, (row.order_id for row in rows), UseState.USED.value)

    def describe(self, connection: Connection, order_id: int) -> Members:
        """Return the thing's id, and whether its use is used up: the order is paid."""
        for row in self._uses.find(connection, [order_id]):
            return {self._thing: getattr(row, self._thing), "used": row.state == UseState.USED}
        return {}

    def _locked(
        self, connection: Connection, order_ids: Collection[int], states: Collection[UseState]
    ) -> list[Row[Any]]:
        """Return those of the orders' uses that are in one of the states, their things locked; their headers are."""
        rows = [row for row in self._uses.find(connection, order_ids) if row.state in states]
        self._things.lock(connection, {getattr(row, self._thing) for row in rows})
        return rows

    def _of(self, rows: Iterable[Row[Any]], state: UseState) -> Iterable[int]:
        return (getattr(row, self._thing) for row in rows if row.state == state)

    def _count(self, connection: Connection, things: Iterable[int], *, held: int = 0, used: int = 0) -> None:
        """Add to what things count: `held` and `used`, as often as a thing is named."""
        times = Counter(things)
        self._things.add(connection, {thing: (held * uses, used * uses) for thing, uses in times.items()})
