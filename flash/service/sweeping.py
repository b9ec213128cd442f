"""What no message and no call will finish any more: openings and ends of sales, purchases, a store that has forgotten.

Every process of the service does it, as often as it likes and beside the others: each step may be repeated.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

import structlog
from sqlalchemy import Row, Select, bindparam, select

from common.db import Database
from common.purging import purge
from flash.clients.orders import Fate, OrdersClient
from flash.model import PurchaseFate, Sale, SaleState, purchases, sales
from flash.pieces.paging import MOST_PAGES, pages_of_open
from flash.pieces.port import KEEP, Buyer, Pieces, Purchase
from flash.service.buying import message_of
from flash.service.finishing import Finishing
from flash.service.reading import sale_of
from flash.service.rebuilding import rebuild_sale
from flash.service.returning import Returning
from flash.service.selling import mark_closed, void
from flash.service.turns import Turns
from halfmessage import failpoints
from halfmessage.chunks import rows_in
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from halfmessage.ids import first_of
from halfmessage.mq.port import Producer

_MOST_SALES: Final = 1000  # that one sweep looks at, the newest
_BY_IDS = select(purchases).where(purchases.c.purchase_id.in_(bindparam("purchase_ids", expanding=True)))
_LIVE: Final = (SaleState.OPEN.value, SaleState.CLOSED.value)
# Made once, for they run twice a second for as long as the process lives
_NEWEST = select(sales).order_by(sales.c.sale_id.desc()).limit(_MOST_SALES)
_ABANDONED = _NEWEST.where((sales.c.state == SaleState.OPENING.value) & (sales.c.created_at < bindparam("before")))
_OVER = _NEWEST.where((sales.c.state == SaleState.OPEN.value) & (sales.c.ends_at <= bindparam("now")))
_IS_DONE_EARLY = (sales.c.state == SaleState.DONE.value) & (sales.c.ends_at > bindparam("now"))
_ALL_LIVE = _NEWEST.where(sales.c.state.in_(_LIVE))
# Before its time is over, a store that was set back would sell in one that was closed and is done with
_ALL_TOLD = _NEWEST.where(sales.c.state.in_(_LIVE) | _IS_DONE_EARLY)
_SOME_TOLD = _ALL_TOLD.where(sales.c.sale_id.in_(bindparam("sale_ids", expanding=True)))

log = structlog.get_logger()


class Sweeping:
    """Finishes what was left open."""

    def __init__(
        self,
        database: Database,
        pieces: Pieces,
        orders: OrdersClient,
        producer: Producer,
        returning: Returning,
        finishing: Finishing,
        grace: float,
        count: Callable[[str, int], object] = lambda *_: None,
    ) -> None:
        """Take the flash service's database, the store of pieces, the order service, what sends, returns and finishes.

        What is younger than `grace` seconds is left to the process that is at it. `count` is told what was found, and
        how often.
        """
        self._database = database
        self._pieces = pieces
        self._orders = orders
        self._producer = producer
        self._returning = returning
        self._finishing = finishing
        self._grace_ms = int(grace * 1000)
        self._count = count
        self._known_as: str | None = None
        self._forgotten: set[int] = set()

    def forgotten(self, sale_id: int) -> None:
        """Have a sale told to the store anew, soon: it does not know it."""
        self._forgotten.add(sale_id)

    def often(self) -> None:
        """Do what somebody may be waiting for. Raises nothing of ours: the next round goes on."""
        self._guarded("store", self._rebuild)
        self._guarded("void", self._void)
        self._guarded("ends", self._end)
        self._guarded("returned", self._returning.run)
        self._guarded("heard", self._finishing.run)

    def sweep(self) -> None:
        """Do what is rarely to be done. Raises nothing of ours: the next round goes on."""
        self._guarded("purchases", self._look_at_purchases)
        self._guarded("purged", self._purge)

    def _guarded(self, what: str, step: Callable[[], int]) -> None:
        try:
            done = step()
        except HalfMessageError as error:
            log.warning("sales are not settled; the next round goes on", step=what, reason=error.detail)
            return
        if done:
            self._count(what, done)

    def _void(self) -> int:
        """Give up sales that somebody began to open and did not: no client was told that they stand."""
        found = self._sales(_ABANDONED, before=now_ms() - self._grace_ms)
        turns = Turns()
        turns.each(found, lambda sale: self._database.transact(partial(void, sale_id=sale.sale_id)))
        turns.end()
        return len(found)

    def _end(self) -> int:
        """Close sales whose time is over."""
        found = self._sales(_OVER, now=now_ms())
        turns = Turns()
        turns.each(found, self._close)
        turns.end()
        return len(found)

    def _close(self, sale: Sale) -> None:
        self._database.transact(partial(mark_closed, sale_id=sale.sale_id))
        failpoints.hit("sale.closed")

    def _rebuild(self) -> int:
        """Tell the store all sales anew where it may have lost something, else those that it was found not to know.

        One that can't be told keeps no other: it is told again the next time.
        """
        now_known_as = self._pieces.incarnation()
        forgotten, self._forgotten = self._forgotten, set()
        is_the_same = now_known_as == self._known_as
        if is_the_same and not forgotten:
            return 0
        try:
            found = self._some(forgotten) if is_the_same else self._sales(_ALL_TOLD, now=now_ms())
        except HalfMessageError:
            self._forgotten |= forgotten
            raise
        turns = Turns()
        failed = turns.each(found, lambda sale: rebuild_sale(self._database, self._pieces, sale))
        self._forgotten |= {sale.sale_id for sale in failed}
        self._known_as = now_known_as
        turns.end()
        return len(found)

    def _some(self, sale_ids: Collection[int]) -> list[Sale]:
        with self._database.read() as connection:
            rows = rows_in(connection, _SOME_TOLD.params(now=now_ms()), "sale_ids", sorted(sale_ids))
        return [sale_of(row._mapping) for row in rows]  # noqa: SLF001 - its public name

    def _look_at_purchases(self) -> int:
        """Look at what the store says is bought and is no row, and at what became of it."""
        before = first_of(now_ms() - self._grace_ms)
        turns, looked = Turns(), list[int]()
        turns.each(self._sales(_ALL_LIVE), lambda sale: looked.append(self._look_at_sale(sale, before)))
        turns.end()
        return sum(looked)

    def _look_at_sale(self, sale: Sale, before: int) -> int:
        pages = islice(pages_of_open(self._pieces, sale.sale_id, before=before), MOST_PAGES)
        return sum(self._look_at(sale, page) for page in pages)

    def _look_at(self, sale: Sale, bought: Sequence[Purchase]) -> int:
        rows = self._rows([one.purchase_id for one in bought])
        held = [
            one for one in bought if one.purchase_id in rows and rows[one.purchase_id].fate != PurchaseFate.RETURNED
        ]
        if held:
            self._pieces.hold(sale.sale_id, [Buyer(one.purchase_id, one.user_id, one.quantity) for one in held])
        alone = [one for one in bought if one.purchase_id not in rows]
        if alone:
            self._ask_about(sale, alone)
        return len(bought)

    def _ask_about(self, sale: Sale, bought: Sequence[Purchase]) -> None:
        fates = self._orders.fates([one.purchase_id for one in bought])
        refused = [one for one in bought if fates[one.purchase_id] is Fate.OVER]
        if refused:
            self._returning.refuse(sale.sale_id, refused)
        for one in bought:
            if fates[one.purchase_id] is Fate.UNKNOWN:  # its message is gone: the broker gave it up
                buyer = Buyer(one.purchase_id, one.user_id, one.quantity)
                self._producer.send(message_of(sale, one.tx_id or one.purchase_id, [buyer]))
                log.warning("a purchase is told again", purchase_id=str(one.purchase_id))

    def _purge(self) -> int:
        """Forget what is no longer asked for."""
        gone = (purchases.c.fate == PurchaseFate.RETURNED.value) & purchases.c.told
        old = first_of(now_ms() - int(2 * KEEP * 1000))
        return self._pieces.purge() + purge(self._database, purchases.c.purchase_id, old, gone)

    def _sales(self, query: Select[Any], **given: Any) -> list[Sale]:
        with self._database.read() as connection:
            return [sale_of(row) for row in connection.execute(query, given).mappings()]

    def _rows(self, purchase_ids: Collection[int]) -> dict[int, Row[Any]]:
        with self._database.read() as connection:
            rows = rows_in(connection, _BY_IDS, "purchase_ids", sorted(purchase_ids))
        return {row.purchase_id: row for row in rows}
