"""Flash sales of a deployment, in their database and their store of pieces, as the command line has them."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import select

from common import schema_version
from common.db import Database
from flash.model import Sale, sales
from flash.model import pieces as tables
from flash.pieces.factory import store_of
from flash.pieces.port import Phase, Pieces
from flash.service.reading import COLUMNS, sale_of
from flash.service.rebuilding import rebuild_sale
from flash.service.showing import Showing
from flash.service.surveying import Surveying
from halfmessage.clock import rfc3339
from halfmessage.errors import NotFound, Unavailable
from ops.deployment import Deployment
from ops.errors import CommandFailed
from ops.purchases import under_way
from ops.sales import LIVE

_PAGE: Final = 100  # sales read together


@dataclass(frozen=True, slots=True)
class SaleLine:
    """A sale, as a list has it. `held`: pieces that orders hold; `left`: None while that is not known."""

    sale_id: str
    name: str
    state: str
    phase: str
    quantity: int
    owned: int
    held: int
    left: int | None
    starts_at: str
    ends_at: str


@dataclass(frozen=True, slots=True)
class SaleSheet(SaleLine):
    """All that is known of a sale. `purchases`: how many there are, by fate; `store`: what the store counts.

    `under_way`: purchases that took pieces and are no row yet. `waits_for`: why it is not done.
    """

    goods_id: str
    unit_price: int
    currency: str
    per_user: int
    created_at: str
    closed_at: str | None
    stock_has_heard: bool
    purchases: dict[str, int]
    under_way: int | None
    waits_for: list[str]
    store: dict[str, int] | None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A sale that the store was told anew; `wrong`: purchases that it did not know as they are."""

    sale_id: str
    wrong: int


class FlashSales:
    """The flash sales of one deployment."""

    def __init__(self, database: Database, store: Pieces, hint: str) -> None:
        """Take the database of flash, and the store of pieces; `hint`: the command that lists sales."""
        self._database, self._store, self._hint = database, store, hint
        self._showing = Showing(store)

    def newest(self, limit: int) -> list[SaleLine]:
        """Return the newest sales."""
        with self._database.read() as connection:
            rows = connection.execute(select(sales).order_by(sales.c.sale_id.desc()).limit(limit)).mappings().all()
        found = ((sale_of(row), row) for row in rows)
        return [
            SaleLine(**_line(sale, *self._showing.glance(sale), row["allotted"], row["held"])) for sale, row in found
        ]

    def get(self, sale_id: int) -> SaleSheet:
        """Return one sale. Raise `CommandFailed` where there is none."""
        try:
            found = Surveying(self._database, self._store).survey(sale_id)
        except NotFound as error:
            raise self.unknown(sale_id) from error
        sale = found.sale
        return SaleSheet(
            **_line(sale, found.phase, found.left, found.owned, found.held),
            goods_id=str(sale.goods_id),
            unit_price=sale.unit_price,
            currency=sale.currency,
            per_user=sale.per_user,
            created_at=rfc3339(sale.created_at),
            closed_at=None if sale.closed_at is None else rfc3339(sale.closed_at),
            stock_has_heard=found.stock_has_heard,
            purchases=dict(found.purchases),
            under_way=found.under_way,
            waits_for=list(found.waits_for),
            store=None if found.store is None else asdict(found.store),
        )

    def rebuild(self, sale_id: int, *, anew: bool = False) -> Rebuilt:
        """Tell the store one sale anew; `anew`: it forgets first what it knows of it.

        Raise `CommandFailed`, also for a sale that it need not know any more.
        """
        with self._database.read() as connection:
            row = connection.execute(select(*_OF_SALE).where(sales.c.sale_id == sale_id)).mappings().one_or_none()
        if row is None:
            raise self.unknown(sale_id)
        if row["state"] not in LIVE:
            raise CommandFailed(
                f"Sale {sale_id} is {row['state']}: nothing of it is counted, so nothing is to be told."
            )
        self._require_store()
        if anew:
            self._store.forget(sale_id)
        return self._rebuild(sale_of(row))

    def rebuild_all(self) -> Iterator[Rebuilt]:
        """Tell the store all sales anew that it counts, one after the other, newest first. Raise `CommandFailed`."""
        self._require_store()
        before: int | None = None
        while True:
            query = select(*_OF_SALE).where(sales.c.state.in_(LIVE))
            if before is not None:
                query = query.where(sales.c.sale_id < before)
            with self._database.read() as connection:
                page = connection.execute(query.order_by(sales.c.sale_id.desc()).limit(_PAGE)).mappings().all()
            if not page:
                return
            yield from (self._rebuild(sale_of(row)) for row in page)
            before = page[-1]["sale_id"]

    def under_way(self) -> list[int]:
        """Return purchases of sales that count, which took pieces and are no row yet.

        Raise `Unavailable` where the store does not answer.
        """
        with self._database.read() as connection:
            counting = connection.scalars(select(sales.c.sale_id).where(sales.c.state.in_(LIVE)).limit(_PAGE)).all()
        found = (under_way(self._database, self._store, sale_id) for sale_id in counting)
        return [one.purchase_id for of_sale in found for one in of_sale.purchases]

    def unknown(self, sale_id: int) -> CommandFailed:
        """Return the error for a sale that there is not."""
        return CommandFailed(f"There is no sale {sale_id}: see which there are with: {self._hint}")

    def _rebuild(self, sale: Sale) -> Rebuilt:
        return Rebuilt(str(sale.sale_id), rebuild_sale(self._database, self._store, sale))

    def _require_store(self) -> None:
        try:
            self._store.ping()
        except Unavailable as error:
            raise CommandFailed(
                "The store of pieces does not answer: start what ORDERS_PIECES_URL names, and try again."
            ) from error


def _line(sale: Sale, phase: Phase, left: int | None, owned: int, held: int) -> dict[str, Any]:
    return {
        "sale_id": str(sale.sale_id),
        "name": sale.name,
        "state": sale.state,
        "phase": phase.value,
        "quantity": sale.quantity,
        "owned": owned,
        "held": held,
        "left": left,
        "starts_at": rfc3339(sale.starts_at),
        "ends_at": rfc3339(sale.ends_at),
    }


_OF_SALE: Final = [sales.c[name] for name in COLUMNS]


@contextmanager
def opened(deployment: Deployment) -> Iterator[FlashSales]:
    """Open the sales of a deployment, running or not. Raise `NoDeployment` or `OrdersError`."""
    hint = deployment.directory.hint("flash list")
    with closing(Database(deployment.database_url("flash"))) as database:
        schema_version.require("flash", database)
        with closing(store_of(deployment.settings("flash").pieces_url, database, tables)) as store:
            yield FlashSales(database, store, hint)
