"""The timeline: each entry from evidence that exists; what is not known is said to be unknown."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from common.auth import Verifier, issue
from common.errors import PeerUnavailable
from common.payments import PaymentEvent
from common.records import RecordsOut, RecordsQuery
from common.registry import REQUEST_TOPIC
from common.telemetry import Metrics
from common.web import Api
from common.web.streams import Streams
from halfmessage.clock import now_ms, rfc3339
from halfmessage.errors import BrokerError, NotFound
from halfmessage.mq.port import Check, CheckAnswer, GroupView, MessageView, Resolution, State, Verdict
from halfmessage.tx.record import Outcome
from order.api import UseCases, install
from order.model import CloseReason
from order.service.ordering import Request
from order.service.submitting import Submitted
from order.service.timeline import Entry, Timeline
from tests.fakes import Shop

OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 10)
        yield shop


def _known(entries: list[Entry]) -> list[str]:
    return [entry.event for entry in entries if entry.known]


def _unknown(entries: list[Entry]) -> set[tuple[str, str]]:
    return {(entry.event, entry.source) for entry in entries if not entry.known}


def _entry(entries: list[Entry], event: str) -> Entry:
    (found,) = [entry for entry in entries if entry.event == event]
    return found


def test_placed(shop: Shop) -> None:
    """An order's way from the request to the dropped rollback, in time order, with its evidence."""
    order = shop.order({1: 1})
    entries = shop.timeline.of(order.order_id, owner="ann")
    assert set(_known(entries)) == {
        "order requested",
        "half message sent",
        "timeout scheduled",
        "stock deducted",
        "local transaction committed",
        "half message resolved: rollback",
    }
    assert [entry.at for entry in entries] == sorted(entry.at or 0 for entry in entries)
    assert _unknown(entries) == set()
    (view,) = shop.rollbacks(order.order_id)
    half = _entry(entries, "half message sent")
    assert (half.at, half.evidence["message_id"]) == (view.born_at, view.message_id)
    committed = _entry(entries, "local transaction committed")
    assert committed.evidence == {"tx_id": str(order.tx_id), "transaction": "placing", "order_written": True}
    assert _entry(entries, "stock deducted").evidence["items"] == [{"goods_id": "1", "quantity": 1}]


def test_paid(shop: Shop) -> None:
    """A payment is told from the order's row."""
    order = shop.order({1: 1})
    paid = shop.pay(order.order_id)
    assert _entry(shop.timeline.of(order.order_id, owner="ann"), "order paid").at == paid.paid_at


def test_returned(shop: Shop) -> None:
    """When a paid order was returned is told beside when it was paid."""
    order = shop.order({1: 1})
    shop.pay(order.order_id)
    shop.returning.give_back(order.order_id, "too small", owner="ann")
    returned = shop.reader.get(order.order_id, owner="ann")
    entries = shop.timeline.of(order.order_id, owner="ann")
    assert _entry(entries, "order returned").at == returned.returned_at
    assert {"order paid", "order returned"} <= set(_known(entries))


def test_cancelled(shop: Shop) -> None:
    """A closed order shows both transactions, the rollback and the release."""
    order = shop.order({1: 1})
    shop.closing.cancel(order.order_id, owner="ann")
    shop.quiet()
    entries = shop.timeline.of(order.order_id, owner="ann")
    assert {"order closed", "half message resolved: commit", "rollback handled", "stock released"} <= set(
        _known(entries)
    )
    assert _entry(entries, "order closed").evidence["close_reason"] == CloseReason.CANCELLED
    purposes = {e.evidence["transaction"] for e in entries if e.event == "local transaction committed"}
    assert purposes == {"placing", "closing"}


def test_closing_under_way(shop: Shop) -> None:
    """A closing that is not decided yet is said to be so."""
    order = shop.order({1: 1})
    shop.ids.age = OLD
    shop.faults.plan("begin", BrokerError(), "after")
    with pytest.raises(BrokerError):
        shop.closing.cancel(order.order_id, owner=None)
    assert _unknown(shop.timeline.of(order.order_id, owner="ann")) == {("local transaction", "order")}


