"""The port of a sale's pieces: taken by many buyers at once, each with a verdict, and counted.

A purchase is the local transaction of a transactional message (design, section 10): ONE call of `take` checks, takes
and writes the transaction's record. The first to write that, `take` (`committed`) or the checker's `decide`
(`aborted`), decides the message. It is the fence.

A store may lose what it was told last: Redis, killed or set back. So it never has the last word. A sale's rows (its
terms, its holdings) are the truth: `rebuilding.rebuild` tells a store all of them again, and `hold` and `give_back`
one by one. What a purchase was told only moves forward, so that both may be repeated, doubled and come out of order:

    unknown -> taken -> held (its holding is a row) -> returned        nothing leaves `returned`
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from halfmessage.clock import now_ms
from halfmessage.errors import Unavailable
from halfmessage.tx.record import Outcome

MOST: Final = 256
"""Buyers that one call of `take` has, and purchases that one call of the others names. Redis does nothing else
meanwhile: some 1 to 2 ms."""
MOST_PIECES: Final = 10_000_000
"""Pieces of one sale."""
TAKE_WITHIN: Final = 10.0
"""Seconds from a transaction's id to the call of `take`, by the store's clock; a later one is aborted, and no earlier
one is fenced. So a store that lost an `aborted` does not let the same transaction in, and one that lost a `committed`
does not abort what is just being resolved."""
ANSWER_WITHIN: Final = 5.0
"""Seconds from a transaction's id to the broker's word that its message is committed, within which a buyer may be told
that the purchase is taken in. Later, the checker may decide otherwise (where the record was lost): told is `unknown`.
The rest of `TAKE_WITHIN` is for clocks that differ."""
MOST_PLACES: Final = 1_000_000
"""Places in the queue of one sale: some 100 bytes each."""
KEEP: Final = 7 * 24 * 3600.0
"""Seconds that a transaction's record is kept, and what is known of a sale after its end. Far longer than a broker
checks back, or the returns of a sale take."""


class Verdict(StrEnum):
    """What one buyer of a call got."""

    TAKEN = "taken"
    SOLD_OUT = "sold-out"
    ALREADY_BOUGHT = "already-bought"
    OVER_LIMIT = "over-limit"
    """More than one user may have, though this one has none yet."""
    NOT_STARTED = "not-started"
    ENDED = "ended"
    UNKNOWN_SALE = "unknown-sale"
    """The store does not know the sale, or not yet all of it: it is to be rebuilt. Nothing was taken."""
    ABORTED = "aborted"
    """The transaction is decided without this purchase, or too old: nothing was taken, try again with a new one."""


class PurchaseState(StrEnum):
    """See the module."""

    TAKEN = "taken"
    HELD = "held"
    RETURNED = "returned"


class Phase(StrEnum):
    """Where a sale is, by the store's clock."""

    NOT_STARTED = "not-started"
    ON = "on"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Terms:
    """What is sold when, and to whom; times in ms since the epoch. A higher `version` replaces a lower one."""

    sale_id: int
    version: int
    quantity: int
    starts_at: int
    ends_at: int
    per_user: int
    is_ended: bool = False
    """Ended before its time. A store that was told so once does not take it back."""


