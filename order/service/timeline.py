"""One order's whole story, from evidence that exists: rows and messages. What is not known is said to be unknown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from common.db import Database
from common.registry import PAYMENT_TOPIC, PURCHASE_TOPIC, REQUEST_TOPIC, ROLLBACK_TOPIC, TIMEOUT_TOPIC
from halfmessage.clock import from_rfc3339, now_ms, rfc3339
from halfmessage.errors import HalfMessageError, NotFound
from halfmessage.mq.port import Console, GroupView, MessageView, State
from halfmessage.tx.coordinator import DELIVER_IF, TX_ID
from halfmessage.tx.record import Outcome, Records
from order.clients.pay import PayClient
from order.model import Order, Status
from order.service.entries import Entry, of_payment
from order.service.entries_of_sales import of_answer, of_purchase
from order.service.participants import Participant
from order.service.reading import find_orders
from order.service.requests import OrderRequest, find_by_order

_MOST_MESSAGES: Final = 1000  # of each key
_IN_RECORDS: Final[dict[tuple[str, str], str]] = {
    (ROLLBACK_TOPIC, Outcome.ABORTED): "placing",
    (ROLLBACK_TOPIC, Outcome.COMMITTED): "closing",
    (REQUEST_TOPIC, Outcome.COMMITTED): "taking in",
}
"""What transactions with records in our database are for, by their message's topic and when that is delivered.

