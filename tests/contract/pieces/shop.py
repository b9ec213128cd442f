"""A sale of a store, as tests use it: ids of now or of earlier, one buyer at a time or many."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from flash.pieces.port import Answer, Buyer, Pieces, Purchase, Terms, Totals, Verdict
from flash.pieces.rebuilding import rebuild
from halfmessage.clock import now_ms
from halfmessage.ids import first_of

HOUR: Final = 3_600_000  # ms
_NUMBERS = itertools.count(1)


def new_id(*, age: float = 0.0) -> int:
    """Return an id that nothing had before, of so many seconds ago."""
    return first_of(now_ms() - int(age * 1000)) + next(_NUMBERS)


class Shop:
    """One sale. Stores of several processes: `other`."""

    def __init__(self, pieces: Pieces, other: Callable[[], Pieces], quantity: int = 3, *, per_user: int = 1) -> None:
        """Open a sale that is on."""
        self.pieces, self.other = pieces, other
        now = now_ms()
        self.terms = Terms(new_id(), 1, quantity, now - HOUR, now + HOUR, per_user)
        self.sale_id = self.terms.sale_id
        rebuild(pieces, self.terms, ())

    def change(self, **terms: int) -> None:
        """Change its terms."""
        self.terms = replace(self.terms, version=self.terms.version + 1, **terms)
        self.pieces.put(self.terms)

    def take(self, *buyers: Buyer, tx_id: int | None = None) -> list[Answer]:
        """Have buyers take, together."""
        return self.pieces.take(self.sale_id, new_id() if tx_id is None else tx_id, buyers)

    def buy(self, user_id: str, quantity: int = 1) -> tuple[Buyer, Verdict]:
        """Have one user buy."""
        one = buyer(user_id, quantity)
        return one, self.take(one)[0].verdict

    @property
    def left(self) -> int:
        """What is left."""
        look = self.pieces.look(self.sale_id)
        assert look is not None
        return look.left

    @property
    def totals(self) -> Totals:
        """Its counts."""
        totals = self.pieces.totals(self.sale_id)
        assert totals is not None
        return totals

    def rebuild(self, purchases: Iterable[Purchase] = ()) -> int:
        """Tell the store the sale's rows."""
        return rebuild(self.pieces, self.terms, purchases)


def buyer(user_id: str, quantity: int = 1) -> Buyer:
    """Return a buyer who wants pieces."""
    return Buyer(new_id(), user_id, quantity)


def verdicts(answers: Sequence[Answer]) -> list[Verdict]:
    """Return what they got."""
    return [answer.verdict for answer in answers]
