"""Buying in a flash sale: many buyers together, as one transactional message of each sale (docs/decisions/0036).

    look       sold out, not started, over: refused without a message
    begin      half message `flash_purchase`, to be delivered if the transaction commits
    commit     ONE call of the store of pieces: pieces taken for each buyer, or why not + the record
    resolve    commit the half message: its consumer places the orders

A buyer is told that it is taken in only once the broker has acknowledged that: the store may forget, the broker does
not.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from common import tracing
from common.errors import Invalid
from common.purchases import PurchaseEvent, Sold
from common.registry import PURCHASE_TOPIC
from flash.model import AlreadyBought, Ended, NotStarted, Sale, SoldOut
from flash.pieces.port import ANSWER_WITHIN, Answer, Buyer, Look, Phase, Pieces, Verdict
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError, OutcomeUnknown, Unavailable
from halfmessage.ids import IdSource, issued_at
from halfmessage.mq.port import Message, Producer
from halfmessage.tx.opened import Observe, begin
from halfmessage.tx.record import Outcome

SALE_ID: Final = "sale_id"
"""The property of a message that says where the record of its transaction is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A purchase that somebody wants to make."""

    sale: Sale
    buyer: Buyer


Bought = int | HalfMessageError
"""What one buyer of a batch got: the id of the purchase that is taken in, or why there is none."""


class Looking:
    """Looks at sales for those who want to buy: those who ask meanwhile share a look."""

    def __init__(self, pieces: Pieces) -> None:
        """Take the store of pieces."""
        self._pieces = pieces

    def look(self, asked: Sequence[tuple[int, str]]) -> list[Look | None]:
        """Return each sale at a glance (sale id, user). Raise `Unavailable`."""
        of_sales: defaultdict[int, dict[str, None]] = defaultdict(dict)
        for sale_id, user_id in asked:
            of_sales[sale_id][user_id] = None
        found = {sale_id: self._pieces.look(sale_id, list(users)) for sale_id, users in of_sales.items()}
        return [found[sale_id] for sale_id, _ in asked]


class Buying:
    """Takes pieces for batches of buyers."""

    def __init__(
        self,
        producer: Producer,
        pieces: Pieces,
        ids: IdSource,
        observe: Observe,
        *,
        answer_within: float = ANSWER_WITHIN,
    ) -> None:
        """Take what sends messages, the store of pieces, what issues ids, and what is told how long steps take.

        `answer_within`: see `ANSWER_WITHIN`; half of what the store has for `TAKE_WITHIN`.
        """
        self._answer_within_ms = int(answer_within * 1000)
        self._producer = producer
        self._pieces = pieces
        self._ids = ids
        self._observe = observe

    def buy(self, wanted: Sequence[Wanted]) -> list[Bought]:
        """Take pieces for a batch; return what each buyer got."""
        of_sales: defaultdict[int, list[Wanted]] = defaultdict(list)
        for one in wanted:
            of_sales[one.sale.sale_id].append(one)
        got: dict[int, Bought] = {}
        for batch in of_sales.values():
            try:
                answers = self._buy(batch[0].sale, [one.buyer for one in batch])
            except HalfMessageError as error:
                answers = [error] * len(batch)
            got |= {one.buyer.purchase_id: answer for one, answer in zip(batch, answers, strict=True)}
        return [got[one.buyer.purchase_id] for one in wanted]

    def _buy(self, sale: Sale, buyers: Sequence[Buyer]) -> Sequence[Bought]:
        """Raise what all of them got: `Unavailable` (nothing was taken) or `OutcomeUnknown`."""
        tx_id = self._ids.next()
        tx = begin(self._producer, self._observe, tx_id, message_of(sale, tx_id, buyers), Outcome.COMMITTED, "purchase")
        try:
            with tracing.span("local transaction"):
                answers = tx.commit_elsewhere(lambda: self._pieces.take(sale.sale_id, tx_id, buyers))
        except OutcomeUnknown:
            raise  # the check-back decides
        except HalfMessageError:
            tx.drop()
            raise
        if all(answer.verdict is not Verdict.TAKEN for answer in answers):
            tx.drop()
            return [_refusal(answer) for answer in answers]
        is_sure = tx.resolve(Outcome.COMMITTED) and now_ms() - issued_at(tx_id) < self._answer_within_ms
        return [_bought_by(one, answer, is_sure=is_sure) for one, answer in zip(buyers, answers, strict=True)]


def _bought_by(buyer: Buyer, answer: Answer, *, is_sure: bool) -> Bought:
    if answer.verdict is not Verdict.TAKEN:
        return _refusal(answer)
    return buyer.purchase_id if is_sure else OutcomeUnknown(order_id=None)


def message_of(sale: Sale, tx_id: int, buyers: Sequence[Buyer]) -> Message:
    """Return the message that tells who is to have what in which sale."""
    sold = Sold(
        sale_id=sale.sale_id,
        goods_id=sale.goods_id,
        name=sale.name,
        brief=sale.brief,
        image=sale.image,
        unit_price=sale.unit_price,
        market_price=sale.market_price,
        currency=sale.currency,
    )
    event = PurchaseEvent(
        tx_id=tx_id,
        order_ids=tuple(one.purchase_id for one in buyers),
        sold=sold,
        users=tuple(one.user_id for one in buyers),
        quantities=tuple(one.quantity for one in buyers),
    )
    message = event.to_message(PURCHASE_TOPIC)
    properties = {**message.properties, SALE_ID: str(sale.sale_id)}
    return Message(message.topic, message.body, message.tag, message.keys, properties)


def refusal_by(look: Look | None, sale: Sale, user_id: str, quantity: int) -> HalfMessageError | None:
    """Return why somebody can't buy, as far as a look tells; None: try."""
    if quantity > sale.per_user:
        return Invalid(errors=[{"pointer": "/quantity", "message": f"Input should be at most {sale.per_user}"}])
    if look is None or not look.is_ready:
        return _unknown()
    first = look.bought.get(user_id)
    if first is not None and sale.per_user == 1:
        return _bought(first)
    if look.phase is not Phase.ON:
        return NotStarted() if look.phase is Phase.NOT_STARTED else Ended()
    return SoldOut() if look.left < quantity else None


def _refusal(answer: Answer) -> HalfMessageError:
    return _REFUSALS[answer.verdict](answer)


def _bought(first: int | None) -> AlreadyBought:
    return AlreadyBought(location=None if first is None else location_of(first))


def _unknown() -> Unavailable:
    return Unavailable("The sale is being counted anew; nothing was bought, try again.")


_REFUSALS: Final[dict[Verdict, Callable[[Answer], HalfMessageError]]] = {
    Verdict.SOLD_OUT: lambda _: SoldOut(),
    Verdict.ALREADY_BOUGHT: lambda answer: _bought(answer.first),
    Verdict.OVER_LIMIT: lambda answer: _bought(answer.first),
    Verdict.NOT_STARTED: lambda _: NotStarted(),
    Verdict.ENDED: lambda _: Ended(),
    Verdict.UNKNOWN_SALE: lambda _: _unknown(),
    Verdict.ABORTED: lambda _: Unavailable("It took too long; nothing was bought, try again."),
}


def location_of(purchase_id: int) -> str:
    """Return where the order service tells what became of a purchase."""
    return f"/order-requests/{purchase_id}"
