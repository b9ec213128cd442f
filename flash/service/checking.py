"""Check-backs of purchases: how their transactions ended, the store of pieces knows, or decides."""

from collections.abc import Callable

from flash.pieces.port import Pieces
from flash.service.buying import SALE_ID
from halfmessage import failpoints
from halfmessage.mq.port import CheckAnswer, Message
from halfmessage.tx.coordinator import RecordChecker
from halfmessage.tx.record import Outcome


class PurchaseChecker(RecordChecker):
    """Answers from the record beside the sale's pieces."""

    def __init__(self, pieces: Pieces, count: Callable[[CheckAnswer], None] = lambda _: None) -> None:
        """Take the store of pieces, and what counts answers."""
        super().__init__(count=count, name="purchase_check")
        self._pieces = pieces

    def outcome_of(self, tx_id: int, message: Message) -> Outcome | None:
        """See `RecordChecker`. Raise `Unavailable`, or ValueError for a message that names no sale: asked again."""
        outcome = self._pieces.decide(int(message.properties[SALE_ID]), tx_id)
        if outcome not in {None, Outcome.COMMITTED}:
            failpoints.hit("purchase_check.fenced")
        return outcome
