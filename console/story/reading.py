"""The facts that the sentence and the witnesses need, read from an order and its timeline."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from common.registry import PAYMENT_TOPIC, PURCHASE_TOPIC
from console.story.entries import Entry, instant


class Held(StrEnum):
    """What a participant says that it has of an order."""

    HELD = "held"
    RELEASED = "released"
    TOMBSTONE = "tombstone"
    NOTHING = "nothing"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one participant has; `at`: since when."""

    name: str
    state: Held
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Half:
    """A half message: `purpose` is `placing`, `closing`, `paying` or `buying` (in a flash sale).

    `record`: what its transaction's record says, where that is the order service's.
    """

    message_id: str
    sent_at: int | None
    purpose: str
    state: str
    record: str | None
    resolution: str | None
    resolved_at: int | None
    checks: Sequence[Entry]
    check_count: int
    next_check_at: int | None
    parked: Entry | None

    @property
    def is_open(self) -> bool:
        """Whether the broker has still to hear how it ended."""
        return self.resolution is None and self.state == "half"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far a group is with a message: `what` is `rollback`, `timeout`, `payment` or `purchase`."""

    what: str
    group: str
    message_id: str
    deliveries: Any
    state: str
    at: int | None
    next_at: int | None


_PURPOSES = {PAYMENT_TOPIC: "paying", PURCHASE_TOPIC: "buying"}


@dataclass(frozen=True)
class Facts:
    """What is known of an order."""

    order: Mapping[str, Any] | None
    entries: Sequence[Entry]
    now_ms: int

    @cached_property
    def exists(self) -> bool:
        """Whether there is such an order: by its document, or by the timeline, should that have been read later."""
        return self.order is not None or self.last("order requested") is not None

    @cached_property
    def status(self) -> str:
        """The order's, or `none`; the later one where its document and the timeline were read at different moments."""
        for status in ("returned", "paid", "closed"):
            if self.last(f"order {status}") is not None:
                return status
        told = None if self.order is None else str(self.order.get("status"))
        return told or ("created" if self.exists else "none")

    def order_time(self, name: str) -> int | None:
        """Return a time of the order's row."""
        told = (self.order or {}).get(name)
        return instant(told) if isinstance(told, str) else None

    @property
    def payment(self) -> str | None:
        """The state of the payment, as the order's document has it; None: there is none, or pay did not answer."""
        told = (self.order or {}).get("payment")
        status = told.get("status") if isinstance(told, Mapping) else None
        return None if status is None else str(status)

    @cached_property
    def records(self) -> Mapping[str, str]:
        """What transaction records say, by transaction."""
        prefix = "local transaction "
        return {str(e.get("tx_id")): e.event.removeprefix(prefix) for e in self.entries if e.event.startswith(prefix)}

    def record_of(self, purpose: str) -> str | None:
        """Return what the first record says of a transaction that was for a purpose; None: there is none."""
        prefix = "local transaction "
        found = (e for e in self.entries if e.event.startswith(prefix) and e.get("transaction") == purpose)
        return next((entry.event.removeprefix(prefix) for entry in found), None)

    @cached_property
    def halves(self) -> Sequence[Half]:
        """The half messages, in time order."""
        return [self._half(entry) for entry in self.entries if entry.event == "half message sent"]

    @cached_property
    def _about(self) -> Mapping[str, Sequence[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(str(entry.get("message_id")), []).append(entry)
        return found

    def _half(self, sent: Entry) -> Half:
        message_id = str(sent.get("message_id"))
        about = self._about.get(message_id, [])
        resolved = next((entry for entry in about if entry.event.startswith("half message resolved")), None)
        properties = sent.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        closing = "closing" if properties.get("deliver_if") == "committed" else "placing"
        checks = [entry for entry in about if entry.event.startswith("check-back ")]
        count = sent.get("check_count")  # a broker may count them, and keep no more of them
        return Half(
            message_id=message_id,
            sent_at=sent.at,
            purpose=_PURPOSES.get(str(sent.get("topic")), closing),
            state=str(sent.get("state")),
            record=self.records.get(str(properties.get("tx_id"))),
            resolution=None if resolved is None else str(resolved.get("resolution")),
            resolved_at=None if resolved is None else resolved.at,
            checks=checks,
            check_count=max(len(checks), count if isinstance(count, int) else 0),
            next_check_at=sent.time("next_check_at"),
            parked=next((entry for entry in about if entry.event == "half message parked"), None),
        )

    @cached_property
    def deliveries(self) -> Sequence[Delivery]:
        """How far each group is with each message that it was given."""
        return list(_deliveries(self.entries))

    def delivery(self, what: str, group: str) -> Delivery | None:
        """Return how far a group is with the last message of a kind."""
        return next((d for d in reversed(self.deliveries) if (d.what, d.group) == (what, group)), None)

    @cached_property
    def holdings(self) -> Sequence[Holding]:
        """What each participant has; of one that was not asked nothing is told."""
        return list(_holdings(self.entries))

    @property
    def still_held(self) -> list[str]:
        """The participants that hold something."""
        return [one.name for one in self.holdings if one.state is Held.HELD]

    @cached_property
    def silent(self) -> Sequence[str]:
        """Who did not answer when the timeline was put together."""
        asked = [e.source for e in self.entries if not e.known and e.event in {"messages", "payment"}]
        return sorted({*asked, *(one.name for one in self.holdings if one.state is Held.SILENT)})

    def last(self, event: str) -> Entry | None:
        """Return the last entry of an event, or None."""
        return next((entry for entry in reversed(self.entries) if entry.event == event), None)


_STATES = {" handled": "handled", " dead-lettered": "dead", " delivered, not handled yet": "under way"}


def _deliveries(entries: Iterable[Entry]) -> Iterator[Delivery]:
    for entry in entries:
        ending = next((ending for ending in _STATES if entry.event.endswith(ending)), None)
        group = entry.get("group")
        if ending is not None and isinstance(group, str):
            yield Delivery(
                what=entry.event.removesuffix(ending),
                group=group,
                message_id=str(entry.get("message_id")),
                deliveries=entry.get("deliveries"),
                state=_STATES[ending],
                at=entry.at,
                next_at=entry.time("next_delivery_at"),
            )


def _holdings(entries: Iterable[Entry]) -> Iterator[Holding]:
    found: dict[str, Holding] = {}
    for entry in entries:
        state = _held(entry)
        if state is not None:
            found[entry.source] = Holding(entry.source, state, entry.at)
    yield from found.values()


def _held(entry: Entry) -> Held | None:
    name = entry.source
    if entry.event == "deduction" and not entry.known:
        return Held.NOTHING if entry.get("reason") == f"{name} has no reservation" else Held.SILENT
    if entry.event.startswith("tombstone written"):
        return Held.TOMBSTONE
    return {f"{name} deducted": Held.HELD, f"{name} released": Held.RELEASED}.get(entry.event)
