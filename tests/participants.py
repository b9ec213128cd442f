"""A further participant for the order service's tests, kept in memory by the protocol's rules."""

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from common.reservations.client import LiveReservation
from halfmessage.clock import now_ms, rfc3339
from halfmessage.errors import NotFound, Unavailable
from halfmessage.mq.port import Delivery, Verdict
from halfmessage.participant.event import OrderEvent
from halfmessage.participant.model import Fate
from order.clients.participant import Deduction
from order.model import Order
from tests.faults import Faults


@dataclass
class Header:
    """One order's reservation; `used` once it is known that the order is paid."""

    tx_id: int
    state: str
    created_at: int
    verified: bool = False
    used: bool = False


class InMemoryParticipant:
    """Holds something for orders; what, its subclass says. Its steps fail as planned under its name."""

    name: str

    def __init__(self, faults: Faults) -> None:
        self.headers: dict[int, Header] = {}
        self.asked: list[list[int]] = []
        self.told: list[tuple[int, int, Fate]] = []
        self._faults = faults
        self._guard = threading.Lock()

    def take(self, order: Order) -> Deduction | None:
        """Take for an order, or return why not."""
        del order

    def give_back(self, order_id: int) -> None:
        """Give back what an order holds."""

    def held(self, order_id: int) -> dict[str, Any]:
        """Return what an order holds, as its reservation tells it."""
        del order_id
        return {}

    def deduct(self, tx_id: int, orders: Sequence[Order], *, revive: bool = False) -> dict[int, Deduction]:
        self.asked.append([order.order_id for order in orders])
        self._faults.passing(f"{self.name}.deduct", "before")
        with self._guard:
            made = {order.order_id: self._deduct(tx_id, order, revive=revive) for order in orders}
        self._faults.passing(f"{self.name}.deduct", "after")
        return made

    def _deduct(self, tx_id: int, order: Order, *, revive: bool) -> Deduction:
        order_id = order.order_id
        header = self.headers.get(order_id)
        if header is not None and header.state == "deducted":
            return Deduction("deducted")
        if header is not None and not revive:
            return Deduction("released", Unavailable())
        refusal = self.take(order)
        if refusal is not None:
            return refusal
        self.headers[order_id] = Header(tx_id, "deducted", now_ms())
        return Deduction("deducted")

    def release(self, order_id: int, tx_id: int) -> None:
        with self._guard:
            header = self.headers.setdefault(order_id, Header(tx_id, "released", now_ms()))
            if header.state == "deducted":
                header.state = "released"
                self.give_back(order_id)

    def consume(self, deliveries: Sequence[Delivery]) -> list[Verdict]:
        for delivery in deliveries:
            event = OrderEvent.from_body(delivery.message.body)
            for order_id in event.order_ids:
                header = self.headers.get(order_id)
                assert header is None or not header.used, "no message releases a paid order"
                self.release(order_id, event.tx_id)
        return [Verdict.ACK] * len(deliveries)

    def unverified(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        self._faults.passing(f"{self.name}.unverified", "before")
        return [r for r in self._those_live(older_than, after) if not self.headers[r.order_id].verified][:limit]

    def live(self, *, older_than: int, after: int, limit: int) -> list[LiveReservation]:
        return self._those_live(older_than, after)[:limit]

    def _those_live(self, older_than: int, after: int) -> list[LiveReservation]:
        live = sorted((o, h) for o, h in self.headers.items() if h.state == "deducted" and h.created_at <= older_than)
        return [LiveReservation(order_id, header.tx_id) for order_id, header in live if order_id > after]

    def settle(self, fates: Sequence[tuple[int, int, Fate]]) -> dict[int, str | None]:
        self._faults.passing(f"{self.name}.settle", "before")
        self.told += fates
        for order_id, tx_id, fate in fates:
            header = self.headers.get(order_id)
            if fate == "void":
                self.release(order_id, tx_id)
            elif header is not None and header.state == "deducted":
                header.verified = True
                header.used |= fate == "paid"
        self._faults.passing(f"{self.name}.settle", "after")
        return self.states([order_id for order_id, _, _ in fates])

    def states(self, order_ids: Collection[int]) -> dict[int, str | None]:
        self._faults.passing(f"{self.name}.states", "before")
        return {o: self.headers[o].state if o in self.headers else None for o in order_ids}

    def reservation(self, order_id: int) -> dict[str, Any]:
        header = self.headers.get(order_id)
        if header is None:
            raise NotFound
        return {
            "order_id": str(order_id),
            "tx_id": str(header.tx_id),
            "state": header.state,
            **self.held(order_id),
            "created_at": rfc3339(header.created_at),
            "released_at": rfc3339(now_ms()) if header.state == "released" else None,
        }

    def state(self, order_id: int) -> str | None:
        header = self.headers.get(order_id)
        return None if header is None else header.state
