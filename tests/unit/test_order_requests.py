"""Orders submitted now and placed soon: taken in exactly when that was told, decided once, whatever comes again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, update

from common.errors import IdempotencyMismatch, PeerUnavailable, TooManyRequests
from common.registry import REQUEST_TOPIC
from halfmessage.clock import now_ms
from halfmessage.errors import (
    BrokerError,
    CommitOutcomeUnknown,
    DatabaseUnavailable,
    DuplicateRow,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    Unavailable,
)
from halfmessage.mq.port import CheckAnswer, Delivery, Message, Resolution, Verdict
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.record import AlreadyAborted
from order.consumer import EventConsumer
from order.model import Order, Receiver, RequestState, order_requests, orders
from order.service import requests, submitting, working_off
from order.service.ordering import Ordering, Placed, Request
from order.service.placing import IdempotencyKey, KeyTaken
from order.service.requests import Decision, OrderRequest, backlog, forget_requests
from order.service.submitting import Submitted, wanted_by
from order.service.working_off import WorkingOff, rescue_once
from tests.fakes import BROKER_DOWN, Shop
from tests.support import Transactions, eventually

RECEIVER = Receiver("Ann", "+49", "Street 1")
OLD = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 10)
        yield shop


def _wanted(
    quantity: int = 1, *, goods_id: int = 1, user: str = "ann", key: str | None = None, coupon: int | None = None
) -> Request:
    idempotency = IdempotencyKey(user, key, f"{goods_id} {quantity}") if key else None
    return Request(user, {goods_id: quantity}, RECEIVER, idempotency, coupon, asked_as="asked-1")


def _submit(shop: Shop, *wanted: Request) -> list[OrderRequest]:
    taken = shop.submitting.take_in(wanted or [_wanted()])
    assert all(isinstance(one, Submitted) for one in taken), taken
    return [one.request for one in taken if isinstance(one, Submitted)]


def _event(*found: OrderRequest) -> OrderEvent:
    return OrderEvent(tx_id=found[0].tx_id, order_ids=tuple(one.request_id for one in found))


def _state(shop: Shop, request: OrderRequest) -> OrderRequest:
    return shop.requests.get(request.request_id, owner=request.user_id)


def _count(shop: Shop, table: Any = orders) -> int:
    with shop.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def _age(shop: Shop, request: OrderRequest, seconds: float) -> None:
    """Have it been submitted so long ago."""
    row = order_requests.c
    statement = update(order_requests).where(row.request_id == request.request_id)
    shop.database.transact(lambda c: c.execute(statement.values(submitted_at=now_ms() - int(seconds * 1000))))


def _without_orders(shop: Shop, error: Exception) -> WorkingOff:
    def order(_: Request) -> Placed:
        raise error

    return shop.working_off_with(order)


# Taking in


def test_a_batch_is_one_message_and_one_transaction(shop: Shop) -> None:
    """Each submission is a row, and all are named by one message, delivered because they are there."""
    first, second = _submit(shop, _wanted(), _wanted(2, user="bob"))
    (view,) = shop.console.find(topic=REQUEST_TOPIC)
    assert view.resolution is Resolution.COMMIT
    assert view.message.keys == (str(first.request_id), str(second.request_id))
    assert view.message.properties == {"tx_id": str(first.tx_id), "deliver_if": "committed"}
    assert b"Street" not in view.message.body  # whom it goes to is nobody's business at the broker
    found = _state(shop, second)
    assert (found.state, found.user_id, found.order_id, found.ahead) == (RequestState.QUEUED, "bob", None, 1)
    assert first.tx_id == second.tx_id
    assert _count(shop) == 0


def test_what_was_wanted_comes_back_as_it_was(shop: Shop) -> None:
    """In the client's order of lines, under the key of the request itself, with the id of the HTTP request."""
    shop.sell(2, 10)
    (request,) = _submit(shop, Request("ann", {2: 3, 1: 1}, RECEIVER, None, 77, asked_as="asked-2"))
    wanted = wanted_by(_state(shop, request))
    assert list(wanted.quantities.items()) == [(2, 3), (1, 1)]
    assert (wanted.receiver, wanted.coupon_id, wanted.asked_as) == (RECEIVER, 77, "asked-2")
    assert wanted.idempotency == IdempotencyKey("ann", f"request {request.request_id}", "")
    assert wanted.request_id == request.request_id
    assert "Street" not in repr((request, wanted))


