"""The sandbox provider's own books, read straight from its database: what a real provider would tell in its reports."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from ops.ledgers import opened, pages
from sandbox.model import RefundState, charges, refunds, sessions

_TAKEN = select(sessions.c.payment_id, charges).join(charges, charges.c.session_id == sessions.c.session_id)
_DONE = select(refunds.c.charge_id, refunds.c.amount, refunds.c.done_at).where(
    refunds.c.state == RefundState.DONE.value
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Money that the provider took, in minor units, and what it sent back of it; times in ms since the epoch."""

    charge_id: str
    amount: int
    currency: str
    taken_at: int
    refunds: int
    refunded: int
    refunded_at: int | None


class Books:
    """The books of one deployment's sandbox."""

    def __init__(self, url: str) -> None:
        """Open them for reading. Raise `SchemaMismatch` where they are another release's."""
        self._database = opened("sandbox", url)

    def close(self) -> None:
        """Close them."""
        self._database.close()

    def ids(self) -> Iterator[Sequence[int]]:
        """Yield the ids of all payments that money was taken for, page by page."""
        taken = select(sessions.c.payment_id).join(charges, charges.c.session_id == sessions.c.session_id).distinct()
        return pages(self._database, taken, sessions.c.payment_id)

    def taken(self, payment_ids: Collection[int]) -> dict[int, list[Taken]]:
        """Return what was taken for payments."""
        with self._database.read(snapshot=True) as connection:
            rows = connection.execute(_TAKEN.where(sessions.c.payment_id.in_(payment_ids))).all()
            of_these = _DONE.where(refunds.c.charge_id.in_([row.charge_id for row in rows]))
            back: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
            for charge_id, amount, done_at in connection.execute(of_these):
                back[charge_id].append((amount, done_at))
        found: defaultdict[int, list[Taken]] = defaultdict(list)
        for row in rows:
            sent = back[row.charge_id]
            amounts, times = [amount for amount, _ in sent], [at for _, at in sent]
            found[row.payment_id].append(
                Taken(
                    *(str(row.charge_id), row.amount, row.currency, row.created_at),
                    *(len(sent), sum(amounts), max(times, default=None)),
                )
            )
        return found
