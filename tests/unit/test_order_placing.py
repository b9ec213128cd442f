"""Placing batches: what each step's failure leaves behind, at the broker, in the rows and in the stock."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select
from sqlalchemy.exc import OperationalError

from common.aside import ThreadedAside
from common.errors import PeerUnavailable
from halfmessage import failpoints
from halfmessage.clock import now_ms
from halfmessage.errors import (
    BelowZero,
    BrokerError,
    CommitOutcomeUnknown,
    DatabaseUnavailable,
    DuplicateRow,
    RowRefused,
    Unavailable,
)
from halfmessage.mq.port import CheckAnswer, Resolution, State
from halfmessage.participant.event import OrderEvent
from halfmessage.tx.coordinator import Coordinator
from halfmessage.tx.record import AlreadyAborted, Outcome
from order.clients.participant import Deduction
from order.model import InsufficientStock, Line, Order, Status, idempotency_keys, placing_calls
from order.service import placing
from order.service.placing import Draft, IdempotencyKey, KeyTaken, Placing
from order.service.reading import statuses
from tests.fakes import Shop
from tests.support import lines_of

OLD = 60.0
_DEADLOCK = 1213  # InnoDB's ER_LOCK_DEADLOCK


class _ProcessEnded(BaseException):
    """What is raised where a test's process would be killed."""


def _ending_at(point: str) -> Callable[[str], None]:
    def hit(passed: str) -> None:
        if passed == point:
            raise _ProcessEnded

    return hit


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 3)
        yield shop


def _draft(shop: Shop, quantity: int = 1, *, goods_id: int = 1, key: str | None = None) -> Draft:
    line = Line(goods_id, "Tea", "", None, quantity, 100, None)
    now = now_ms()
    order = Order(
        shop.ids.next(), 0, "ann", Status.CREATED, None, (line,), None, 100 * quantity, "EUR", now, now + 900_000
    )
    return Draft(order, IdempotencyKey("ann", key, "hash") if key else None)


def _take_key(shop: Shop, key: str) -> None:
    """Have another process make an order under a key."""
    row = {"user_id": "ann", "idempotency_key": key, "request_hash": "hash", "order_id": 1}
    shop.database.transact(lambda c: c.execute(insert(idempotency_keys), [row]))


def _exists(shop: Shop, draft: Draft) -> bool:
    with shop.database.read() as connection:
        return draft.order.order_id in statuses(connection, [draft.order.order_id])


def _resolution(shop: Shop, draft: Draft) -> Resolution | None:
    return shop.rollbacks(draft.order.order_id)[0].resolution


def test_batch(shop: Shop) -> None:
    """A batch is one half message, one delayed message, one deduction and one local transaction."""
    drafts = [_draft(shop), _draft(shop, 2)]
    assert [draft.weight for draft in drafts] == [1, 1]  # by lines, not pieces: what is asked of stock grows with them
    answers = shop.placing.place(drafts)
    placed = [shop.reader.get(draft.order.order_id, owner="ann") for draft in drafts]
    assert answers == placed
    assert placed[0].tx_id == placed[1].tx_id != 0
    assert shop.available(1) == 0
    rollback, timeout = (shop.console.find(topic=topic) for topic in ("order_rollback", "order_timeout"))
    assert [view.resolution for view in rollback] == [Resolution.ROLLBACK]
    keys = tuple(str(draft.order.order_id) for draft in drafts)
    assert rollback[0].message.keys == timeout[0].message.keys == keys
    assert rollback[0].message.properties == {"tx_id": str(placed[0].tx_id), "deliver_if": "aborted"}
    assert timeout[0].deliver_at == max(draft.order.expires_at for draft in drafts)
    with shop.database.read() as connection:
        assert shop.records.find(connection, [placed[0].tx_id]) == {placed[0].tx_id: Outcome.COMMITTED}


