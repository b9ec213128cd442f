"""Timelines for tests of stories: as the order service tells them, and entries made by hand."""

from typing import Any

from console.story import Agree, Story, tell
from halfmessage.clock import now_ms, rfc3339
from halfmessage.errors import NotFound
from order.schema import TimelineOut, order_document
from tests.fakes import Shop

AT = 1_780_000_000_000
ID = "385194652103344128"


def story_of(shop: Shop, order_id: int, *, later: int = 0) -> Story:
    """Tell the story of an order as an admin sees it, `later` ms from now."""
    try:
        order = order_document(shop.reader.get(order_id, owner=None), {})
    except NotFound:
        order = None
    timeline = TimelineOut.of(order_id, shop.timeline.of(order_id, owner=None)).model_dump(mode="json")
    return tell(order, timeline["entries"], order_id=str(order_id), now_ms=now_ms() + later)


def entry(event: str, source: str, after: int | None = 0, *, known: bool = True, **evidence: Any) -> dict[str, Any]:
    """Return an entry of so many ms after `AT`; None: at a time that is not known."""
    at = None if after is None else rfc3339(AT + after)
    return {"at": at, "event": event, "source": source, "known": known, "evidence": evidence}


def told(*entries: dict[str, Any], order: dict[str, Any] | None = None, now: int = 60_000) -> Story:
    """Tell a story of entries, `now` ms after `AT`."""
    return tell(order, entries, order_id=ID, now_ms=AT + now)


def half(
    purpose: str = "placing", after: int = 0, message_id: str = "M1", tx_id: str = "77", **more: Any
) -> dict[str, Any]:
    """Return the entry of a half message that is open unless told otherwise."""
    deliver_if = "committed" if purpose == "closing" else "aborted"
    properties = {"tx_id": tx_id, "deliver_if": deliver_if}
    told_of = {"message_id": message_id, "topic": "order_rollback", "state": "half", "properties": properties}
    return entry("half message sent", "broker", after, **(told_of | more))


def order_row(status: str = "created", **more: Any) -> dict[str, Any]:
    """Return an order's document, as far as a story needs it."""
    times = {"created_at": rfc3339(AT), "expires_at": rfc3339(AT + 900_000), "paid_at": None, "closed_at": None}
    return {"order_id": ID, "status": status, "close_reason": None, "total_amount": 250, "payment": None} | times | more


def agreed(story: Story, step: str) -> tuple[Agree, dict[str, str]]:
    """Return whether the witnesses of a step agree, and what each says."""
    (found,) = [one for one in story.witnesses if step in one.step]
    return found.agree, {say.witness: say.words for say in found.says}
