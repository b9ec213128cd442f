"""A sale told to a store anew, from its rows. A sale that opens is one without holdings yet."""

from collections.abc import Iterable

from flash.pieces.port import MOST, Buyer, Pieces, Purchase, PurchaseState, Terms
from halfmessage.chunks import chunks


def rebuild(pieces: Pieces, terms: Terms, purchases: Iterable[Purchase]) -> int:
    """Tell a store the terms of a sale and what its rows say of purchases; return how many it had wrong.

    At any time, however often, from several processes at once, and while the sale goes on: nothing that was decided is
    undone, and what is under way, in the store or in a message, is counted when its row is told (`Pieces.hold`).
    Rows of one purchase: the later state last, or only that. Raise `Unavailable`: begin anew.
    """
    pieces.put(terms)
    wrong = 0
    for part in chunks(purchases, MOST):
        held: list[Buyer] = []
        returned: list[Buyer] = []
        for one in part:
            is_returned = one.state is PurchaseState.RETURNED
            (returned if is_returned else held).append(Buyer(one.purchase_id, one.user_id, one.quantity))
        wrong += sum(pieces.hold(terms.sale_id, held)) + sum(pieces.give_back(terms.sale_id, returned))
    pieces.set_ready(terms.sale_id)
    return wrong
