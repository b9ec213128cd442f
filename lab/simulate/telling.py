"""An order's timeline, out of the history of its run."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from lab.simulate.history import History

_ID: Final = re.compile(r"\b\d{18}\b")
_EVERYWHERE: Final = frozenset({"fault", "dies", "starts", "is up", "can't start", "is calm", "wrong"})
_LONGEST: Final = 160  # letters of one line


def timeline(history: History) -> Iterator[tuple[str, list[str]]]:
    """Yield each order that clients were told of, or that stock was asked for, with what names it, and what struck."""
    events = [json.loads(line) for line in history.lines()]
    ids = [_ID.findall(json.dumps(event)) for event in events]
    for order_id, tx_id in _orders(events).items():
        names = {order_id, tx_id}
        lines = [
            _line(event)
            for event, named in zip(events, ids, strict=True)
            if event["what"] in _EVERYWHERE or names.intersection(named)
        ]
        yield f"order {order_id}, placed by transaction {tx_id}", lines


def _orders(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return the orders that a participant was asked to hold something for, each with its transaction."""
    found: dict[str, str] = {}
    for event in events:
        if event["what"] == "call" and event.get("path") == "/reservations" and event.get("method") == "POST":
            body = json.loads(event["body"])
            found |= {one["order_id"]: body["tx_id"] for one in body["orders"]}
    return found


def _line(event: dict[str, Any]) -> str:
    rest = " ".join(f"{name}={value}" for name, value in event.items() if name not in {"at", "who", "what"})
    return f"{event['at']:>11.6f}  {event['who']:<10} {event['what']} {rest}"[:_LONGEST].rstrip()
