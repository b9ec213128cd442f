"""All open purchases of a sale, however many."""

from collections.abc import Iterator
from typing import Final

from flash.pieces.port import Pieces, Purchase

MOST_PAGES: Final = 400
"""Pages of `MOST` that are asked for at once, some 100,000 purchases; a caller that needs all of them sees that there
are more."""
EVERY_ID: Final = 2**63 - 1
"""Above every id."""


def pages_of_open(pieces: Pieces, sale_id: int, *, before: int = EVERY_ID) -> Iterator[list[Purchase]]:
    """Yield the open purchases of a sale with ids below `before`, page by page, lowest first, to the very end.

    Raise as `Pieces.open_purchases` does.
    """
    after = 0
    while page := pieces.open_purchases(sale_id, before=before, after=after):
        yield page
        after = page[-1].purchase_id