def test_broker_down(shop: Shop) -> None:
    """Nothing is taken in, and that is what is told."""
    shop.faults.plan("begin", BROKER_DOWN)
    with pytest.raises(BrokerError):
        shop.submitting.take_in([_wanted()])
    assert _count(shop, order_requests) == 0


def test_a_message_that_was_said_not_to_be_sent(shop: Shop) -> None:
    """It is on the broker all the same: its check-back drops it, for nothing was taken in."""
    shop.ids.age = OLD
    shop.faults.plan("begin", BROKER_DOWN, "after")
    with pytest.raises(BrokerError):
        shop.submitting.take_in([_wanted()])
    assert shop.check_back() == [CheckAnswer.ROLLBACK]
    assert _count(shop, order_requests) == 0


def test_database_down(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken in: the message is dropped at once."""

    def down(*_: object) -> None:
        raise DatabaseUnavailable

    monkeypatch.setattr(submitting, "request_row", down)
    with pytest.raises(DatabaseUnavailable):
        shop.submitting.take_in([_wanted()])
    monkeypatch.undo()
    monkeypatch.setattr(shop.records, "commit", down)
    with pytest.raises(DatabaseUnavailable):
        shop.submitting.take_in([_wanted()])
    assert {view.resolution for view in shop.console.find(topic=REQUEST_TOPIC)} <= {Resolution.ROLLBACK, None}
    assert shop.console.find(topic=REQUEST_TOPIC)[0].resolution is Resolution.ROLLBACK


def test_fenced_meanwhile(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check-back was faster: nothing is taken in, and the message is its."""

    def too_late(*_: object) -> None:
        raise AlreadyAborted

    monkeypatch.setattr(shop.records, "commit", too_late)
    with pytest.raises(Unavailable):
        shop.submitting.take_in([_wanted()])
    assert shop.console.find(topic=REQUEST_TOPIC)[0].resolution is None


def test_connection_lost_in_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known yet, and that is told; the check-back has the message delivered if it was committed."""
    transact = shop.database.transact

    def lost(work: Callable[[Any], Any]) -> Any:
        transact(work)
        raise CommitOutcomeUnknown

    monkeypatch.setattr(shop.database, "transact", lost)
    with pytest.raises(OutcomeUnknown) as caught:
        shop.submitting.take_in([_wanted()])
    assert caught.value.members == {"order_id": None}
    monkeypatch.undo()
    assert shop.check_back() == [CheckAnswer.COMMIT]


def test_the_same_key_again(shop: Shop) -> None:
    """The same request, whether it comes later or in the same batch; for another order the key is refused."""
    (first,) = _submit(shop, _wanted(key="k"))
    later, other, of_bob, twin, foreign = shop.submitting.take_in(
        [
            _wanted(key="k"),
            _wanted(2, key="k"),
            *(_wanted(key="k", user="bob"), _wanted(key="k", user="bob")),
            _wanted(3, key="k", user="bob"),
        ]
    )
    assert isinstance(later, Submitted)
    assert (later.request.request_id, later.replayed) == (first.request_id, True)
    assert isinstance(other, IdempotencyMismatch)
    assert isinstance(of_bob, Submitted)
    assert isinstance(twin, Submitted)
    assert of_bob.request.request_id == twin.request.request_id != first.request_id
    assert (of_bob.replayed, twin.replayed) == (False, True)
    assert isinstance(foreign, IdempotencyMismatch)
    assert _count(shop, order_requests) == 2
    assert len(shop.console.find(topic=REQUEST_TOPIC)) == 2
    shop.submitting.take_in([_wanted(key="k")])
    assert len(shop.console.find(topic=REQUEST_TOPIC)) == 2  # nothing new: no message


def test_the_same_key_in_another_process(shop: Shop) -> None:
    """It took the key between our look and our write: its request is found then, and ours is dropped."""
    shop.faults.hooks["begin"] = lambda: _submit(shop, _wanted(key="k"))
    (taken,) = shop.submitting.take_in([_wanted(key="k")])
    assert isinstance(taken, Submitted)
    assert taken.replayed
    assert _count(shop, order_requests) == 1
    by_resolution = sorted(str(view.resolution) for view in shop.console.find(topic=REQUEST_TOPIC))
    assert by_resolution == ["commit", "rollback"]


def _given(shop: Shop, statement: str, name: str) -> list[Any]:
    """Return a list to which that parameter of each such statement is added as it is sent."""
    given: list[Any] = []

    def note(_c: object, _cursor: object, sent: str, _given: object, context: Any, _many: bool) -> None:
        if sent.startswith(statement):
            given.extend(row[name] for row in context.compiled_parameters)

    event.listen(shop.database.engine, "before_cursor_execute", note)
    return given


def test_requests_are_written_in_one_order(shop: Shop) -> None:
    """By key when they are taken in, by id when they are decided, lest two processes wait for each other's locks."""
    keys = _given(shop, "INSERT INTO order_requests", "idempotency_key")
    later, first = _submit(shop, _wanted(key="b"), _wanted(key="a"))
    assert keys == ["a", "b"]
    decided = _given(shop, "UPDATE order_requests", "request_id_1")
    _refuse(shop, first, later)
    assert decided == sorted([first.request_id, later.request_id])


def test_keys_that_are_taken_again_and_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and told so."""

    def taken(*_: object) -> None:
        raise DuplicateRow

    monkeypatch.setattr(shop.submitting, "_store", taken)
    with pytest.raises(Unavailable):
        shop.submitting.take_in([_wanted(key="k")])


def test_bounds(shop: Shop) -> None:
    """One user has a share of the queue, all of them the whole; what is decided makes room."""
    ann = shop.submitting.take_in([_wanted() for _ in range(5)])  # of a queue of 8, 4 may be one user's
    assert [type(one) for one in ann] == [*[Submitted] * 4, TooManyRequests]
    rest = shop.submitting.take_in([_wanted(user="bob"), _wanted(), *(_wanted(user=f"u{n}") for n in range(4))])
    assert [type(one) for one in rest] == [Submitted, TooManyRequests, *[Submitted] * 3, Overloaded]
    first = ann[0]
    assert isinstance(first, Submitted)
    shop.working_off.handle([_event(first.request)])
    assert isinstance(shop.submitting.take_in([_wanted()])[0], Submitted)


# Working off


def test_each_request_is_placed_once_however_often_it_comes(shop: Shop) -> None:
    """It becomes an order of its user, and is decided with it; what named its receiver is not kept."""
    first, second = _submit(shop, _wanted(2), _wanted(user="bob"))
    for _ in range(3):
        assert shop.working_off.handle([_event(first, second), _event(second)]) == [True, True]
    done = _state(shop, first)
    assert (done.state, done.problem, done.wanted, done.ahead) == (RequestState.CREATED, None, None, None)
    assert done.decided_at is not None
    assert done.order_id is not None
    order = shop.reader.get(done.order_id, owner="ann")
    assert (order.lines[0].quantity, order.receiver) == (2, RECEIVER)
    assert _count(shop) == 2
    assert shop.available(1) == 7
    assert shop.decided == ["created"] * 2
    assert order in shop.reader.found("asked-1", limit=5)["x-request-id"]  # the client's call, not the message
    assert shop.ordering.first_answer(IdempotencyKey("ann", f"request {first.request_id}", "")) == order
    assert shop.reader.found(str(first.request_id), limit=5)["idempotency-key"] == [order]


def test_a_message_of_nothing(shop: Shop) -> None:
    """Requests that are forgotten are done with."""
    assert shop.working_off.handle([OrderEvent(tx_id=1, order_ids=(2, 3))]) == [True]


def test_refused(shop: Shop) -> None:
    """With the problem that placing it at once would have been answered with; another of its batch is placed."""
    short, unknown, fine = _submit(shop, _wanted(11), _wanted(goods_id=9), _wanted())
    assert shop.working_off.handle([_event(short, unknown, fine)]) == [True]
    found = _state(shop, short)
    assert (found.state, found.order_id, found.wanted) == (RequestState.REFUSED, None, None)
    assert found.problem == {
        "type": "/problems/insufficient-stock",
        "title": "Insufficient stock",
        "status": 409,
        "detail": "There is not enough stock for this order; items names what is short.",
        "instance": "/orders",
        "request_id": "asked-1",
        "items": [{"goods_id": "1"}],
    }
    assert (_state(shop, unknown).problem or {})["type"] == "/problems/unknown-goods"
    assert _state(shop, fine).state is RequestState.CREATED
    assert sorted(shop.decided) == ["created", "refused", "refused"]


def test_failed(shop: Shop) -> None:
    """A fault of ours is told as one, and does not hold up others."""
    broken, fine = _submit(shop, _wanted(goods_id=5), _wanted())

    def order(request: Request) -> Placed:
        if 5 in request.quantities:
            raise ZeroDivisionError
        return shop.ordering.order(request)

    assert shop.working_off_with(order).handle([_event(broken, fine)]) == [True]
    found = _state(shop, broken)
    assert (found.state, (found.problem or {})["status"]) == (RequestState.FAILED, 500)
    assert _state(shop, fine).state is RequestState.CREATED
    assert sorted(shop.decided) == ["created", "failed"]


def test_expired(shop: Shop) -> None:
    """What waited for too long is not placed any more."""
    old, young = _submit(shop, _wanted(), _wanted())
    _age(shop, old, 601)
    _age(shop, young, 590)
    assert shop.working_off.handle([_event(old, young)]) == [True]
    found = _state(shop, old)
    assert (found.state, (found.problem or {})["type"]) == (RequestState.REFUSED, "/problems/expired")
    assert _state(shop, young).state is RequestState.CREATED
    assert _count(shop) == 1


def test_what_is_down_holds_up_those_alone_that_need_it(shop: Shop) -> None:
    """They come again, and the others are placed."""
    waiting, fine = _submit(shop, _wanted(goods_id=5), _wanted())

    def order(request: Request) -> Placed:
        if 5 in request.quantities:
            raise PeerUnavailable
        return shop.ordering.order(request)

    assert shop.working_off_with(order).handle([_event(waiting), _event(fine)]) == [False, True]
    assert _state(shop, waiting).state is RequestState.QUEUED
    assert _state(shop, fine).state is RequestState.CREATED


def test_what_all_need_is_down(shop: Shop) -> None:
    """Then no more is tried: everything comes again, and the consumer is told to wait until it is back."""
    taken = _submit(shop, *(_wanted() for _ in range(3)))
    told: list[str] = []
    handle = _without_orders(shop, PeerUnavailable()).handle
    consumer = EventConsumer("request", OrderEvent, handle, failed=lambda: told.append("failed"))
    shop.broker.consumer("order_order_request", REQUEST_TOPIC, consumer)
    eventually(lambda: "failed" in told)
    with pytest.raises(PeerUnavailable):
        handle([_event(*taken)])
    assert {_state(shop, one).state for one in taken} == {RequestState.QUEUED}


def test_requests_are_worked_off_in_rounds(shop: Shop) -> None:
    """After each round, as many as are placed at once, the broker is told that the message is still worked on."""
    taken = _submit(shop, *(_wanted(user=f"user-{number}") for number in range(5)))
    steps: list[int | str] = []

    def handle(events: Sequence[OrderEvent]) -> list[bool]:
        steps.append(sum(len(event.order_ids) for event in events))
        return shop.working_off.handle(events)

    message = Message(REQUEST_TOPIC, _event(*taken).to_body())
    delivery = Delivery("one", message, 1, 0, lambda: steps.append("kept"))
    assert EventConsumer("request", OrderEvent, handle, together=2)([delivery]) == [Verdict.ACK]
    assert steps == [2, "kept", 2, "kept", 1, "kept"]
    assert {_state(shop, one).state for one in taken} == {RequestState.CREATED}


@pytest.mark.parametrize("error", [KeyTaken(), OutcomeUnknown(order_id="1")])
def test_not_known_yet(shop: Shop, error: Exception) -> None:
    """Another process, or the check-back, is to decide it: it comes again and is found decided then."""
    (request,) = _submit(shop)
    assert _without_orders(shop, error).handle([_event(request)]) == [False]
    assert _state(shop, request).state is RequestState.QUEUED


def _refuse(shop: Shop, *found: OrderRequest) -> None:
    """Have another process refuse requests."""
    decisions = [Decision(one.request_id, RequestState.REFUSED, problem={"status": 409}) for one in found]
    shop.database.transact(lambda connection: requests.decide(connection, decisions))


def test_refused_while_it_is_placed(shop: Shop) -> None:
    """Delivered twice, the second found no stock, for the first had taken it: refused it is, and nothing stands."""
    request, other = _submit(shop, _wanted(5), _wanted(5))
    drafts = [shop.ordering._draft(wanted_by(one), anew=False) for one in (request, other)]
    shop.faults.hooks["deduct"] = lambda: _refuse(shop, request)
    dropped, placed = shop.placing.place(drafts)
    assert isinstance(dropped, KeyTaken)
    assert isinstance(placed, Order)
    assert (_state(shop, request).state, _state(shop, request).problem) == (RequestState.REFUSED, {"status": 409})
    assert _state(shop, other).order_id == placed.order_id
    shop.quiet()
    assert (_count(shop), shop.available(1)) == (1, 5)


def test_refused_before_its_order_is_committed(shop: Shop) -> None:
    """Its consumer hears that it is decided, and the message is done with when it comes again."""
    (request,) = _submit(shop)
    shop.faults.hooks["deduct"] = lambda: _refuse(shop, request)
    assert shop.working_off.handle([_event(request)]) == [False]
    assert shop.working_off.handle([_event(request)]) == [True]
    assert _count(shop) == 0


def test_created_by_another_process_meanwhile(shop: Shop) -> None:
    """A worker that finds no stock left for it looks whether that is because it is placed: created it stays."""
    (request,) = _submit(shop, _wanted(10))
    elsewhere = Ordering(shop.reader, shop.pricing, shop.ids, shop.place, pay_timeout=900.0)
    shop.faults.hooks["deduct"] = lambda: shop.working_off_with(elsewhere.order).handle([_event(request)])
    assert shop.working_off.handle([_event(request)]) == [True]
    assert _state(shop, request).state is RequestState.CREATED
    assert _count(shop) == 1


def test_an_order_that_the_client_placed_meanwhile(shop: Shop) -> None:
    """Under the same key, without waiting: the request has come to that order."""
    (request,) = _submit(shop, _wanted(key="k"))
    placed = shop.ordering.order(_wanted(key="k"))
    assert shop.working_off.handle([_event(request)]) == [True]
    found = _state(shop, request)
    assert (found.state, found.order_id) == (RequestState.CREATED, placed.order.order_id)
    assert _count(shop) == 1
    assert shop.decided == ["created"]


def test_an_old_request_whose_order_stands(shop: Shop) -> None:
    """Its client placed it at once, in time: too old to be placed, it has come to that order all the same."""
    (request,) = _submit(shop, _wanted(key="k"))
    placed = shop.ordering.order(_wanted(key="k"))
    _age(shop, request, 601)
    assert shop.working_off.handle([_event(request)]) == [True]
    found = _state(shop, request)
    assert (found.state, found.order_id) == (RequestState.CREATED, placed.order.order_id)
    assert (_count(shop), shop.decided) == (1, ["created"])


def test_an_old_request_whose_key_made_another_order(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """That order is not what was submitted: the request expires."""

    def another(_: IdempotencyKey) -> Order:
        raise IdempotencyMismatch

    monkeypatch.setattr(shop.working_off, "_first_answer", another)
    (request,) = _submit(shop, _wanted(key="k"))
    _age(shop, request, 601)
    assert shop.working_off.handle([_event(request)]) == [True]
    found = _state(shop, request)
    assert (found.state, (found.problem or {})["type"]) == (RequestState.REFUSED, "/problems/expired")


def test_rescue(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no message will bring any more is placed all the same, so many at a time; what is young is left alone."""
    monkeypatch.setattr(working_off, "ROWS", 2)
    lost = _submit(shop, *(_wanted(user=f"u{n}") for n in range(5)))
    (young,) = _submit(shop)
    for one in lost:
        _age(shop, one, 31)
    with monkeypatch.context() as patch:
        patch.setattr(working_off, "_PAGES", 1)
        assert shop.working_off.rescue(30.0) == 2
    assert shop.working_off.rescue(30.0) == 3
    assert {_state(shop, one).state for one in lost} == {RequestState.CREATED}
    assert _state(shop, young).state is RequestState.QUEUED
    assert shop.working_off.rescue(30.0) == 0
    _age(shop, young, 31)
    monkeypatch.setattr(working_off, "_PAGES", 0)
    assert shop.working_off.rescue(30.0) == 0  # it ends, however many there are


def test_rescue_goes_on_next_time(shop: Shop) -> None:
    """What is down now is for the next round."""
    (request,) = _submit(shop)
    _age(shop, request, 31)
    rescue_once(_without_orders(shop, PeerUnavailable()), 30.0)
    assert _state(shop, request).state is RequestState.QUEUED
    rescue_once(shop.working_off, 30.0)
    assert _state(shop, request).state is RequestState.CREATED


# Reading and forgetting


def test_ahead(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many wait before it; beyond a bound it is not told, and of what is decided neither."""
    taken = _submit(shop, *(_wanted(user=f"u{n}") for n in range(4)))
    assert [_state(shop, one).ahead for one in taken] == [0, 1, 2, 3]
    together = shop.requests._find([one.request_id for one in taken])  # of clients who ask at once
    assert [one and one.ahead for one in together] == [0, 1, 2, 3]
    monkeypatch.setattr(requests, "COUNTED", 2)
    with shop.database.read() as connection:
        assert len(requests._oldest(connection, taken[-1].request_id)) == 2  # no more are read than are counted
    assert [_state(shop, one).ahead for one in taken] == [0, 1, None, None]
    monkeypatch.undo()
    shop.working_off.handle([_event(taken[0])])
    assert [_state(shop, one).ahead for one in taken] == [None, 0, 1, 2]


def test_another_s_request(shop: Shop) -> None:
    """It is as if there were none; admins see it."""
    (request,) = _submit(shop)
    with pytest.raises(NotFound):
        shop.requests.get(request.request_id, owner="bob")
    with pytest.raises(NotFound):
        shop.requests.get(1, owner="ann")
    assert shop.requests.get(request.request_id, owner=None).user_id == "ann"


def test_backlog(shop: Shop) -> None:
    """How many wait, and since when the oldest does."""
    assert backlog(shop.database, 9) == {"requests_queued": 0, "request_oldest_seconds": 0.0}
    old, decided, _ = _submit(shop, *(_wanted() for _ in range(3)))
    _age(shop, old, 50)
    shop.working_off.handle([_event(decided)])
    found = backlog(shop.database, 9)
    assert found["requests_queued"] == 2
    assert 50 <= found["request_oldest_seconds"] < 80
    assert backlog(shop.database, 1)["requests_queued"] == 1  # counted up to the bound


def test_old_requests_are_forgotten(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many in one transaction, once they are decided; what waits is never forgotten."""
    monkeypatch.setattr("common.purging.VALUES", 2)
    shop.ids.age = 100.0
    old = _submit(shop, *(_wanted(user=f"u{n}") for n in range(4)))
    shop.ids.age = 60.0
    (young,) = _submit(shop)
    _refuse(shop, *old[:3], young)
    rows = Transactions(shop.database)
    assert forget_requests(shop.database, 90.0) == 3
    assert rows.largest == 2
    assert _state(shop, old[3]).state is RequestState.QUEUED
    assert _state(shop, young).state is RequestState.REFUSED
    assert forget_requests(shop.database, 90.0) == 0


def test_by_messages(shop: Shop) -> None:
    """From the submission to the order through the broker."""
    (request,) = _submit(shop)
    shop.broker.consumer(
        "order_order_request", REQUEST_TOPIC, EventConsumer("request", OrderEvent, shop.working_off.handle)
    )
    eventually(lambda: _state(shop, request).state is RequestState.CREATED)
    shop.quiet()
