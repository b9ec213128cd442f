"""The flash service for its own tests: everything of it but Flask and the network, its peers kept in memory."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from sqlalchemy import select

from common.idempotency import IdempotencyKey
from common.registry import PURCHASE_TOPIC
from flash import model
from flash.clients.goods import Goods, UnknownGoods
from flash.clients.orders import Fate
from flash.model import InsufficientStock, NewSale, Sale, purchases, sales
from flash.pieces.in_database import DatabasePieces
from flash.pieces.port import Buyer, Look
from flash.service.buying import Bought, Buying, Wanted
from flash.service.checking import PurchaseChecker
from flash.service.finishing import Finishing
from flash.service.holding import Want, flash_reservations
from flash.service.purchasing import Purchasing
from flash.service.queueing import Queueing
from flash.service.reading import SaleReader
from flash.service.returning import Returning
from flash.service.selling import Selling
from flash.service.showing import Showing
from flash.service.sweeping import Sweeping
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError
from halfmessage.mq.factory import open_broker
from halfmessage.mq.port import BrokerOptions, MessageView
from tests.fakes import FaultyProducer, Ids, open_database
from tests.faults import Faults

HOUR = 3_600_000  # ms
TEA = 1


class InMemoryStock:
    """Allotments by the rules of stock, out of ten pieces."""

    def __init__(self, faults: Faults) -> None:
        self.available = 10
        self.words: dict[int, tuple[int, int]] = {}
        """By sale: pieces that it owns, and the number of the word that says so."""
        self._faults = faults

    def owned(self, sale_id: int) -> int:
        return self.words.get(sale_id, (0, 0))[0]

    def allot(self, sale_id: int, goods_id: int, quantity: int, word: int) -> None:
        self._faults.passing("allot", "before")
        assert goods_id == TEA
        owned, heard = self.words.get(sale_id, (0, 0))
        if word > heard:
            if quantity - owned > self.available:
                raise InsufficientStock
            self.available -= quantity - owned
            self.words[sale_id] = quantity, word
        self._faults.passing("allot", "after")


class InMemoryOrders:
    """What became of purchases, as a test says."""

    def __init__(self, faults: Faults) -> None:
        self.known: dict[int, Fate] = {}
        self.asked: list[Collection[int]] = []
        self._faults = faults

    def fates(self, purchase_ids: Collection[int]) -> dict[int, Fate]:
        self._faults.passing("fates", "before")
        self.asked.append(purchase_ids)
        return {one: self.known.get(one, Fate.UNKNOWN) for one in purchase_ids}


class InMemoryGoods:
    """One kind of tea."""

    def get(self, goods_id: int) -> Goods:
        if goods_id != TEA:
            raise UnknownGoods(errors=[{"pointer": "/goods_id", "message": "unknown"}])
        return Goods("Tea", "green", None, 300, "EUR")


class Market:
    """One process of the flash service; close it. Its half messages are checked back by `check_back` alone."""

    def __init__(self, directory: Path) -> None:
        self.ids, self.faults = Ids(), Faults()
        self.database = open_database(directory / "flash.db", model.metadata)
        self.pieces = DatabasePieces(self.database, model.pieces)
        self.stock, self.orders = InMemoryStock(self.faults), InMemoryOrders(self.faults)
        stock: Any = self.stock
        orders: Any = self.orders
        goods: Any = InMemoryGoods()
        self.broker = open_broker(f"embedded:///{directory}/broker.db", BrokerOptions())
        self.console = self.broker.console()
        self.producer = FaultyProducer(self.broker.producer("flash"), self.faults)
        self.reader = SaleReader(self.database)
        self.finishing = Finishing(self.database, self.pieces, stock, drained_after=600.0)
        self.returning = Returning(self.database, self.pieces, orders)
        self.found: dict[str, int] = {}
        self.sweeping = Sweeping(
            self.database,
            self.pieces,
            orders,
            self.producer,
            self.returning,
            self.finishing,
            0.0,
            lambda what, number: self.found.update({what: self.found.get(what, 0) + number}),
        )
        self.buying = Buying(self.producer, self.pieces, self.ids, lambda *_: None)
        self.selling = Selling(
            *(self.database, self.reader, goods, stock, self.pieces, self.ids, self.finishing.finish),
            self.sweeping.forgotten,
        )
        nothing: Any = None
        self.purchasing = Purchasing(
            *(self.reader, self.pieces, self.ids, self._look, self._take, self.sweeping.forgotten),
            admit=lambda _: None,
            queue=Queueing(self.reader, nothing, nothing),
        )
        self.showing = Showing(self.pieces)
        self.reservations = flash_reservations(self.database, self.pieces)
        self.checker = PurchaseChecker(self.pieces)

    def close(self) -> None:
        self.broker.close()
        self.database.close()

    def _look(self, asked: tuple[int, str]) -> Look | None:
        return self.pieces.look(asked[0], [asked[1]])

    def _take(self, wanted: Wanted) -> int:
        (answer,) = self.buying.buy([wanted])
        if isinstance(answer, HalfMessageError):
            raise answer
        return answer

    def open(self, quantity: int = 3, *, key: str | None = None, **changed: Any) -> Sale:
        """Open a sale that goes on."""
        now = now_ms()
        terms: dict[str, Any] = {
            "goods_id": TEA, "quantity": quantity, "unit_price": 99, "per_user": 1, "starts_at": now - HOUR,
            "ends_at": now + HOUR,
        }  # fmt: skip
        idempotency = None if key is None else IdempotencyKey("boss", key, str(quantity))
        return self.selling.open(NewSale(**terms | changed), idempotency).answer

    def buy(self, sale: Sale, *users: str, quantity: int = 1) -> list[Bought]:
        """Buy in one batch."""
        return self.buying.buy([Wanted(sale, Buyer(self.ids.next(), user, quantity)) for user in users])

    def bought(self, sale: Sale, user: str, quantity: int = 1) -> int:
        """Buy, which must be taken in; return the purchase."""
        (answer,) = self.buy(sale, user, quantity=quantity)
        assert isinstance(answer, int), answer
        return answer

    def hold(self, sale: Sale, purchase_id: int, order_id: int, user: str = "ann", quantity: int = 1) -> str:
        """Hold a purchase for an order; return the verdict."""
        purchased_in = self.pieces.find(sale.sale_id, [purchase_id])
        tx_id = purchased_in[purchase_id].tx_id if purchase_id in purchased_in else None
        want = Want(sale.sale_id, purchase_id, user, quantity, tx_id or None)
        return self.reservations.deduct(1, {order_id: want})[0].verdict

    def left(self, sale: Sale) -> int | None:
        return self.showing.glance(sale)[1]

    def row(self, sale: Sale) -> Any:
        with self.database.read() as connection:
            return connection.execute(select(sales).where(sales.c.sale_id == sale.sale_id)).one()

    def fate(self, purchase_id: int) -> str | None:
        with self.database.read() as connection:
            query = select(purchases.c.fate).where(purchases.c.purchase_id == purchase_id)
            return connection.scalar(query)

    def messages(self) -> list[MessageView]:
        """Return the messages of purchases, oldest first."""
        return self.console.find(topic=PURCHASE_TOPIC)[::-1]
