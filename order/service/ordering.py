"""What a client asks for → a priced draft → an order; the same Idempotency-Key again → the first answer again."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from common.clock import now_ms
from common.errors import CommitOutcomeUnknown, IdempotencyMismatch, Invalid, OutcomeUnknown, Unavailable
from common.idempotency import IdempotencyKey
from common.ids import IdSource
from order.clients.goods import Goods, GoodsClient
from order.model import InsufficientStock, Line, Order, Receiver, Status, UnknownGoods
from order.service.placing import Draft, KeyTaken
from order.service.reading import OrderReader

_LONGEST_TURN = 5.0  # seconds that a request waits for another one with its Idempotency-Key


@dataclass(frozen=True, slots=True)
class Request:
    """An order as a client asks for it: quantities by goods id, in the client's order."""

    user_id: str
    quantities: Mapping[int, int]
    receiver: Receiver | None
    idempotency: IdempotencyKey | None


@dataclass(frozen=True, slots=True)
class Placed:
    """The order, and whether this answer repeats an earlier one."""

    order: Order
    replayed: bool


class Ordering:
    """Turns requests into orders."""

    def __init__(
        self,
        reader: OrderReader,
        goods: GoodsClient,
        ids: IdSource,
        place: Callable[[Draft], Order],
        *,
        pay_timeout: float,
    ) -> None:
        """Take what reads, prices, issues ids and places a draft, and for how long an order may stay unpaid (s)."""
        self._reader = reader
        self._goods = goods
        self._ids = ids
        self._place = place
        self._pay_timeout_ms = int(pay_timeout * 1000)
        self._turns = _Turns()

    def order(self, request: Request) -> Placed:
        """Place one order.

        Raise `UnknownGoods`, `Invalid`, `IdempotencyMismatch`, `InsufficientStock`, `Unavailable` (nothing was
        created) or `OutcomeUnknown`.
        """
        if request.idempotency is None:
            return Placed(self._order(request), replayed=False)
        key = request.idempotency
        with self._turns.of((key.user_id, key.key)):  # the same key twice at once: the second waits for the first
            first = self._first_answer(key)
            if first is not None:
                return Placed(first, replayed=True)
            try:
                return Placed(self._order(request), replayed=False)
            except (KeyTaken, InsufficientStock):  # perhaps to another process that served the same key
                first = self._first_answer(key)
                if first is None:
                    raise
                return Placed(first, replayed=True)

    def _order(self, request: Request) -> Order:
        draft = self._draft(request)
        order_id = str(draft.order.order_id)
        try:
            return self._place(draft)
        except CommitOutcomeUnknown as error:
            raise OutcomeUnknown(order_id=order_id) from error
        finally:  # not before: this thread may place the orders of others too
            structlog.contextvars.bind_contextvars(order_id=order_id)

    def _first_answer(self, key: IdempotencyKey) -> Order | None:
        found = self._reader.first_answer(key.user_id, key.key)
        if found is None:
            return None
        request_hash, order = found
        if not key.is_of(request_hash):
            raise IdempotencyMismatch
        return order.as_created()

    def _draft(self, request: Request) -> Draft:
        goods = self._goods.find(request.quantities)
        lines = _price(request.quantities, goods)
        now = now_ms()
        order = Order(
            order_id=self._ids.next(),
            tx_id=0,  # the batch's, known when it begins
            user_id=request.user_id,
            status=Status.CREATED,
            close_reason=None,
            lines=lines,
            receiver=request.receiver,
            goods_amount=sum(line.unit_price * line.quantity for line in lines),
            currency=goods[lines[0].goods_id].currency,
            created_at=now,
            expires_at=now + self._pay_timeout_ms,
        )
        return Draft(order, request.idempotency)


def _price(quantities: Mapping[int, int], goods: Mapping[int, Goods]) -> tuple[Line, ...]:
    unknown = [
        {"pointer": f"/items/{position}/goods_id", "message": "unknown, or not on sale"}
        for position, goods_id in enumerate(quantities)
        if goods_id not in goods or not goods[goods_id].on_sale
    ]
    if unknown:
        raise UnknownGoods(errors=unknown)
    if len({goods[goods_id].currency for goods_id in quantities}) > 1:
        raise Invalid(errors=[{"pointer": "/items", "message": "goods of several currencies"}])
    return tuple(_line(goods[goods_id], quantity) for goods_id, quantity in quantities.items())


def _line(goods: Goods, quantity: int) -> Line:
    return Line(goods.goods_id, goods.name, goods.brief, goods.image, quantity, goods.unit_price, goods.market_price)


class _Turns:
    """One lock a key, for as long as somebody wants it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, str], tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, key: tuple[str, str]) -> Iterator[None]:
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, users + 1)
        try:
            if not lock.acquire(timeout=_LONGEST_TURN):
                raise Unavailable("A request with this Idempotency-Key is still being worked on; send it again.")
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._guard:
                _, users = self._locks[key]
                if users == 1:
                    del self._locks[key]
                else:
                    self._locks[key] = (lock, users - 1)