Those of other topics are recorded elsewhere: in the database of pay, beside the pieces of flash, by other programs.
"""


class Timeline:
    """Collects the evidence of one order."""

    def __init__(
        self,
        database: Database,
        records: Records,
        console: Console | None,
        participants: Sequence[Participant],
        payments: PayClient | None,
    ) -> None:
        """Take where the evidence lies; without a console nothing of messages is known here."""
        self._database = database
        self._records = records
        self._console = console
        self._participants = participants
        self._payments = payments

    def of(self, order_id: int, *, owner: str | None) -> list[Entry]:
        """Return what happened to an order of `owner`, in time order, unknown times last.

        With owner None (an admin), also of an order that was given up before it existed. Raise `NotFound`.
        """
        with self._database.read() as connection:
            order = find_orders(connection, [order_id]).get(order_id)
            request = find_by_order(connection, order_id)
        if owner is not None and (order is None or order.user_id != owner):
            raise NotFound("There is no such order.")
        messages = self._messages(order_id, None if order is None else order.purchase_id)
        asked = [one for one in self._participants if order is None or one.needs(order)]
        reservations = [entry for one in asked for entry in _reservation(one, order_id)]
        tx_ids = _tx_ids(order, messages, reservations)
        views = messages if isinstance(messages, list) else []
        entries = [*of_purchase(order, request, views), *_of_messages(messages), *of_answer(order, views)]
        entries += [*reservations, *self._of_records(tx_ids, order), *_of_order(order)]
        if order is None or order.purchase_id is None:
            entries += _of_request(request)
        if self._payments is not None:  # also of an order that never was: money may have come for it
            entries += of_payment(self._payments, order_id)
        if order is None and not any(entry.known for entry in entries):
            raise NotFound("There is no such order, and nothing is left of one.")
        return sorted(entries, key=lambda entry: (entry.at is None, entry.at or 0))

    def _messages(self, order_id: int, purchase_id: int | None) -> list[MessageView] | Entry:
        """Return the messages of an order, and that of the purchase which it is of, oldest first of each."""
        if self._console is None:
            reason = (
                f"this broker tells its clients nothing of messages; look with: ./scripts/messages --key {order_id}"
            )
            return Entry(None, "messages", "broker", {"reason": reason}, known=False)
        try:
            found = self._console.find(key=str(order_id), limit=_MOST_MESSAGES)
            if purchase_id is not None:
                found += self._console.find(topic=PURCHASE_TOPIC, key=str(purchase_id), limit=_MOST_MESSAGES)
            return list(reversed(found))
        except HalfMessageError as error:
            return Entry(None, "messages", "broker", {"reason": error.detail}, known=False)

    def _of_records(self, tx_ids: dict[int, str], order: Order | None) -> Iterator[Entry]:
        with self._database.read() as connection:
            all_decided = self._records.decided(connection, tx_ids.keys())
        for tx_id, purpose in tx_ids.items():
            decided = all_decided.get(tx_id)
            evidence: dict[str, Any] = {"tx_id": str(tx_id), "transaction": purpose}
            if decided is None:
                reason = "no transaction record: not decided yet, dropped before it did anything, or purged"
                yield Entry(None, "local transaction", "order", evidence | {"reason": reason}, known=False)
                continue
            outcome, at = decided
            if purpose == "placing":
                evidence["order_written"] = order is not None
            yield Entry(at, f"local transaction {outcome.value}", "order", evidence)


def _tx_ids(order: Order | None, messages: list[MessageView] | Entry, reservations: Iterable[Entry]) -> dict[int, str]:
    """Return the transactions that touched the order, and what each was for."""
    found = {order.tx_id: "placing"} if order else {}
    for view in messages if isinstance(messages, list) else ():
        properties = view.message.properties
        purpose = _IN_RECORDS.get((view.message.topic, properties.get(DELIVER_IF, "")))
        if purpose is not None and properties.get(TX_ID, "").isdecimal():
            found.setdefault(int(properties[TX_ID]), purpose)
    for entry in reservations:  # they name the transaction that deducted
        if TX_ID in entry.evidence:
            found.setdefault(int(entry.evidence[TX_ID]), "placing")
    return found


def _of_messages(messages: list[MessageView] | Entry) -> Iterator[Entry]:
    if isinstance(messages, Entry):
        yield messages
        return
    topics = {view.message.topic for view in messages}
    for topic, name in ((ROLLBACK_TOPIC, "half message"), (TIMEOUT_TOPIC, "delayed message")):
        if topic not in topics:
            reason = f"no {topic} message of this order is kept any more, or none was ever sent"
            yield Entry(None, name, "broker", {"reason": reason}, known=False)
    for view in messages:
        yield from _of_message(view)


def _of_message(view: MessageView) -> Iterator[Entry]:
    about: dict[str, Any] = {"message_id": view.message_id, "topic": view.message.topic}
    sent = about | {"state": view.state.value, "properties": dict(view.message.properties)}
    if view.deliver_at is not None:
        yield Entry(view.born_at, "timeout scheduled", "broker", sent | {"deliver_at": rfc3339(view.deliver_at)})
    elif DELIVER_IF in view.message.properties:
        yield Entry(view.born_at, "half message sent", "broker", sent | _checking(view))
    else:
        yield Entry(view.born_at, "message sent", "broker", sent)
    for number, check in enumerate(view.checks, 1):
        answer = check.answer.value if check.answer else "no process to answer"
        evidence = about | {"check": number, "answer": answer} | _by(check.pid)
        yield Entry(check.at, f"check-back {number}: {answer}", "broker", evidence)
    if view.resolution is not None:
        evidence = about | {"resolution": view.resolution.value}
        yield Entry(view.resolved_at, f"half message resolved: {view.resolution.value}", "broker", evidence)
    if view.state is State.PARKED:
        yield Entry(None, "half message parked", "broker", about | {"checks": view.check_count})
    for group in view.groups:
        yield from _of_group(view, group, about)


def _checking(view: MessageView) -> dict[str, Any]:
    """Tell of an open half message when it is checked next, and how often it was: the broker may keep no more."""
    if view.state is not State.HALF:
        return {}
    found = {"check_count": view.check_count}
    return found if view.next_check_at is None else found | {"next_check_at": rfc3339(view.next_check_at)}


def _by(pid: int | None) -> dict[str, Any]:
    """Tell which process answered, or was given a message last, where the broker knows."""
    return {} if pid is None else {"pid": pid}


_HANDLED = {
    TIMEOUT_TOPIC: "timeout",
    ROLLBACK_TOPIC: "rollback",
    PAYMENT_TOPIC: "payment",
    PURCHASE_TOPIC: "purchase",
    REQUEST_TOPIC: "order request",
}
"""By topic, what was handled; of a topic that is not ours, its own name."""


def _of_group(view: MessageView, group: GroupView, about: dict[str, Any]) -> Iterator[Entry]:
    what = _HANDLED.get(view.message.topic, view.message.topic)
    evidence = about | {"group": group.group, "deliveries": group.attempts, "state": group.state.value}
    evidence |= _by(group.pid)
    if group.state is State.DONE:
        yield Entry(group.done_at, f"{what} handled", "broker", evidence)
    elif group.state is State.DEAD:
        yield Entry(group.done_at, f"{what} dead-lettered", "broker", evidence)
    elif group.attempts:
        again = {"next_delivery_at": rfc3339(group.visible_at)} if group.visible_at > now_ms() else {}
        yield Entry(None, f"{what} delivered, not handled yet", "broker", evidence | again)


def _reservation(participant: Participant, order_id: int) -> list[Entry]:
    name = participant.name
    try:
        found = participant.reservation(order_id)
    except NotFound:
        return [Entry(None, "deduction", name, {"reason": f"{name} has no reservation"}, known=False)]
    except HalfMessageError as error:
        return [Entry(None, "deduction", name, {"reason": error.detail}, known=False)]
    return list(_of_reservation(name, found))


def _of_reservation(name: str, found: dict[str, Any]) -> Iterator[Entry]:
    evidence = {key: value for key, value in found.items() if key not in _ABOUT_RESERVATIONS}
    released_at = None if found["released_at"] is None else from_rfc3339(found["released_at"])
    if not any(evidence[key] for key in evidence.keys() - {"tx_id", "state"}):  # it never held anything
        yield Entry(released_at, "tombstone written: a late deduction is refused", name, evidence)
        return
    yield Entry(from_rfc3339(found["created_at"]), f"{name} deducted", name, evidence)
    if released_at is not None:
        yield Entry(released_at, f"{name} released", name, evidence)


_ABOUT_RESERVATIONS = frozenset({"order_id", "verified", "created_at", "released_at"})


def _of_request(request: OrderRequest | None) -> Iterator[Entry]:
    """Tell of an order that was submitted to be placed soon when that was, and when it was placed."""
    if request is None:
        return
    about = {"request_id": str(request.request_id), "topic": REQUEST_TOPIC}
    yield Entry(request.submitted_at, "order submitted", "order", about | {"tx_id": str(request.tx_id)})
    yield Entry(request.decided_at, "order request decided", "order", about | {"state": request.state.value})


def _of_order(order: Order | None) -> Iterable[Entry]:
    if order is None:
        return
    about = {"order_id": str(order.order_id)}
    yield Entry(order.created_at, "order requested", "order", about | {"expires_at": rfc3339(order.expires_at)})
    if order.paid_at is not None:
        yield Entry(order.paid_at, "order paid", "order", about | {"paid_through": order.paid_through})
    if order.status is Status.RETURNED:
        yield Entry(order.returned_at, "order returned", "order", about)
    if order.status is Status.CLOSED:
        reason = order.close_reason.value if order.close_reason else None
        yield Entry(order.closed_at, "order closed", "order", about | {"close_reason": reason})