def test_a_batch_writes_the_ids_of_its_calls_in_one_statement(shop: Shop) -> None:
    """For those that have one, in the transaction that writes the orders: what is refused leaves none."""
    drafts = [replace(_draft(shop), asked_as=f"call-{n}") for n in range(2)] + [_draft(shop)]
    sent: list[str] = []

    def see(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(shop.database.engine, "before_cursor_execute", see)
    shop.placing.place([*drafts, replace(_draft(shop, 999), asked_as="call-in-vain")])
    assert sum("INSERT INTO placing_calls" in statement for statement in sent) == 1
    with shop.database.read() as connection:
        rows = connection.execute(select(placing_calls).order_by(placing_calls.c.order_id)).all()
    assert [tuple(row) for row in rows] == [(draft.order.order_id, draft.asked_as) for draft in drafts[:2]]


def test_a_batch_is_looked_at_when_the_last_of_it_expires(shop: Shop) -> None:
    """Earlier, its one timeout would have to come again for those that are not due."""
    first, last = _draft(shop), _draft(shop)
    later = last.order.expires_at + 60_000
    shop.placing.place([first, replace(last, order=replace(last.order, expires_at=later))])
    (timeout,) = shop.console.find(topic="order_timeout")
    assert timeout.deliver_at == later


def test_each_step_of_placing_is_timed(shop: Shop) -> None:
    """Once a batch, however many orders it has."""
    steps: list[str] = []
    timed = Coordinator(shop.producer, shop.database, shop.records, shop.ids, lambda step, _: steps.append(step))
    with closing(ThreadedAside("test", 2)) as aside:
        placing = Placing(timed, shop.producer, shop.participants, shop.settlements, aside, shop.tell)
        placing.place([_draft(shop), _draft(shop)])
    assert sorted(steps) == ["order.commit", "order.deduct", "order.half", "order.resolve", "order.schedule"]


def test_where_nothing_has_to_be_told_nothing_is_asked(shop: Shop) -> None:
    """An unpaid batch, and a free one that nobody has to hear of, cost no look at what participants have to confirm."""
    told: list[str] = []
    shop.faults.hooks["tell"] = lambda: told.append("asked")
    free = _draft(shop)
    free = replace(free, order=replace(free.order, status=Status.PAID, paid_at=free.order.created_at))
    answers = shop.placing.place([_draft(shop)]) + shop.placing.place([free])
    assert [type(answer) for answer in answers] == [Order, Order]
    assert told == []


def test_broker_down_at_begin(shop: Shop) -> None:
    """No half message: nothing happened."""
    shop.faults.plan("send_at", BrokerError())
    shop.faults.plan("begin", BrokerError())
    with pytest.raises(Unavailable):
        shop.placing.place([_draft(shop)])
    assert shop.console.find() == []
    assert shop.available(1) == 3


def test_half_message_arrived_but_unanswered(shop: Shop) -> None:
    """A half message whose sending was not answered is fenced by its check-back, and undone where nothing was done."""
    shop.ids.age = OLD
    draft = _draft(shop)
    shop.faults.plan("begin", BrokerError(), "after")
    with pytest.raises(Unavailable):
        shop.placing.place([draft])
    assert shop.check_back() == [CheckAnswer.COMMIT]
    shop.quiet()
    assert shop.state(draft.order.order_id) == "released"
    assert shop.available(1) == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_timeout_not_scheduled(shop: Shop, when: str) -> None:
    """Without a timeout there is no order: what was deducted meanwhile comes back."""
    draft = _draft(shop)
    shop.faults.plan("send_at", BrokerError(), when)
    with pytest.raises(Unavailable):
        shop.placing.place([draft])
    assert _resolution(shop, draft) is Resolution.COMMIT
    shop.quiet()
    assert shop.state(draft.order.order_id) == "released"
    assert shop.available(1) == 3
    assert not _exists(shop, draft)


@pytest.mark.parametrize(("when", "left"), [("before", {}), ("after", {1: 1})])
def test_stock_does_not_answer(shop: Shop, when: str, left: dict[int, int]) -> None:
    """Deducted or not, it is not known: the rollback is delivered, which is right for both."""
    draft = _draft(shop)
    shop.faults.plan("deduct", PeerUnavailable(), when)
    with pytest.raises(Unavailable):
        shop.placing.place([draft])
    assert _resolution(shop, draft) is Resolution.COMMIT
    shop.quiet()
    assert lines_of(shop.reservations.get(draft.order.order_id)) == left
    assert shop.state(draft.order.order_id) == "released"
    assert shop.available(1) == 3
    assert not _exists(shop, draft)


def test_short(shop: Shop) -> None:
    """An order that stock refuses is refused, with what is short; its message is dropped: nothing to undo."""
    draft = _draft(shop, 4)
    (answer,) = shop.placing.place([draft])
    assert isinstance(answer, InsufficientStock)
    assert answer.members == {"items": [{"goods_id": "1"}]}
    assert _resolution(shop, draft) is Resolution.ROLLBACK
    assert shop.state(draft.order.order_id) is None


def test_one_of_a_batch_is_short(shop: Shop) -> None:
    """A short order drops out of its batch alone."""
    drafts = [_draft(shop, 2), _draft(shop, 2), _draft(shop, 1)]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [Order, InsufficientStock, Order]
    assert [_exists(shop, draft) for draft in drafts] == [True, False, True]
    assert shop.state(drafts[1].order.order_id) is None
    assert len(shop.rollbacks(drafts[1].order.order_id)) == 1
    assert shop.available(1) == 0


def test_tombstone(shop: Shop) -> None:
    """An order that was released before it was deducted is not placed; the others of its batch are."""
    drafts = [_draft(shop), _draft(shop)]
    shop.reservations.release({drafts[0].order.order_id: 1})
    answers = shop.placing.place(drafts)
    assert type(answers[0]) is Unavailable
    assert isinstance(answers[1], Order)
    assert not _exists(shop, drafts[0])


def test_checker_gave_up_on_us(shop: Shop) -> None:
    """A batch that is fenced while stock deducts is refused whole; the check-back delivers its rollback."""
    shop.ids.age = OLD
    drafts = [_draft(shop), _draft(shop)]
    shop.faults.hooks["deduct"] = shop.check_back
    with pytest.raises(AlreadyAborted):
        shop.placing.place(drafts)
    assert _resolution(shop, drafts[0]) is Resolution.COMMIT
    shop.quiet()
    for draft in drafts:
        assert not _exists(shop, draft)
        assert shop.state(draft.order.order_id) == "released"
    assert shop.available(1) == 3


@pytest.mark.parametrize("stands", [True, False], ids=["it committed", "it did not"])
def test_connection_lost_in_commit(shop: Shop, monkeypatch: pytest.MonkeyPatch, stands: bool) -> None:
    """There is no guess: the message stays open until the check-back finds the record, or fences."""
    shop.ids.age = OLD
    draft = _draft(shop)
    transact = shop.database.transact

    def lost(work: Any) -> None:
        if stands:
            transact(work)
        raise CommitOutcomeUnknown

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", lost)
        with pytest.raises(CommitOutcomeUnknown):
            shop.placing.place([draft])
    assert shop.rollbacks(draft.order.order_id)[0].state is State.HALF
    assert shop.check_back() == [CheckAnswer.ROLLBACK if stands else CheckAnswer.COMMIT]
    shop.quiet()
    assert _exists(shop, draft) == stands
    assert shop.state(draft.order.order_id) == ("deducted" if stands else "released")


def test_database_down(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local transaction that certainly did not happen: the rollback is delivered at once."""
    draft = _draft(shop)

    def down(_: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(shop.database, "transact", down)
        with pytest.raises(DatabaseUnavailable):
            shop.placing.place([draft])
    shop.quiet()
    assert shop.state(draft.order.order_id) == "released"
    assert not _exists(shop, draft)


@pytest.mark.parametrize("when", ["before", "after"])
def test_resolve_fails(shop: Shop, when: str) -> None:
    """An order that is committed is placed, even if the broker does not answer; the check-back drops its message."""
    draft = _draft(shop)
    shop.faults.plan("resolve", BrokerError(), when)
    (answer,) = shop.placing.place([draft])
    assert isinstance(answer, Order)
    assert shop.check_back() == ([CheckAnswer.ROLLBACK] if when == "before" else [])
    assert _resolution(shop, draft) is Resolution.ROLLBACK
    assert shop.state(draft.order.order_id) == "deducted"


def test_key_taken_before_the_batch(shop: Shop) -> None:
    """An order whose key is taken drops out after it was deducted: released by its own message, the others stand."""
    _take_key(shop, "k")
    drafts = [_draft(shop, key="free"), _draft(shop, key="k"), _draft(shop)]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [Order, KeyTaken, Order]
    shop.quiet()
    assert [_exists(shop, draft) for draft in drafts] == [True, False, True]
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["deducted", "released", "deducted"]
    assert shop.available(1) == 1
    own = shop.rollbacks(drafts[1].order.order_id)[1]
    assert own.message.keys == (str(drafts[1].order.order_id),)
    assert "deliver_if" not in own.message.properties


def test_same_key_twice_in_a_batch(shop: Shop) -> None:
    """Of two orders under one key in the same batch, the first is placed."""
    drafts = [_draft(shop, key="k"), _draft(shop, key="k")]
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [Order, KeyTaken]
    shop.quiet()
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["deducted", "released"]


@pytest.mark.parametrize(("taken", "order"), [(None, ["a", "b"]), ("b", ["a", "b", "a", "b"])])
def test_keys_are_locked_in_one_order(shop: Shop, taken: str | None, order: list[str]) -> None:
    """Together or one by one, keys are written in the order of their names, lest two batches wait for each other."""
    if taken:
        _take_key(shop, taken)
    written: list[str] = []

    def note(_c: object, _cursor: object, statement: str, _given: object, context: Any, _many: bool) -> None:
        if "INTO idempotency_keys" in statement:
            written.extend(row["idempotency_key"] for row in context.compiled_parameters)

    event.listen(shop.database.engine, "before_cursor_execute", note)
    shop.placing.place([_draft(shop, key="b"), _draft(shop), _draft(shop, key="a")])
    assert written == order


@pytest.mark.parametrize("when", ["before", "after"])
def test_release_of_the_dropped_fails(shop: Shop, when: str) -> None:
    """A batch whose dropped order can't be released is given up whole: nothing was created, all stock comes back."""
    _take_key(shop, "k")
    drafts = [_draft(shop), _draft(shop, key="k")]
    shop.faults.plan("send", BrokerError(), when)
    with pytest.raises(BrokerError):
        shop.placing.place(drafts)
    shop.quiet()
    assert [_exists(shop, draft) for draft in drafts] == [False, False]
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["released", "released"]
    assert shop.available(1) == 3


@pytest.mark.parametrize("point", ["order.before_commit", "order.committed", "order.before_resolve"])
def test_killed_after_an_order_dropped_out(shop: Shop, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stock comes back by its own message or by check-back, wherever the process ends: no sweep is needed."""
    shop.ids.age = OLD
    _take_key(shop, "k")
    drafts = [_draft(shop), _draft(shop, key="k")]
    monkeypatch.setattr(failpoints, "hit", _ending_at(point))
    with suppress(_ProcessEnded):
        shop.placing.place(drafts)
    monkeypatch.undo()
    assert len(shop.check_back()) == 1
    shop.quiet()
    stands = point != "order.before_commit"
    assert [_exists(shop, draft) for draft in drafts] == [stands, False]
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["deducted" if stands else "released", "released"]


def test_dropped_for_good(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that was released is not written when the database has the transaction run again; the others are."""
    drafts = [_draft(shop), _draft(shop, key="k"), _draft(shop, key="later")]
    tries = itertools.count()

    def write_orders(connection: Connection, together: Sequence[Draft]) -> None:
        if drafts[1].order.order_id in {draft.order.order_id for draft in together} and next(tries) < 2:
            raise DuplicateRow  # together and alone; a third try would be let through
        placing_write_orders(connection, together)

    placing_write_orders = placing._write_orders
    monkeypatch.setattr(placing, "_write_orders", write_orders)
    shop.faults.plan("send", OperationalError("INSERT", {}, Exception(_DEADLOCK)), "after")
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [Order, KeyTaken, Order]
    assert not shop.faults.planned
    shop.quiet()
    assert [_exists(shop, draft) for draft in drafts] == [True, False, True]
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["deducted", "released", "deducted"]


def test_a_refusal_that_passes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders that are refused together, but not one by one, all stand; nothing is released."""
    drafts = [_draft(shop), _draft(shop)]
    placing_write_orders = placing._write_orders

    def write_orders(connection: Connection, together: Sequence[Draft]) -> None:
        if len(together) > 1:
            raise DuplicateRow
        placing_write_orders(connection, together)

    monkeypatch.setattr(placing, "_write_orders", write_orders)
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [Order, Order]
    assert [len(shop.rollbacks(draft.order.order_id)) for draft in drafts] == [1, 1]
    shop.quiet()
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["deducted", "deducted"]


@pytest.mark.parametrize("broker_down", [False, True])
def test_all_dropped(shop: Shop, broker_down: bool) -> None:
    """A batch of which nothing is left writes no record: it is aborted, and its rollback delivered."""
    shop.ids.age = OLD
    _take_key(shop, "k")
    draft = _draft(shop, key="k")
    if broker_down:
        shop.faults.plan("resolve", BrokerError())
    (answer,) = shop.placing.place([draft])
    assert isinstance(answer, KeyTaken)
    assert shop.check_back() == ([CheckAnswer.COMMIT] if broker_down else [])
    shop.quiet()
    assert shop.state(draft.order.order_id) == "released"
    assert shop.available(1) == 3


def test_an_order_that_the_database_refuses(shop: Shop) -> None:
    """A row that breaks a rule of its table drops out alone, and is released; none is told that a key was taken."""
    drafts = [_draft(shop), _draft(shop), _draft(shop, key="k")]
    nowhere = replace(drafts[1], order=replace(drafts[1].order, currency=None))  # type: ignore[arg-type]
    answers = shop.placing.place([drafts[0], nowhere, drafts[2]])
    assert [type(answer) for answer in answers] == [Order, RowRefused, Order]
    shop.quiet()
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["deducted", "released", "deducted"]


def test_an_order_that_breaks_a_check_of_the_database(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It drops out alone too: a CHECK is another error than a missing value."""
    drafts = [_draft(shop), _draft(shop)]
    rows, spoilt = placing.line_rows, drafts[0].order.order_id

    def lines(order: Order) -> list[dict[str, Any]]:
        return [row | {"quantity": 0} if order.order_id == spoilt else row for row in rows(order)]

    monkeypatch.setattr(placing, "line_rows", lines)
    assert [type(answer) for answer in shop.placing.place(drafts)] == [BelowZero, Order]
    shop.quiet()
    assert [shop.state(draft.order.order_id) for draft in drafts] == ["released", "deducted"]


def test_timeout_is_scheduled_beside_the_half_message(shop: Shop) -> None:
    """Neither waits for the other, and the answer does not wait for the message's resolution."""
    both, answered = threading.Barrier(2, timeout=10), threading.Event()
    shop.faults.hooks["send_at"] = shop.faults.hooks["begin"] = both.wait
    shop.faults.hooks["resolve"] = lambda: answered.wait(10)
    aside = ThreadedAside("test", 2)
    draft = _draft(shop)
    (answer,) = shop.placing_with(aside).place([draft])
    assert isinstance(answer, Order)
    assert _resolution(shop, draft) is None
    answered.set()
    aside.close()
    assert _resolution(shop, draft) is Resolution.ROLLBACK


def test_stock_is_deducted_while_the_timeout_is_scheduled(shop: Shop) -> None:
    """A timeout that takes longer than the half message holds up the local transaction alone."""
    both = threading.Barrier(2, timeout=10)
    shop.faults.hooks["send_at"] = shop.faults.hooks["deduct"] = both.wait
    with closing(ThreadedAside("test", 2)) as aside:
        (answer,) = shop.placing_with(aside).place([_draft(shop)])
    assert isinstance(answer, Order)


def test_a_timeout_ends_before_its_batch_does(shop: Shop) -> None:
    """Where no half message can be sent, what goes on beside it is waited for; the timeout closes nothing later."""
    shop.ids.age = OLD
    refused, raised = threading.Event(), threading.Event()
    shop.faults.hooks["begin"] = refused.set
    shop.faults.hooks["send_at"] = lambda: (refused.wait(10), raised.wait(0.3))  # sent after it all, unless waited for
    shop.faults.plan("begin", BrokerError())
    draft = _draft(shop)
    with closing(ThreadedAside("test", 2)) as aside:
        with pytest.raises(Unavailable):
            shop.placing_with(aside).place([draft])
        (timeout,) = shop.console.find()
        raised.set()
    assert timeout.message.topic == "order_timeout"
    assert shop.timeouts.handle([OrderEvent.from_body(timeout.message.body)]) == [True]
    assert not _exists(shop, draft)
    assert shop.available(1) == 3


@pytest.mark.parametrize("half", [None, BrokerError()])
def test_a_timeout_that_is_never_sent_holds_up_no_order_for_ever(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, half: Exception | None
) -> None:
    """Nothing was created, the rollback is delivered, and the next batch has its turn."""
    monkeypatch.setattr(placing, "_SCHEDULED_WITHIN", 0.05)
    over = threading.Event()
    shop.faults.hooks["send_at"] = lambda: over.wait(5)
    if half is not None:
        shop.faults.plan("begin", half)
    draft = _draft(shop)
    with closing(ThreadedAside("test", 2)) as aside:
        with pytest.raises(Unavailable):
            shop.placing_with(aside).place([draft])
        assert not over.is_set()
        over.set()
    shop.quiet()
    assert not _exists(shop, draft)
    assert shop.available(1) == 3


def test_verdicts_in_any_order(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are found by order id, whatever order the stock service answers in."""
    drafts = [_draft(shop, 4), _draft(shop)]
    deduct = shop.stock.deduct

    def reversed_answer(*args: Any) -> dict[int, Deduction]:
        return dict(reversed(deduct(*args).items()))

    monkeypatch.setattr(shop.stock, "deduct", reversed_answer)
    answers = shop.placing.place(drafts)
    assert [type(answer) for answer in answers] == [InsufficientStock, Order]
