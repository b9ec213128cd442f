"""A sale's queue: a signed ticket has a place in it, and lets its user buy from its turn on.

The place is the user's for good: who asks again has the same, so that nothing is won by it. What a ticket says is what
was signed, so a store that loses places changes no ticket.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from common.buckets import whole_seconds
from flash.model import Ended, NoQueue, NotYourTurn, QueueFull, Sale, TicketRefused
from flash.pieces.port import Pieces, Place
from flash.service.reading import SaleReader
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError, Unavailable

LASTS: Final = 600
"""Seconds that a ticket is good for from its turn on; one that was asked for later, from then on."""
LONGEST: Final = 512
"""Characters of a ticket."""
_ALGORITHM, _AUDIENCE = "HS256", "orders/flash-queue"
_CLAIMS: Final = ("aud", "sub", "exp", "sale", "place", "turn")
_US: Final = 1_000_000  # microseconds of a second

Joining = tuple[int, int, str]
"""The id of a sale, how many have their turn in a second, from 1, and the user."""


class SaleUnknown(Unavailable):
    """The sale is being counted anew; try again."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Whose place in which sale's queue; times in ms since the epoch."""

    sale_id: int
    user_id: str
    place: Place
    expires_at: int


class Tickets:
    """Writes and reads tickets: JWTs (RFC 7519) with an audience of their own, so that none is taken for a token."""

    def __init__(self, secret: str) -> None:
        """Take the secret of the deployment; the key of tickets is derived from it, for this purpose alone."""
        self._key = hmac.digest(secret.encode(), b"flash queue tickets", "sha256")

    def write(self, ticket: Ticket) -> str:
        """Return a ticket as its user has it."""
        claims = {"aud": _AUDIENCE, "sub": ticket.user_id, "exp": ticket.expires_at // 1000}
        claims |= {"sale": str(ticket.sale_id), "place": ticket.place.number, "turn": ticket.place.turn_at}
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def turn(self, text: str | None, sale_id: int, user_id: str) -> int:
        """Return when a ticket's turn is (ms since the epoch). Raise `TicketRefused` for none of this user's here."""
        if text is None:
            raise TicketRefused
        try:
            claims: dict[str, Any] = jwt.decode(
                text, self._key, algorithms=[_ALGORITHM], audience=_AUDIENCE, options={"require": list(_CLAIMS)}
            )
        except jwt.InvalidTokenError as error:
            raise TicketRefused from error
        if (claims["sale"], claims["sub"]) != (str(sale_id), user_id):
            raise TicketRefused
        return int(claims["turn"])


class Placing:
    """Gives places to those who ask meanwhile, together."""

    def __init__(self, pieces: Pieces) -> None:
        """Take the store of pieces."""
        self._pieces = pieces

    def place(self, asked: Sequence[Joining]) -> list[Place | HalfMessageError]:
        """Return the place of each, in their order, or why there is none."""
        of_sales: dict[tuple[int, int], dict[str, None]] = {}
        for sale_id, per_second, user_id in asked:
            of_sales.setdefault((sale_id, per_second), {})[user_id] = None
        found: dict[Joining, Place | HalfMessageError] = {}
        for (sale_id, per_second), users in of_sales.items():
            places = self._pieces.queue(sale_id, list(users), between=max(1, _US // per_second))
            for number, user_id in enumerate(users):
                if places is None:
                    found[sale_id, per_second, user_id] = SaleUnknown()
                else:
                    found[sale_id, per_second, user_id] = places[number] or QueueFull()
        return [found[one] for one in asked]


class Queueing:
    """Gives tickets, and checks them, of sales that have a queue."""

    def __init__(
        self, reader: SaleReader, tickets: Tickets, place: Callable[[Joining], Place], *, per_second: int = 0
    ) -> None:
        """Take what reads sales, what writes tickets, and what gives places to many at a time.

        `per_second`: how many have their turn in a second where a sale does not say; 0: buyers do not queue there.
        """
        self._reader, self._tickets, self._place = reader, tickets, place
        self._per_second = per_second

    def rate(self, sale: Sale) -> int:
        """Return how many buyers have their turn in a second; 0: the sale has no queue."""
        return self._per_second if sale.queue_rate is None else sale.queue_rate

    def join(self, sale_id: int, user_id: str) -> tuple[Ticket, str]:
        """Return a user's ticket, and how it is written; again: of the same place.

        Raise `NotFound`, `NoQueue`, `Ended`, `QueueFull`, `SaleUnknown` (to the store) or `Unavailable`.
        """
        now, sale = now_ms(), self._reader.known(sale_id)
        rate = self.rate(sale)
        if not rate:
            raise NoQueue
        if sale.ends_at <= now:
            raise Ended
        place = self._place((sale_id, rate, user_id))
        ticket = Ticket(sale_id, user_id, place, max(now, place.turn_at) + LASTS * 1000)
        return ticket, self._tickets.write(ticket)

    def check(self, text: str | None, sale: Sale, user_id: str) -> None:
        """Let a user buy whose turn has come, or where none queue. Raise `TicketRefused` or `NotYourTurn`."""
        if not self.rate(sale):
            return
        wait = self._tickets.turn(text, sale.sale_id, user_id) - now_ms()
        if wait > 0:
            raise NotYourTurn(whole_seconds(wait / 1000))
