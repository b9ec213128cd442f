"""What a client asks for → a priced draft → an order; the same Idempotency-Key again → the first answer again."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import structlog

from common.errors import IdempotencyMismatch
from common.idempotency import IdempotencyKey
from halfmessage.clock import now_ms
from halfmessage.errors import CommitOutcomeUnknown, OutcomeUnknown, Unavailable
from halfmessage.ids import IdSource
from order.model import CouponChanged, Order, Receiver, Refused, Sale, Status
from order.service.placing import Draft, KeyTaken
from order.service.pricing import Pricing, price_of
from order.service.reading import OrderReader

_LONGEST_TURN = 5.0  # seconds that a request waits for another one with its Idempotency-Key


@dataclass(frozen=True, slots=True)
class Request:
    """An order as a client asks for it: quantities by goods id, in the client's order."""

    user_id: str
    quantities: Mapping[int, int]
    receiver: Receiver | None
    idempotency: IdempotencyKey | None
    coupon_id: int | None = None
    request_id: int | None = None
    """The order request that it is, where it was submitted to be placed soon."""
    asked_as: str = ""
    """The X-Request-Id of the call that asks for it; empty: there is none."""
    sale: Sale | None = None
    """The flash sale that it was bought in: the request is the purchase then."""


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
        pricing: Pricing,
        ids: IdSource,
        place: Callable[[Draft], Order],
        *,
        pay_timeout: float,
    ) -> None:
        """Take what reads orders, prices, issues ids and places a draft; unpaid orders stand for `pay_timeout` s."""
        self._reader = reader
        self._pricing = pricing
        self._ids = ids
        self._place = place
        self._pay_timeout_ms = int(pay_timeout * 1000)
        self._turns = _Turns()

    def order(self, request: Request) -> Placed:
        """Place one order.

        Raise `UnknownGoods`, `UnknownCoupon`, `Invalid`, `IdempotencyMismatch`, `Refused` (by a participant),
        `Unavailable` (nothing was created) or `OutcomeUnknown`.
        """
        if request.idempotency is None:
            return Placed(self._order(request), replayed=False)
        key = request.idempotency
        with self._turns.of((key.user_id, key.key)):  # the same key twice at once: the second waits for the first
            first = self.first_answer(key)
            if first is not None:
                return Placed(first, replayed=True)
            try:
                return Placed(self._order(request), replayed=False)
            except (KeyTaken, Refused):
                # Perhaps it was another process with the same key that took it.
                first = self.first_answer(key)
                if first is None:
                    raise
                return Placed(first, replayed=True)

    def _order(self, request: Request) -> Order:
        try:
            return self._order_once(request, anew=False)
        except CouponChanged:  # since its rules were looked up: once more, by what they are now
            return self._order_once(request, anew=True)

    def _order_once(self, request: Request, *, anew: bool) -> Order:
        draft = self._draft(request, anew=anew)
        order_id = str(draft.order.order_id)
        try:
            return self._place(draft)
        except CommitOutcomeUnknown as error:
            raise OutcomeUnknown(order_id=order_id) from error
        finally:  # not before: this thread may place the orders of others too
            structlog.contextvars.bind_contextvars(order_id=order_id)

    def first_answer(self, key: IdempotencyKey) -> Order | None:
        """Return the order that was made under a key, as it was told first, or None.

        Raise `IdempotencyMismatch`, also where another order is still to be placed under it, or was refused.
        """
        found = self._reader.first_answer(key.user_id, key.key)
        if found is None:
            return None
        request_hash, order = found
        if not key.is_of(request_hash):
            raise IdempotencyMismatch
        if order is None:
            return None
        return order.as_created()

    def _draft(self, request: Request, *, anew: bool) -> Draft:
        if request.sale is None:
            price = self._pricing.price(request.user_id, request.quantities, request.coupon_id, anew=anew)
        else:
            price = price_of(request.sale, request.quantities)
        now = now_ms()
        is_free = price.goods_amount == price.discount_amount
        order = Order(
            order_id=self._ids.next(),
            tx_id=0,  # the batch's, known when it begins
            user_id=request.user_id,
            status=Status.PAID if is_free else Status.CREATED,
            close_reason=None,
            lines=price.lines,
            receiver=request.receiver,
            goods_amount=price.goods_amount,
            currency=price.currency,
            created_at=now,
            expires_at=now + self._pay_timeout_ms,
            paid_at=now if is_free else None,
            coupon_id=request.coupon_id,
            discount_amount=price.discount_amount,
            coupon_version=price.coupon_version,
        )
        if request.sale is not None:
            sale = request.sale
            order = replace(order, sale_id=sale.sale_id, purchase_id=request.request_id, purchased_in=sale.tx_id)
        return Draft(order, request.idempotency, request.request_id, request.asked_as)


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
