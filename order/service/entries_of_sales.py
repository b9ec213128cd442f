"""What is known of the purchase in a flash sale that an order is of: begun, its pieces taken, the buyer told.

The store of pieces keeps no times. But a purchase's message goes out only if pieces were taken, and a buyer is told so
only once the broker has acknowledged that (docs/decisions/0036): the message's times are the latest ones.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from common.registry import PURCHASE_TOPIC
from halfmessage.ids import issued_at
from halfmessage.mq.port import MessageView, Resolution
from halfmessage.tx.coordinator import TX_ID
from order.model import Order
from order.service.entries import Entry
from order.service.requests import OrderRequest

_SOURCE: Final = "flash"


def of_purchase(order: Order | None, request: OrderRequest | None, views: Sequence[MessageView]) -> Iterator[Entry]:
    """Tell when the purchase was begun and when, at the latest, it had its pieces; nothing of other orders."""
    if order is None or order.purchase_id is None:
        return
    about: dict[str, Any] = {"sale_id": str(order.sale_id), "purchase_id": str(order.purchase_id)}
    tx_id = _tx_id(request, views)
    if tx_id is not None:
        about[TX_ID] = tx_id
    yield Entry(issued_at(order.purchase_id), "purchase begun", _SOURCE, about)
    sent = _sent_out(views)
    quantity = sum(line.quantity for line in order.lines)
    yield Entry(None if sent is None else sent.resolved_at, "purchase taken", _SOURCE, about | {"quantity": quantity})
    if request is not None:
        decided = about | {"state": request.state.value}
        yield Entry(request.decided_at, "purchase placed", "order", decided)


def of_answer(order: Order | None, views: Sequence[MessageView]) -> Iterator[Entry]:
    """Tell from when on the buyer was answered with 202; nothing where the broker had to ask flash how it ended."""
    sent = _sent_out(views)
    if order is None or sent is None or sent.checks or sent.check_count:
        return
    evidence = {"purchase_id": str(order.purchase_id), "status": 202, "message_id": sent.message_id}
    yield Entry(sent.resolved_at, "purchase answered", _SOURCE, evidence)


def _sent_out(views: Sequence[MessageView]) -> MessageView | None:
    """Return the message of the purchase, if the broker was told to deliver it."""
    of_purchases = (view for view in views if view.message.topic == PURCHASE_TOPIC)
    return next((view for view in of_purchases if view.resolution is Resolution.COMMIT), None)


def _tx_id(request: OrderRequest | None, views: Sequence[MessageView]) -> str | None:
    """Return the transaction that took the pieces, from whichever is still kept."""
    if request is not None:
        return str(request.tx_id)
    told = (view.message.properties.get(TX_ID) for view in views if view.message.topic == PURCHASE_TOPIC)
    return next((one for one in told if one is not None), None)
