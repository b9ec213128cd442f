"""One run as the checker's rules see it: the history and the final state, sorted by user and order."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lab.drill.nemesis.history import Entry, Final

CREATED, OK, ACCEPTED, NOT_FOUND, CONFLICT, UNPROCESSABLE = 201, 200, 202, 404, 409, 422
PAYMENT_REQUIRED = 402
TOO_MANY, UNAVAILABLE, SERVER_ERROR = 429, 503, 500

PLACING = frozenset({"place", "submit"})
"""Operations that make orders."""

Label = tuple[str, str]
"""A user, and that user's name of an order."""

Shown = Mapping[str, Any]
"""An order as REST shows it."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A call whose answer showed an order's status."""

    status: str
    entry: Entry


class Case:
    """What rules look at."""

    def __init__(self, history: Sequence[Entry], final: Final) -> None:
        """Sort nothing yet."""
        self.history, self.final = history, final

    @cached_property
    def orders(self) -> dict[str, Shown]:
        """Every order in the end, by its id."""
        return {str(order["order_id"]): order for shown in self.final.orders.values() for order in shown}

    @cached_property
    def owners(self) -> dict[str, str]:
        """To whom each order was shown in the end."""
        return {str(order["order_id"]): user for user, shown in self.final.orders.items() for order in shown}

    @cached_property
    def made(self) -> dict[Label, list[Shown]]:
        """The orders in the end, by the label that they carry."""
        found: defaultdict[Label, list[Shown]] = defaultdict(list)
        for user, shown in self.final.orders.items():
            for order in shown:
                if order.get("sale_id") is None:  # what is bought in a sale carries none
                    found[user, label_of(order)].append(order)
        return found

    @cached_property
    def of_sales(self) -> list[Shown]:
        """The orders in the end that were bought in flash sales."""
        return [order for order in self.orders.values() if order.get("sale_id") is not None]

    @cached_property
    def opened(self) -> list[Entry]:
        """The calls that opened a sale, answered with 201."""
        return [entry for entry in self.history if entry.op == "open-sale" and entry.status == CREATED]

    @cached_property
    def terms(self) -> dict[str, Shown]:
        """What was asked for of each sale that was opened, by its id."""
        return {str(entry.body["sale_id"]): entry.sent or {} for entry in self.opened}

    @cached_property
    def bought(self) -> list[Entry]:
        """The purchases that were answered with 202."""
        return [entry for entry in self.history if entry.op == "buy" and entry.status == ACCEPTED]

    @cached_property
    def attempts(self) -> dict[Label, list[Entry]]:
        """The calls that tried to place an order, by its label, in the order in which they were made."""
        found: defaultdict[Label, list[Entry]] = defaultdict(list)
        for entry in sorted(self.history, key=lambda entry: entry.invoked):
            if entry.op in PLACING:
                found[entry.user, entry.label].append(entry)
        return found

    @cached_property
    def acknowledged(self) -> list[Entry]:
        """The attempts that were answered with 201."""
        return [entry for attempts in self.attempts.values() for entry in attempts if entry.status == CREATED]

    @cached_property
    def sightings(self) -> dict[str, list[Sighting]]:
        """What answers said of each order's status. A 201 tells how it was when it was made: that is none."""
        found: defaultdict[str, list[Sighting]] = defaultdict(list)
        for entry in self.history:
            if entry.op == "list" and entry.status == OK:
                for order in entry.body["items"]:
                    found[str(order["order_id"])].append(Sighting(str(order["status"]), entry))
            elif entry.order_id is not None and (status := self._status_told(entry, entry.order_id)):
                found[entry.order_id].append(Sighting(status, entry))
        return found

    def _status_told(self, entry: Entry, order_id: str) -> str | None:
        """Return the status that an answer to look, pay, cancel or return tells: a refusal tells it too.

        One that says `order-paid` or `order-closed` may mean an order that was returned: of such it tells nothing.
        """
        if entry.op == "return" and entry.status == ACCEPTED:
            return "returned"
        if entry.op in {"look", "pay", "cancel"}:
            if entry.status == OK:
                return str(entry.body["status"])
            if entry.status == CONFLICT and self.orders.get(order_id, {}).get("status") != "returned":
                return {"order-paid": "paid", "order-closed": "closed"}.get(entry.slug)
        return None

    @cached_property
    def taken_in(self) -> list[Entry]:
        """The submissions that were answered with 202."""
        return [entry for entry in self.history if entry.op == "submit" and entry.status == ACCEPTED]

    def may_have_made(self, entry: Entry) -> bool:
        """Whether this attempt may have made an order: it was acknowledged, or its answer left that open, or none came.

        A request that was taken in may have made one until it was refused.
        """
        if entry.status == ACCEPTED:
            return self.final.requests.get(request_of(entry), {}).get("state") not in {"refused", "failed"}
        return may_have_been_taken(entry)

    def asked(self, order_id: str, op: str) -> bool:
        """Whether anybody asked for this to be done to an order, whatever came of it."""
        return any(entry.op == op and entry.order_id == order_id for entry in self.history)


def label_of(order: Shown) -> str:
    """Return the label that its client gave an order."""
    return str((order.get("receiver") or {}).get("name", ""))


def content(order: Shown) -> dict[str, Any]:
    """Return what of an order may never change."""
    lasting = (
        *("order_id", "user_id", "items", "receiver", "coupon_id", "goods_amount", "discount_amount", "total_amount"),
        *("currency", "created_at", "expires_at"),
    )
    return {name: order.get(name) for name in lasting}


def wanted(sent: Shown) -> dict[str, int]:
    """Return the quantities that a request asked for, by goods id."""
    return {str(item["goods_id"]): int(item["quantity"]) for item in sent["items"]}


def quantities(order: Shown) -> dict[str, int]:
    """Return an order's quantities by goods id."""
    return {str(item["goods_id"]): int(item["quantity"]) for item in order["items"]}


def request_of(entry: Entry) -> str:
    """Return the id of the request that a 202 told of."""
    return str(entry.body["request_id"])


def may_have_been_taken(entry: Entry) -> bool:
    """Whether this attempt may be the first of its key: it made an order or a request, or its answer left that open."""
    unknown = entry.status == UNAVAILABLE and entry.slug == "outcome-unknown"
    failed = entry.status is not None and entry.status >= SERVER_ERROR and entry.status != UNAVAILABLE
    first = entry.status in {CREATED, ACCEPTED} and not entry.replayed
    return first or unknown or failed or entry.status is None