def test_order_that_never_came_to_be(shop: Shop) -> None:
    """An admin sees what happened to an order that was given up; to users it does not exist."""
    shop.faults.plan("deduct", PeerUnavailable(), "before")
    with pytest.raises(PeerUnavailable):
        shop.order({1: 1})
    shop.quiet()
    order_id = int(shop.console.find(topic="order_rollback")[0].message.keys[0])
    entries = shop.timeline.of(order_id, owner=None)
    tombstone = "tombstone written: a late deduction is refused"
    assert {"half message sent", "half message resolved: commit", tombstone, "rollback handled"} <= set(_known(entries))
    assert _unknown(entries) == {("local transaction", "order")}
    with pytest.raises(NotFound):
        shop.timeline.of(order_id, owner="ann")


def test_aborted(shop: Shop) -> None:
    """A fenced transaction is told as aborted, without an order."""
    shop.ids.age = OLD
    shop.faults.hooks["deduct"] = shop.check_back
    with pytest.raises(Exception, match="given up"):
        shop.order({1: 1})
    order_id = int(shop.console.find(topic="order_rollback")[0].message.keys[0])
    aborted = _entry(shop.timeline.of(order_id, owner=None), "local transaction aborted")
    assert aborted.evidence["order_written"] is False


def test_nothing_known(shop: Shop) -> None:
    """Of an id of which there is no evidence at all there is nothing to tell, not even to an admin."""
    for owner in ("ann", None):
        with pytest.raises(NotFound):
            shop.timeline.of(12345, owner=owner)


def test_another_users_order(shop: Shop) -> None:
    """Another user's order does not exist."""
    order = shop.order({1: 1})
    with pytest.raises(NotFound):
        shop.timeline.of(order.order_id, owner="bob")


def test_stock_down(shop: Shop) -> None:
    """Without the stock service its part is unknown; the rest is told."""
    order = shop.order({1: 1})
    shop.faults.plan("reservation", PeerUnavailable())
    entries = shop.timeline.of(order.order_id, owner="ann")
    assert _unknown(entries) == {("deduction", "stock")}
    assert "half message sent" in _known(entries)


