"""What each buyer of a call gets, reckoned from what is known of the sale: the same rules as in `lua/take.lua`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flash.pieces.port import Answer, Buyer, Phase, Terms, Verdict

Had = tuple[int, int]
"""Pieces that a user has, and the id of the first purchase."""

_CLOSED = {Phase.NOT_STARTED: Verdict.NOT_STARTED, Phase.ENDED: Verdict.ENDED}


def phase_of(terms: Terms, now: int) -> Phase:
    """Return where a sale is at a time (ms since the epoch). It starts at `starts_at`, and is over at `ends_at`."""
    if terms.is_ended or now >= terms.ends_at:
        return Phase.ENDED
    return Phase.NOT_STARTED if now < terms.starts_at else Phase.ON


@dataclass
class Taking:
    """One call, buyer by buyer. What they get is only in here until it is written."""

    terms: Terms
    left: int
    phase: Phase
    known: set[int]
    had: dict[str, Had]

    def answer_all(self, buyers: Sequence[Buyer]) -> list[Answer]:
        """Return what each gets, in their order."""
        return [self._answer(buyer) for buyer in buyers]

    def _answer(self, buyer: Buyer) -> Answer:
        if buyer.purchase_id in self.known:  # returned, or another transaction's
            return Answer(Verdict.ABORTED)
        if (closed := _CLOSED.get(self.phase)) is not None:
            return Answer(closed)
        pieces, first = self.had.get(buyer.user_id, (0, buyer.purchase_id))
        if pieces + buyer.quantity > self.terms.per_user:
            return Answer(Verdict.ALREADY_BOUGHT, first) if pieces else Answer(Verdict.OVER_LIMIT)
        if buyer.quantity > self.left:
            return Answer(Verdict.SOLD_OUT)
        self.left -= buyer.quantity
        self.known.add(buyer.purchase_id)
        self.had[buyer.user_id] = (pieces + buyer.quantity, first)
        return Answer(Verdict.TAKEN)


def all_of(verdict: Verdict, buyers: Sequence[Buyer]) -> list[Answer]:
    """Return one verdict for each."""
    return [Answer(verdict)] * len(buyers)


def again(buyers: Sequence[Buyer], taken: Mapping[int, bool]) -> list[Answer]:
    """Return the answers of a call whose transaction took something before: nothing more is taken by it."""
    return [Answer(Verdict.TAKEN if taken.get(one.purchase_id) else Verdict.ABORTED) for one in buyers]


def bounded(count: int, most: int) -> None:
    """Raise `ValueError` for a call of more than it may have."""
    if count > most:
        raise ValueError(f"{count} in one call: at most {most}")
