"""What must be true of the answers about orders that exist: paying, cancelling, looking."""

from collections.abc import Iterator
from datetime import datetime

from lab.drill.nemesis.case import (
    ACCEPTED,
    CONFLICT,
    CREATED,
    NOT_FOUND,
    OK,
    PAYMENT_REQUIRED,
    TOO_MANY,
    UNAVAILABLE,
    UNPROCESSABLE,
    Case,
    Sighting,
)
from lab.drill.nemesis.history import Entry

_DOCUMENTED = {
    "place": {
        (CREATED, ""),
        (CONFLICT, "insufficient-stock"),
        (CONFLICT, "coupon-not-usable"),
        (UNPROCESSABLE, "idempotency-mismatch"),
        (TOO_MANY, "too-many-requests"),
        (UNAVAILABLE, "unavailable"),
        (UNAVAILABLE, "outcome-unknown"),
    },
    "submit": {
        (ACCEPTED, ""),
        (CREATED, ""),
        (UNPROCESSABLE, "idempotency-mismatch"),
        (TOO_MANY, "too-many-requests"),
        (UNAVAILABLE, "unavailable"),
        (UNAVAILABLE, "outcome-unknown"),
    },
    "ask": {(OK, ""), (NOT_FOUND, "not-found"), (UNAVAILABLE, "unavailable")},
    "pay": {
        (OK, ""),
        (ACCEPTED, ""),
        (PAYMENT_REQUIRED, "payment-refused"),
        (CONFLICT, "order-closed"),
        (NOT_FOUND, "not-found"),
        (UNAVAILABLE, "unavailable"),
        (UNAVAILABLE, "outcome-unknown"),
    },
    "cancel": {
        (OK, ""),
        (CONFLICT, "order-paid"),
        (NOT_FOUND, "not-found"),
        (UNAVAILABLE, "unavailable"),
        (UNAVAILABLE, "outcome-unknown"),
    },
    "return": {
        (ACCEPTED, ""),
        (CONFLICT, "order-not-paid"),
        (NOT_FOUND, "not-found"),
        (UNAVAILABLE, "unavailable"),
        (UNAVAILABLE, "outcome-unknown"),
    },
    "look": {(OK, ""), (NOT_FOUND, "not-found"), (UNAVAILABLE, "unavailable")},
    "list": {(OK, ""), (UNAVAILABLE, "unavailable")},
    "level": {(OK, ""), (UNAVAILABLE, "unavailable")},
    "coupon": {(OK, ""), (UNAVAILABLE, "unavailable")},
    "open-sale": {
        (CREATED, ""),
        (CONFLICT, "insufficient-stock"),
        (UNAVAILABLE, "unavailable"),
        (UNAVAILABLE, "outcome-unknown"),
    },
    "buy": {
        (ACCEPTED, ""),
        *((CONFLICT, slug) for slug in ("sold-out", "already-bought", "not-started", "ended")),
        (UNPROCESSABLE, "invalid"),
        (TOO_MANY, "too-many-requests"),
        (UNAVAILABLE, "unavailable"),
        (UNAVAILABLE, "outcome-unknown"),
    },
    "close-sale": {(OK, ""), (UNAVAILABLE, "unavailable"), (UNAVAILABLE, "outcome-unknown")},
}
"""docs: the REST contract; what these calls, all well-formed and of known users, may be answered."""


def documented(case: Case) -> Iterator[str]:
    """Every answer is one that the REST contract tells of."""
    for entry in case.history:
        if entry.status is not None and (entry.status, entry.slug) not in _DOCUMENTED[entry.op]:
            yield f"{entry.op} {entry.label} of {entry.user} was answered {entry.status} {entry.slug}: {entry.body}"


