"""One buyer's way through a sale: a look first, then a place in a batch of those that take pieces."""

from collections.abc import Callable, Sequence
from typing import Final

from flash.model import Sale, SaleState
from flash.pieces.port import Buyer, Look, Pieces, Purchase
from flash.service.buying import Wanted, refusal_by
from flash.service.reading import SaleReader
from halfmessage.errors import NotFound
from halfmessage.ids import IdSource

_ASKED: Final = 16  # sales that a purchase is looked for in, the newest of those that are not done


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
    ) -> None:
        """Take what reads sales, the store of pieces, what issues ids, and what looks and takes for many at a time.

        `forgotten` is told of a sale that the store does not know.
        """
        self._reader = reader
        self._pieces = pieces
        self._ids = ids
        self._look = look
        self._take = take
        self._forgotten = forgotten

    def buy(self, sale_id: int, user_id: str, quantity: int) -> int:
        """Return the id of the purchase that was taken in.

        Raise `NotFound`, `Invalid`, `NotStarted`, `Ended`, `SoldOut`, `AlreadyBought`, `Unavailable` (nothing was
        bought) or `OutcomeUnknown`.
        """
        sale = self._reader.known(sale_id)
        look = self._look((sale_id, user_id))
        if look is None or not look.is_ready:
            self._forgotten(sale_id)
        refusal = refusal_by(look, sale, user_id, quantity)
        if refusal is not None:
            raise refusal
        return self._take(Wanted(sale, Buyer(self._ids.next(), user_id, quantity)))

    def find(self, purchase_id: int) -> tuple[int, Purchase]:
        """Return a purchase and its sale's id, of a sale that is not done. Raise `NotFound` or `Unavailable`."""
        for sale in self._not_done():
            found = self._pieces.find(sale.sale_id, [purchase_id]).get(purchase_id)
            if found is not None:
                return sale.sale_id, found
        raise NotFound("There is no such purchase.")

    def _not_done(self) -> Sequence[Sale]:
        found = self._reader.newest(_ASKED, None, is_open=None)
        return [sale for sale in found if sale.state != SaleState.DONE]
