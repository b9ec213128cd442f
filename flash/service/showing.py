"""Sales at a glance: what is left, as far as the store of pieces can be asked."""

from flash.model import Sale, SaleState
from flash.pieces.port import Phase, Pieces
from halfmessage.clock import now_ms
from halfmessage.errors import Unavailable


class Showing:
    """Looks at sales for those who only look."""

    def __init__(self, pieces: Pieces) -> None:
        """Take the store of pieces."""
        self._pieces = pieces

    def glance(self, sale: Sale) -> tuple[Phase, int | None]:
        """Return where a sale is, and how many pieces can be bought; None: that is not known now."""
        if sale.state != SaleState.OPEN:
            return Phase.ENDED, 0
        try:
            look = self._pieces.look(sale.sale_id)
        except Unavailable:
            look = None
        if look is None or not look.is_ready:
            return _by_our_clock(sale), None
        return look.phase, look.left


def _by_our_clock(sale: Sale) -> Phase:
    now = now_ms()
    if now < sale.starts_at:
        return Phase.NOT_STARTED
    return Phase.ON if now < sale.ends_at else Phase.ENDED