def done_as_told(case: Case) -> Iterator[str]:
    """Paying answered 200 shows the order paid, cancelling shows it closed; and it is the order that was meant."""
    for entry in case.history:
        if entry.op in {"pay", "cancel", "look"} and entry.status == OK:
            expected = {"pay": "paid", "cancel": "closed"}.get(entry.op, entry.body["status"])
            if entry.body["status"] != expected or entry.body["order_id"] != entry.order_id:
                yield f"{entry.op} of order {entry.order_id} was answered 200 with {entry.body}"


def paid_stays(case: Case) -> Iterator[str]:
    """Who was told that an order is paid, was told so for good, or until it is returned."""
    yield from _stays(case, "paid", until="returned")


def closed_stays(case: Case) -> Iterator[str]:
    """Who was told that an order is closed, was told so for good."""
    yield from _stays(case, "closed")


def _stays(case: Case, status: str, *, until: str | None = None) -> Iterator[str]:
    for order_id, sightings in case.sightings.items():
        if any(sighting.status == status for sighting in sightings):
            now = case.orders.get(order_id, {}).get("status", "gone")
            if now not in {status, until}:
                yield f"order {order_id} was told to be {status}, and is {now}"


def forwards(case: Case) -> Iterator[str]:
    """No answer shows an order in a status that it had left before the question was asked."""
    for order_id, sightings in case.sightings.items():
        over = [sighting for sighting in sightings if sighting.status != "created"]
        for late in sightings:
            if any(_contradicts(early, late) for early in over):
                seen = f"{late.status} by {late.entry.op} at {late.entry.invoked:.3f} s"
                yield f"order {order_id} was seen {seen}, after an answer had shown that this is over"


def _contradicts(early: Sighting, late: Sighting) -> bool:
    goes_on = early.status == late.status or (early.status, late.status) == ("paid", "returned")
    return not goes_on and (early.entry.answered or 0.0) < late.entry.invoked


def found(case: Case) -> Iterator[str]:
    """Every order that a 201 told of is found."""
    known: dict[str, tuple[str, float]] = {}
    for entry in case.acknowledged:
        order_id, answered = str(entry.body["order_id"]), entry.answered or 0.0
        known[order_id] = (entry.user, min(answered, known.get(order_id, ("", answered))[1]))
    for entry in case.history:
        if entry.op == "list" and entry.status == OK:
            yield from _missing(entry, known)
        elif entry.status == NOT_FOUND and entry.order_id in known and known[entry.order_id][1] < entry.invoked:
            yield f"order {entry.order_id} was acknowledged with 201, and then not found by {entry.op}"


def _missing(entry: Entry, known: dict[str, tuple[str, float]]) -> Iterator[str]:
    if entry.body["next_cursor"] is not None:  # only the first page was asked for
        return
    listed = {str(order["order_id"]) for order in entry.body["items"]}
    for order_id, (user, answered) in known.items():
        if user == entry.user and answered < entry.invoked and order_id not in listed:
            yield f"order {order_id} was acknowledged with 201, and then missing in a list"


def asked_for(case: Case) -> Iterator[str]:
    """Nothing that costs is paid, nothing cancelled or returned unless it was asked for, or expires before its time."""
    for order_id, order in case.orders.items():
        is_paid = order["status"] in {"paid", "returned"}
        if is_paid and order["total_amount"] and not case.asked(order_id, "pay"):
            yield f"order {order_id} is {order['status']}, but no client paid it"
        if order["status"] == "returned" and not case.asked(order_id, "return"):
            yield f"order {order_id} is returned, but no client asked for it"
        if order["status"] != "closed":
            continue
        if order["close_reason"] == "cancelled" and not case.asked(order_id, "cancel"):
            yield f"order {order_id} is cancelled, but no client cancelled it"
        if order["close_reason"] != "cancelled" and _time(order["closed_at"]) < _time(order["expires_at"]):
            yield f"order {order_id} was closed ({order['close_reason']}) before its time was over"


def _time(told: str) -> datetime:
    return datetime.fromisoformat(told)


RULES = (documented, done_as_told, paid_stays, closed_stays, forwards, found, asked_for)