@dataclass(frozen=True, slots=True)
class Buyer:
    """One who wants pieces."""

    purchase_id: int
    user_id: str
    quantity: int = 1

    def __post_init__(self) -> None:
        """Raise `ValueError` for a quantity that no sale has: none is given back by taking less than nothing."""
        if not 1 <= self.quantity <= MOST_PIECES:
            raise ValueError(f"{self.quantity} pieces: from 1 to {MOST_PIECES}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a buyer got; `first`: the id of the user's earliest purchase, where one is in the way."""

    verdict: Verdict
    first: int | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """What is known of one purchase; `tx_id` is 0 where it was learnt from rows."""

    purchase_id: int
    user_id: str
    quantity: int
    state: PurchaseState
    tx_id: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """A sale at a glance. `bought`: the first purchases of those users asked about that have one."""

    phase: Phase
    left: int
    """Never below 0, even where more was promised than there is (the store had forgotten something meanwhile)."""
    is_ready: bool
    bought: dict[str, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a sale's queue: how many are before it, and when its turn is (ms since the epoch)."""

    number: int
    turn_at: int


@dataclass(frozen=True, slots=True)
class Totals:
    """A sale's counts, for those who reconcile. `pieces`: in purchases that are taken or held."""

    quantity: int
    pieces: int
    taken: int
    """Purchases, as the next two."""
    held: int
    returned: int
    aborted: int
    """Transactions that the checker decided."""


def in_step(store_ms: int, within_ms: int) -> None:
    """Raise `Unavailable` where the store's clock is so far from ours that `take` finds every transaction too old."""
    ahead = store_ms - now_ms()
    if abs(ahead) >= within_ms:
        which = "ahead of" if ahead > 0 else "behind"
        raise Unavailable(
            f"The clock of the store of pieces is {abs(ahead) / 1000:.0f} s {which} ours: nothing is sold."
        )


class Pieces(Protocol):
    """A store of pieces. Thread-safe; any number of processes share it.

    All methods raise `Unavailable` or `OutcomeUnknown` where the store does not answer: call again, nothing is changed
    twice. Only of `take` one must know which, see there. At most `MOST` of everything in a call, else `ValueError`.
    """

    def take(self, sale_id: int, tx_id: int, buyers: Sequence[Buyer]) -> list[Answer]:
        """Take pieces for buyers, in their order, and write the record `committed` if any got some: all or nothing.

        Repeated with the same transaction it answers the same of those that were taken, `ABORTED` of the others, and
        takes nothing. Raise `Unavailable` (nothing was taken: roll the message back) or `OutcomeUnknown` (leave it to
        the check-back).
        """

    def look(self, sale_id: int, user_ids: Sequence[str] = ()) -> Look | None:
        """Return the sale at a glance; None: not known here."""

    def decide(self, sale_id: int, tx_id: int) -> Outcome | None:
        """Return how a transaction ended; where there is no record, decide it as `aborted`.

        None: it is younger than `TAKE_WITHIN` and may still take; ask again. `EXPIRED`: older than records are kept.
        """

    def hold(self, sale_id: int, purchases: Sequence[Buyer]) -> list[bool]:
        """Say that holdings of these purchases are rows; return for each whether the store had forgotten it.

        One that it had forgotten is counted from now on, whatever is left. One that is returned stays so.
        """

    def give_back(self, sale_id: int, purchases: Sequence[Buyer]) -> list[bool]:
        """Bring the pieces of purchases back, each once; return for each whether it brought any.

        One that is not known here is noted as returned, so that it can't be taken, nor held, any more.
        """

    def put(self, terms: Terms) -> None:
        """Make a sale known, not yet ready, or change its terms, unless they are as new already."""

    def set_ready(self, sale_id: int) -> None:
        """Say that all rows of a sale were told: it sells from now on, within its times. Raise `NotFound`."""

    def end(self, sale_id: int) -> None:
        """End a sale at once and for good: what is left after it is left for ever, but for what is given back."""

    def find(self, sale_id: int, purchase_ids: Sequence[int]) -> dict[int, Purchase]:
        """Return those of the purchases that are known."""

    def open_purchases(self, sale_id: int, *, before: int, after: int = 0, limit: int = MOST) -> list[Purchase]:
        """Return purchases that are taken and neither held nor returned, lowest id first; none: there are no more.

        With ids below `before` and above `after`, the last one of the page before.
        """

    def forget(self, sale_id: int) -> None:
        """Forget a sale, all its purchases and their counts at once: it sells nothing until it is told anew.

        Its queue is kept, and so are records of transactions: none takes again. So is when that was.
        """

    def forgotten_till(self, sale_id: int) -> int:
        """Return until when transactions were begun (ms since the epoch) that may have taken what was forgotten.

        That is `TAKE_WITHIN` after the sale was forgotten (`forget`) last; 0: it was not, as long as records are kept.
        """

    def queue(self, sale_id: int, user_ids: Sequence[str], *, between: int) -> list[Place | None] | None:
        """Return the users' places in a sale's queue, in their order: who has one keeps it, others go to its end.

        Turns are at least `between` microseconds apart, and none is before the sale starts, nor before one has a place.
        None for a user: there are `MOST_PLACES` before; None: the sale is not known here. A store that loses places
        gives later ones.
        """

    def purchases(self, sale_id: int) -> Iterator[Purchase]:
        """Yield all that is known, in no order; one that changes meanwhile perhaps twice."""

    def totals(self, sale_id: int) -> Totals | None:
        """Return the counts of a sale; None: not known here."""

    def purge(self) -> int:
        """Forget what is older than `KEEP`; return how many rows that were. Redis does so by itself."""

    def incarnation(self) -> str:
        """Return what changes whenever the store may have lost something: rebuild each sale then."""

    def ping(self) -> None:
        """Raise `Unavailable` unless the store answers, and lets transactions in that are begun now (`in_step`)."""

    def close(self) -> None:
        """Close the connections."""
