"""One box for whatever somebody has of a thing: each place that may know it is asked at once, and may be silent."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common.schema import WORD_PATTERN, parse_id
from console.clients.broker import Messages
from console.clients.services import Services
from console.service.looking import Looks, Silent
from console.service.orders import Orders
from console.service.sales import FlashSales
from console.service.transactions import Transaction, Transactions
from halfmessage.errors import NotFound
from halfmessage.mq.port import MessageView

LONGEST: Final = 255  # characters that are looked for: an Idempotency-Key has no more
MOST_MESSAGES: Final = 20
_WITHIN: Final = 3.0  # seconds for all of them together
_TEXT: Final = re.compile(rf"[!-~]{{1,{LONGEST}}}")


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, by where. `silent`: places that did not answer, and why; there it may be all the same."""

    orders: Sequence[Mapping[str, Any]]
    payment: Mapping[str, Any] | None
    coupon: Mapping[str, Any] | None
    sale: Mapping[str, Any] | None
    purchase: Mapping[str, Any] | None
    transactions: Sequence[Transaction]
    messages: Sequence[MessageView]
    silent: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        things = (self.orders, self.payment, self.coupon, self.sale, self.purchase, self.transactions, self.messages)
        return not any(things)


def is_findable(text: str) -> bool:
    """Whether anything of ours may be called so."""
    return _TEXT.fullmatch(text) is not None


class Finding:
    """Asks everybody."""

    def __init__(self, orders: Orders, services: Services, messages: Messages, transactions: Transactions) -> None:
        """Take those who are asked."""
        self._orders, self._services, self._messages = orders, services, messages
        self._transactions = transactions

    def find(self, token: str, text: str) -> Found:
        """Look for `text`, for an admin."""
        looks = Looks(within=_WITHIN)
        try:
            heard = looks.at(self._places(token, text))
        finally:
            looks.close()
        told = {name: None if isinstance(found, Silent) else found for name, found in heard.items()}
        return Found(
            orders=told["orders"] or (),
            payment=told.get("payments"),
            coupon=told.get("coupons"),
            sale=told.get("sales"),
            purchase=told.get("purchases"),
            transactions=told.get("transactions") or (),
            messages=_distinct([*(told["message ids"] or ()), *(told["message keys"] or ())]),
            silent={name: found.why for name, found in heard.items() if isinstance(found, Silent)},
        )

    def _places(self, token: str, text: str) -> Mapping[str, Callable[[], object]]:
        find = self._messages.console
        places: dict[str, Callable[[], object]] = {
            "orders": lambda: self._orders.find(token, text),
            "message ids": lambda: find().find(message_id=text, limit=MOST_MESSAGES),
            "message keys": lambda: find().find(key=text, limit=MOST_MESSAGES),
        }
        number = parse_id(text)
        is_id = number is not None
        if number is not None:
            places["transactions"] = lambda: self._transactions.called(token, number)
            sales = FlashSales(self._services)
            places["payments"] = lambda: self._one("pay", f"/payments/{text}", token)
            places["sales"] = lambda: _if_there(lambda: sales.one(token, text))
            places["purchases"] = lambda: _if_there(lambda: sales.purchase(token, text))
        if re.fullmatch(WORD_PATTERN, text):
            path = f"/coupons/{text}" if is_id else f"/coupons/by-code/{text}"
            places["coupons"] = lambda: self._one("coupon", path, token)
        return places

    def _one(self, service: str, path: str, token: str) -> Mapping[str, Any] | None:
        return _if_there(lambda: self._services.get(service, path, token))


def _if_there(look: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    try:
        return look()
    except NotFound:
        return None


def _distinct(views: Sequence[MessageView]) -> Sequence[MessageView]:
    return list({view.message_id: view for view in views}.values())[:MOST_MESSAGES]
