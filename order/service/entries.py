"""What a timeline is made of, and what pay tells of an order's payment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.answers import readable
from halfmessage.clock import from_rfc3339
from halfmessage.errors import HalfMessageError, NotFound
from order.clients.pay import PayClient

_PAY = "pay"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened: when (ms since the epoch, None: not known), what, and who says so."""

    at: int | None
    event: str
    source: str
    evidence: dict[str, Any] = field(default_factory=dict)
    known: bool = True


def of_payment(payments: PayClient, order_id: int) -> list[Entry]:
    """Return the tries to pay an order, what providers said, and what became of the money."""
    try:
        found = payments.payment(order_id)
        with readable(_PAY):
            return [*_of_attempts(found), *_of_events(found), *_of_charges(found)]
    except NotFound:
        return []
    except HalfMessageError as error:
        return [Entry(None, "payment", _PAY, {"reason": error.detail}, known=False)]


def _of_attempts(found: Mapping[str, Any]) -> Iterator[Entry]:
    for attempt in found["attempts"]:
        yield Entry(_at(attempt["created_at"]), "payment attempt", _PAY, _but(attempt, "created_at"))


def _of_events(found: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield each event as it came, and what it did. A callback's signature is checked before it is stored."""
    for event in found["events"]:
        said = _but(event, "received_at", "handled_at", "effect", "tx_id")
        if event["via"] == "callback":
            said["signature"] = "verified"
        yield Entry(_at(event["received_at"]), f"provider's {event['via']}: {event['kind']}", _PAY, said)
        did = {"event_id": event["event_id"], "effect": event["effect"], "tx_id": event["tx_id"]}
        if event["handled_at"] is not None:
            yield Entry(_at(event["handled_at"]), f"payment event handled: {event['effect']}", _PAY, did)
        else:
            reason = {"event_id": event["event_id"], "reason": "stored; pay handles it until it is done"}
            yield Entry(None, "payment event handled", _PAY, reason, known=False)


def _of_charges(found: Mapping[str, Any]) -> Iterator[Entry]:
    for charge in found["charges"]:
        about = _but(charge, "taken_at", "refunded_at")
        if charge["refunded_at"] is not None:
            yield Entry(_at(charge["refunded_at"]), "money sent back", _PAY, about)
        if charge["status"] not in {"kept", "refunded"}:  # or not yet again: a refund may fail after it was done
            yield Entry(None, "money to be sent back", _PAY, about, known=False)


def _at(told: str) -> int:
    return from_rfc3339(told)


def _but(item: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return what is said, without some of it and without what is null."""
    return {name: value for name, value in item.items() if name not in names and value is not None}