def test_broker_down(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the broker its part is unknown; the order, its record and its reservation are told."""
    order = shop.order({1: 1})

    def down(**_: Any) -> None:
        raise BrokerError

    monkeypatch.setattr(shop.console, "find", down)
    entries = shop.timeline.of(order.order_id, owner="ann")
    assert _unknown(entries) == {("messages", "broker")}
    assert {"order requested", "local transaction committed", "stock deducted"} == set(_known(entries))
    assert entries[-1].at is None


def test_a_broker_without_a_console(shop: Shop) -> None:
    """Where to look is told; the transaction is known all the same, from the reservation where there is no order."""
    order = shop.order({1: 1})
    timeline = Timeline(shop.database, shop.records, None, shop.participants, None)
    entries = timeline.of(order.order_id, owner="ann")
    assert _unknown(entries) == {("messages", "broker")}
    assert f"./scripts/messages --key {order.order_id}" in entries[-1].evidence["reason"]
    tx_id = shop.ids.next()
    shop.reservations.deduct(tx_id, {78: {1: 1}})
    shop.records.fence(shop.database, tx_id)
    given_up = timeline.of(78, owner=None)
    assert _entry(given_up, "local transaction aborted").evidence["transaction"] == "placing"
    with pytest.raises(NotFound):
        timeline.of(79, owner=None)


def test_records_are_told_of_what_is_decided(shop: Shop) -> None:
    """Of an order that was placed, and of one that was given up; an open transaction has none."""
    order = shop.order({1: 1})
    given_up, still_open = shop.ids.next(), shop.ids.next()
    shop.records.fence(shop.database, given_up)
    with shop.database.read() as connection:
        found = shop.records.decided(connection, [order.tx_id, given_up, still_open])
    assert {tx_id: outcome for tx_id, (outcome, _) in found.items()} == {
        order.tx_id: Outcome.COMMITTED,
        given_up: Outcome.ABORTED,
    }
    told = RecordsOut.of(found).model_dump(mode="json")["records"]
    assert [(one["tx_id"], one["outcome"]) for one in told] == [
        (str(order.tx_id), "committed"),
        (str(given_up), "aborted"),
    ]


def test_no_id_of_a_transaction_is_too_large_to_be_looked_up() -> None:
    """What can't be one has no record."""
    assert RecordsQuery(tx_ids="7,9999999999999999999,08").ids == [7]


def test_messages_gone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages and reservations that are kept no more are said to be missing, not left out."""
    order = shop.order({1: 1})
    monkeypatch.setattr(shop.console, "find", lambda **_: [])
    shop.faults.plan("reservation", NotFound())
    unknown = _unknown(shop.timeline.of(order.order_id, owner="ann"))
    assert unknown == {("half message", "broker"), ("delayed message", "broker"), ("deduction", "stock")}


def test_own_release_message(shop: Shop) -> None:
    """A dropped order's own release is a message, not a transaction."""
    order = shop.order({1: 1})
    message = replace(shop.rollbacks(order.order_id)[0].message, properties={"tx_id": str(order.tx_id)})
    shop.producer.send(message)
    assert "message sent" in _known(shop.timeline.of(order.order_id, owner="ann"))


def _altered(shop: Shop, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[Entry]:
    """Return the timeline of an order whose rollback message looks different to the console."""
    order = shop.order({1: 1})
    (view,) = shop.rollbacks(order.order_id)

    def find(**_: Any) -> list[MessageView]:
        return [replace(view, **changes)]

    monkeypatch.setattr(shop.console, "find", find)
    return shop.timeline.of(order.order_id, owner=None)


def test_check_backs(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check-back is told with its answer; one that no process was there to answer too."""
    checks = (Check(5, CheckAnswer.UNKNOWN, 4711), Check(9, None))
    entries = _altered(shop, monkeypatch, checks=checks, check_count=2)
    asked = _entry(entries, "check-back 1: unknown")
    assert (asked.at, asked.evidence["pid"]) == (5, 4711)
    assert "pid" not in _entry(entries, "check-back 2: no process to answer").evidence
    assert _entry(entries, "check-back 2: no process to answer").at == 9


def test_parked(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half message that the broker gave up on is told, with its checks; since when is not known."""
    parked = _entry(_altered(shop, monkeypatch, state=State.PARKED, check_count=15), "half message parked")
    assert (parked.at, parked.evidence["checks"]) == (None, 15)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (GroupView("stock", State.DEAD, 16, 0, 77), ("rollback dead-lettered", 77)),
        (GroupView("stock", State.DONE, 1, 0, 78), ("rollback handled", 78)),
        (GroupView("stock", State.IN_FLIGHT, 2, 0, None), ("rollback delivered, not handled yet", None)),
        (GroupView("stock", State.READY, 0, 0, None), None),
    ],
)
def test_deliveries(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, group: GroupView, expected: tuple[str, int | None] | None
) -> None:
    """How far each group is with a message, as far as the broker knows."""
    entries = _altered(shop, monkeypatch, groups=(group,))
    told = [(entry.event, entry.at) for entry in entries if "group" in entry.evidence]
    assert told == ([expected] if expected else [])


def test_when_the_broker_asks_or_delivers_next_is_told_where_it_tells(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made up where it does not: RocketMQ knows no such time, and one that is over foretells nothing."""
    soon = now_ms() + 60_000
    asked = _altered(shop, monkeypatch, state=State.HALF, resolution=None, check_count=2, next_check_at=soon)
    sent = _entry(asked, "half message sent").evidence
    assert (sent["check_count"], sent["next_check_at"]) == (2, rfc3339(soon))
    silent = _altered(shop, monkeypatch, state=State.HALF, resolution=None, check_count=2, next_check_at=None)
    assert "next_check_at" not in _entry(silent, "half message sent").evidence
    for visible_at, told in ((soon, rfc3339(soon)), (5, None)):
        groups = (GroupView("stock", State.IN_FLIGHT, 2, visible_at, None),)
        entries = _altered(shop, monkeypatch, groups=groups)
        evidence = _entry(entries, "rollback delivered, not handled yet").evidence
        assert evidence.get("next_delivery_at") == told


def test_timeout_handled(shop: Shop) -> None:
    """A timeout's delivery is told as one."""
    order = shop.order({1: 1})
    view = shop.console.find(topic="order_timeout")[0]
    group = GroupView("order", State.DONE, 1, 0, 79)
    shop.console.find = lambda **_: [replace(view, groups=(group,))]  # type: ignore[method-assign]
    assert _entry(shop.timeline.of(order.order_id, owner=None), "timeout handled").at == 79


def test_an_order_request(shop: Shop) -> None:
    """By its id, an admin sees its message: what took it in, and that it was handled; it closed nothing."""
    taken = shop.submitting.take_in([Request("ann", {1: 1}, None, None)])
    (request,) = [one.request for one in taken if isinstance(one, Submitted)]
    shop.broker.consumer("order_order_request", REQUEST_TOPIC, lambda deliveries: [Verdict.ACK] * len(deliveries))
    shop.quiet()
    entries = shop.timeline.of(request.request_id, owner=None)
    assert "order request handled" in _known(entries)
    assert [e.evidence["transaction"] for e in entries if "transaction" in e.evidence] == ["taking in"]


def test_messages_of_others(shop: Shop) -> None:
    """A message with the order's id in a topic that is not ours is told as it is, and its transaction is not ours."""
    order = shop.order({1: 1})
    view = shop.console.find(topic="order_timeout")[0]
    properties = {"tx_id": "77", "deliver_if": "committed"}
    message = replace(view.message, topic="shipping", properties=properties)
    groups = (GroupView("van", State.DONE, 1, 0, 79),)
    shop.console.find = lambda **_: [replace(view, message=message, groups=groups)]  # type: ignore[method-assign]
    entries = shop.timeline.of(order.order_id, owner=None)
    assert _entry(entries, "shipping handled").at == 79
    assert {e.evidence["tx_id"] for e in entries if "transaction" in e.evidence} == {str(order.tx_id)}


_SAID = {
    "event_id": "e1", "provider": "sandbox", "kind": "succeeded", "charge_id": "c1", "amount": 250, "currency": "EUR",
    "via": "callback", "received_at": "2026-01-01T00:00:01.000Z", "handled_at": "2026-01-01T00:00:02.000Z",
    "effect": "paid", "reason": None, "tx_id": "77",
}  # fmt: skip
_TAKEN = {
    "charge_id": "c1", "provider": "sandbox", "amount": 250, "currency": "EUR", "status": "kept", "reason": None,
    "taken_at": "2026-01-01T00:00:01.000Z", "refunded_at": None,
}  # fmt: skip
_TRIED = {"attempt_id": "5", "provider": "sandbox", "status": "over", "created_at": "2026-01-01T00:00:00.000Z"}


def _of_pay(shop: Shop, **story: Any) -> list[Entry]:
    """Return what pay tells of a paid order."""
    order_id = shop.order({1: 1}).order_id
    shop.pay(order_id)
    shop.payments.story = story
    return [entry for entry in shop.timeline.of(order_id, owner="ann") if entry.source == "pay"]


def test_what_a_provider_said(shop: Shop) -> None:
    """Each try, each event as it came with its signature's verdict, and what it did."""
    polled = _SAID | {"event_id": "e2", "via": "poll"}
    entries = _of_pay(shop, attempts=[_TRIED], events=[_SAID, polled], charges=[_TAKEN])
    assert [entry.event for entry in entries] == [
        "payment attempt",
        "provider's callback: succeeded",
        "provider's poll: succeeded",
        "payment event handled: paid",
        "payment event handled: paid",
    ]
    assert entries[0].at == 1_767_225_600_000
    callback, poll = entries[1].evidence, entries[2].evidence
    assert callback["signature"] == "verified"
    assert callback["amount"] == 250
    assert "reason" not in callback
    assert "signature" not in poll
    assert entries[3].evidence == {"event_id": "e1", "effect": "paid", "tx_id": "77"}


def test_what_is_not_handled_or_back_yet(shop: Shop) -> None:
    """An event that is only stored, and money that is still to go back, are told as such."""
    waiting, going = _SAID | {"handled_at": None, "effect": None}, _TAKEN | {"status": "refunding", "reason": "late"}
    entries = _of_pay(shop, events=[waiting], charges=[going])
    assert _unknown(entries) == {("payment event handled", "pay"), ("money to be sent back", "pay")}


def test_money_sent_back(shop: Shop) -> None:
    """When it was, and why."""
    back = _TAKEN | {"status": "refunded", "reason": "late", "refunded_at": "2026-01-01T00:00:09.000Z"}
    (entry,) = _of_pay(shop, charges=[back])
    assert (entry.event, entry.at, entry.evidence["reason"]) == ("money sent back", 1_767_225_609_000, "late")
    failed = back | {"status": "refused", "refusal": "account closed"}
    sent, to_send = _of_pay(shop, charges=[failed])
    assert (sent.event, to_send.event, to_send.evidence["refusal"]) == (
        "money sent back",
        "money to be sent back",
        "account closed",
    )


def test_pay_does_not_answer(shop: Shop) -> None:
    """What it knows is not known, or can't be read; the rest is told all the same."""
    order_id = shop.order({1: 1}).order_id
    shop.pay(order_id)
    shop.faults.plan("pay.payment", PeerUnavailable())
    assert _unknown(shop.timeline.of(order_id, owner="ann")) == {("payment", "pay")}
    shop.payments.story = {"events": [{}]}
    assert _unknown(shop.timeline.of(order_id, owner="ann")) == {("payment", "pay")}


def test_the_message_of_a_payment(shop: Shop) -> None:
    """It is shown as any message is; its transaction is pay's, of which this database has no record."""
    order = shop.order({1: 1})
    event = PaymentEvent(tx_id=5, order_ids=(order.order_id,), placed_by=(order.tx_id,), providers=("sandbox",))
    message = event.to_message("payment_succeeded")
    half = replace(message, properties={**message.properties, "deliver_if": "committed"})
    producer = shop.broker.producer("pay")
    producer.resolve(producer.begin(half), Resolution.COMMIT)
    shop.broker.consumer("order", "payment_succeeded", lambda deliveries: [Verdict.ACK] * len(deliveries))
    shop.quiet()
    entries = shop.timeline.of(order.order_id, owner="ann")
    assert "payment handled" in {entry.event for entry in entries if entry.evidence.get("topic") == "payment_succeeded"}
    purposes = [e.evidence["transaction"] for e in entries if e.event.startswith("local transaction")]
    assert purposes == ["placing"]


def test_timelines_of_a_slow_broker_leave_threads_to_others(shop: Shop) -> None:
    """One user is told a few at once, all users some; further ones hear at once that they are to come again."""
    order_id = shop.order({1: 1}).order_id
    inside, go_on = threading.Semaphore(0), threading.Event()

    class Slow:
        def of(self, _: int, *, owner: str | None) -> list[Entry]:
            del owner
            inside.release()
            assert go_on.wait(10)
            return []

    nothing = cast("Any", None)
    cases = UseCases(
        nothing,
        submit=nothing,
        requests=nothing,
        reader=shop.reader,
        payments=nothing,
        paying=nothing,
        closing=nothing,
        timeline=cast("Any", Slow()),
        sweep=nothing,
        erase=nothing,
    )
    secret = "s" * 32
    told: Any = {"title": "", "description": "", "max_body": 9999, "metrics": Metrics("order"), "checks": {}}
    api = Api("order", verifier=Verifier(secret), **told)
    streams = Streams(1, lasts=1, ending=api.ending)
    install(api, cases, rate_limit="9/second", most_at_once=9, most_of_one_user=9, timelines=8, streams=streams)

    def ask(user: str) -> int:
        headers = {"Authorization": f"Bearer {issue(secret, user, ['orders'], 60)}"}
        return api.app.test_client().get(f"/orders/{order_id}/timeline", headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        accepted = [pool.submit(ask, user) for user in ("ann", "bob", "cid", "dan") for _ in range(2)]
        assert all(inside.acquire(timeout=10) for _ in range(8))
        assert ask("ann") == 503
        go_on.set()
        assert [future.result(10) for future in accepted] == [200] * 8
        go_on.clear()
        accepted = [pool.submit(ask, "ann") for _ in range(2)]
        assert all(inside.acquire(timeout=10) for _ in range(2))
        assert ask("ann") == 429
        go_on.set()
        assert [future.result(10) for future in accepted] == [200] * 2
