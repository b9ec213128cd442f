"""An order as rows of its tables."""

from common.idempotency import IdempotencyKey
from order.model import Order


def order_row(order: Order) -> dict[str, object]:
    """Return the row of `orders`."""
    return {
        "order_id": order.order_id,
        "tx_id": order.tx_id,
        "user_id": order.user_id,
        "status": order.status.value,
        "total_amount": order.total_amount,
        "goods_amount": order.goods_amount,
        "discount_amount": order.discount_amount,
        "coupon_id": order.coupon_id,
        "currency": order.currency,
        "receiver_name": order.receiver and order.receiver.name,
        "receiver_phone": order.receiver and order.receiver.phone,
        "receiver_address": order.receiver and order.receiver.address,
        "created_at": order.created_at,
        "expires_at": order.expires_at,
        "paid_at": order.paid_at,
        "sale_id": order.sale_id,
        "purchase_id": order.purchase_id,
    }


def line_rows(order: Order) -> list[dict[str, object]]:
    """Return the rows of `order_lines`."""
    return [
        {
            "order_id": order.order_id,
            "position": position,
            "goods_id": line.goods_id,
            "name": line.name,
            "brief": line.brief,
            "image": line.image,
            "quantity": line.quantity,
            "unit_price": line.unit_price,
            "market_price": line.market_price,
        }
        for position, line in enumerate(order.lines)
    ]


def key_row(key: IdempotencyKey, order_id: int) -> dict[str, object]:
    """Return the row of `idempotency_keys`."""
    return {
        "user_id": key.user_id,
        "idempotency_key": key.key,
        "request_hash": key.request_hash,
        "order_id": order_id,
    }


def call_row(request_id: str, order_id: int) -> dict[str, object]:
    """Return the row of `placing_calls`."""
    return {"order_id": order_id, "request_id": request_id}
