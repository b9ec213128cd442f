"""One buyer's way through a sale: a look first, then a place in a batch of those that take pieces."""

from collections.abc import Callable
from typing import Final

from common.purchases import APART_MS
from flash.model import Ended, SaleState
from flash.pieces.port import Buyer, Look, Pieces, Purchase
from flash.service.buying import Wanted, refusal_by
from flash.service.queueing import Queueing, SaleUnknown, Ticket
from flash.service.reading import SaleReader
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound
from halfmessage.ids import IdSource, issued_at

_ASKED: Final = 1000  # sales that a purchase is looked for in: as many as a sweep looks at


class Purchasing:
    """Buys for one user."""

    def __init__(
        self,
        reader: SaleReader,
        pieces: Pieces,
        ids: IdSource,
        look: Callable[[tuple[int, str]], Look | None],
        take: Callable[[Wanted], int],
        forgotten: Callable[[int], object],
        *,
        admit: Callable[[tuple[int, str]], object],
        queue: Queueing,
    ) -> None:
        """Take what reads sales, the store of pieces, what issues ids, and what looks and takes for many at a time.

        `forgotten` is told of a sale that the store does not know. `admit` raises `TooManyRequests`, see `admitting`.
        `queue`: who gives and checks tickets.
        """
        self._admit = admit
        self._queue = queue
        self._reader = reader
        self._pieces = pieces
        self._ids = ids
        self._look = look
        self._take = take
        self._forgotten = forgotten

    def join(self, sale_id: int, user_id: str) -> tuple[Ticket, str]:
        """Return a user's queue ticket, and how it is written. Raise `TooManyRequests`, or as `Queueing` does."""
        self._admit((sale_id, user_id))
        try:
            return self._queue.join(sale_id, user_id)
        except SaleUnknown:  # nobody gets as far as to look at it without a ticket
            self._not_known(sale_id)
            raise

    def buy(self, sale_id: int, user_id: str, quantity: int, ticket: str | None = None) -> int:
        """Return the id of the purchase that was taken in.

        Raise `TooManyRequests`, `TicketRefused`, `NotYourTurn`, `NotFound`, `Invalid`, `NotStarted`, `Ended`,
        `SoldOut`, `AlreadyBought`, `Unavailable` (nothing was bought) or `OutcomeUnknown`.
        """
        self._admit((sale_id, user_id))
        sale = self._reader.known(sale_id)
        self._queue.check(ticket, sale, user_id)
        look = self._look((sale_id, user_id))
        if look is None or not look.is_ready:
            self._not_known(sale_id)
        refusal = refusal_by(look, sale, user_id, quantity)
        if refusal is not None:
            raise refusal
        return self._take(Wanted(sale, Buyer(self._ids.next(), user_id, quantity)))

    def _not_known(self, sale_id: int) -> None:
        """Have the store told a sale that goes on. Raise `Ended` for another: of that it may know nothing any more."""
        sale = self._reader.get(sale_id)
        if sale.state != SaleState.OPEN or sale.ends_at <= now_ms():
            raise Ended
        self._forgotten(sale_id)

    def find(self, purchase_id: int) -> tuple[int, Purchase]:
        """Return a purchase and its sale's id, of a sale that is not done where it is no row yet.

        Its id tells when it was bought, so only sales that were on then are asked. Raise `NotFound` or `Unavailable`.
        """
        known = self._reader.purchase(purchase_id)
        if known is not None:
            return known
        for sale in self._reader.on_at(issued_at(purchase_id), APART_MS, _ASKED):
            found = self._pieces.find(sale.sale_id, [purchase_id]).get(purchase_id)
            if found is not None:
                return sale.sale_id, found
        raise NotFound("There is no such purchase.")
