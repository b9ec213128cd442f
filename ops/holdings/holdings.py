"""Compares what a participant holds with the orders that need it. It never writes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar

from sqlalchemy import MetaData, select

from halfmessage.participant.model import ReservationState, header_table
from ops.findings import BY_HAND, REPAIR, Finding, Gravity, Limits, by_age, of_participant, wrong
from ops.ledgers import OrderRow, Orders, opened, pages
from order.clients.participant import ParticipantClient
from order.model import Status

_HEADERS = header_table(MetaData())
_LIVE = _HEADERS.c.state == ReservationState.DEDUCTED.value


@dataclass(frozen=True, slots=True)
class Header:
    """One order's reservation; the time in ms since the epoch."""

    live: bool
    created_at: int


class Holdings:
    """The database of one participant beside that of the orders: of each participant this much is known.

    It has headers, and its client at order says which orders need it.
    """

    held: ClassVar[str] = "held"
    """The word for what it does with what an order needs."""
    thing: ClassVar[str] = ""
    """The word for what an order needs of it, where that is not its name."""

    def __init__(self, name: str, url: str, orders: Orders, limits: Limits, client: type[ParticipantClient]) -> None:
        """Open it for reading; its `client` says which rows of `orders` need it.

        Raise `SchemaMismatch` where it is another release's.
        """
        self.name = name
        self.database = opened(name, url)
        self.limits = limits
        self._orders, self._needed, self._made_when_paid = orders, client.needed, client.made_when_paid

    def close(self) -> None:
        """Close it."""
        self.database.close()

    def live_ids(self) -> Iterator[Sequence[int]]:
        """Yield the ids of all orders that something is held for, page by page."""
        return pages(self.database, select(_HEADERS.c.order_id).where(_LIVE), _HEADERS.c.order_id)

    def numbers(self) -> tuple[dict[str, int], list[Finding]]:
        """Return how much was counted of what, and what does not add up."""
        return {}, []

    def judge(self, order_ids: Collection[int]) -> list[Finding]:
        """Return what is wrong with what is held for these orders."""
        if not order_ids:
            return []
        orders = self._orders.rows(order_ids)
        needing = self._orders.which(order_ids, self._needed)
        headers = self._headers(order_ids)
        details = self.details(order_ids)
        found = (
            self._judge(
                str(order_id),
                orders.get(order_id),
                headers.get(order_id),
                is_needed=order_id in needing,
                detail=details.get(order_id),
            )
            for order_id in order_ids
        )
        return of_participant(self.name, chain.from_iterable(found))

    def details(self, order_ids: Collection[int]) -> Mapping[int, Any]:  # noqa: ARG002 - for those that look closer
        """Return what is held for each order, as `differences` takes it."""
        return {}

    def differences(self, order_id: str, order: OrderRow, detail: Any) -> Iterator[Finding]:  # noqa: ARG002 - as above
        """Yield what is wrong with what is held for an order that stands; `detail` is None where nothing is."""
        yield from ()

    def remedy(self, order: OrderRow) -> str:  # noqa: ARG002 - for those that know more
        """Return what gets an order what it lacks."""
        return REPAIR

    @property
    def _thing(self) -> str:
        return self.thing or self.name

    def _headers(self, order_ids: Collection[int]) -> dict[int, Header]:
        query = select(_HEADERS).where(_HEADERS.c.order_id.in_(order_ids))
        with self.database.read() as connection:
            return {
                row.order_id: Header(row.state == ReservationState.DEDUCTED.value, row.created_at)
                for row in connection.execute(query)
            }

    def _judge(
        self, order_id: str, order: OrderRow | None, header: Header | None, *, is_needed: bool, detail: Any
    ) -> Iterator[Finding]:
        live = header if header is not None and header.live else None
        if order is None:
            if live is not None:
                what = f"{self._thing} is {self.held} for an order that does not exist"
                yield self._by_age(order_id, what, live.created_at)
        elif not order.status.stands:
            if live is not None and not order.is_returning:
                what = f"the order is {order.status}, but its {self._thing} is still {self.held}"
                yield self._by_age(order_id, what, order.over_at or 0)
        elif is_needed and header is None and order.status is Status.CREATED and self._made_when_paid:
            pass  # an order of the release before there was this participant
        elif is_needed and live is None:
            what = f"the order is {order.status}, but its {self._thing} is not {self.held}"
            yield wrong("order", order_id, what, self.remedy(order))
        elif is_needed:
            yield from self.differences(order_id, order, detail)
        elif live is not None:
            what = f"the order is {order.status} and needs no {self._thing}, but it is {self.held}"
            yield wrong("order", order_id, what, BY_HAND)

    def _by_age(self, order_id: str, what: str, since: int) -> Finding:
        return by_age(Gravity.DISAGREEMENT, "order", order_id, what, since, self.limits.grace)
