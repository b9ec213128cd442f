"""Purchases in flash sales become orders: one each, at the sale's price, out of the sale's pieces."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError
from sqlalchemy import delete, func, select

from common.errors import PeerUnavailable
from common.idempotency import IdempotencyKey
from common.purchases import APART_MS, PurchaseEvent, Sold
from common.registry import PURCHASE_TOPIC
from halfmessage.clock import now_ms
from halfmessage.errors import DuplicateRow, NotFound, Unavailable
from halfmessage.ids import first_of, issued_at
from halfmessage.mq.port import CheckAnswer, Resolution
from order.clients.flash import FlashClient
from order.model import CloseReason, Order, RequestState, Status, order_requests, orders
from order.service import selling as module
from order.service.entries_of_sales import of_purchase
from order.service.ordering import Request
from order.service.purchases import PurchaseReader
from order.service.requests import OrderRequest, Standing
from order.service.submitting import Submitted
from tests.fakes import Shop
from tests.support import eventually

SALE = 7
SOLD = Sold(
    sale_id=SALE, goods_id=1, name="Tea", brief="green", image=None, unit_price=99, market_price=300, currency="USD"
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path, flash=True)) as shop:
        yield shop


def bought(shop: Shop, *purchases: tuple[str, int]) -> PurchaseEvent:
    """Return the message of a batch of purchases: whose, and how many pieces."""
    return PurchaseEvent(
        tx_id=shop.ids.next(),
        order_ids=tuple(shop.ids.next() for _ in purchases),
        sold=SOLD,
        users=tuple(user for user, _ in purchases),
        quantities=tuple(quantity for _, quantity in purchases),
    )


def request(shop: Shop, purchase_id: int) -> OrderRequest:
    return shop.requests.get(purchase_id, owner=None)


def order_of(shop: Shop, purchase_id: int) -> Order:
    return shop.reader.get(request(shop, purchase_id).order_id or 0, owner=None)


def number_of_orders(shop: Shop) -> int:
    with shop.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(orders)) or 0


def test_the_message_says_the_same_after_its_way() -> None:
    """Ids are strings in JSON; it is found by any of its purchases; a part says what belongs to some of them."""
    event = PurchaseEvent(tx_id=5, order_ids=(8, 9), sold=SOLD, users=("ann", "bob"), quantities=(1, 2))
    message = event.to_message(PURCHASE_TOPIC)
    assert message.keys == ("8", "9")
    assert b'"sale_id":"7"' in message.body
    assert PurchaseEvent.from_body(message.body) == event
    assert event.part(slice(1, 2)) == PurchaseEvent(tx_id=5, order_ids=(9,), sold=SOLD, users=("bob",), quantities=(2,))


@pytest.mark.parametrize("wrong", [{"users": ["ann"]}, {"quantities": [1, 2, 3]}, {"quantities": [0, 1]}])
def test_what_does_not_fit_together_is_not_read(wrong: dict[str, Any]) -> None:
    """As many users and quantities as purchases, and at least one piece each."""
    event = PurchaseEvent(tx_id=5, order_ids=(8, 9), sold=SOLD, users=("ann", "bob"), quantities=(1, 2))
    with pytest.raises(ValidationError):
        PurchaseEvent.model_validate(event.model_dump() | wrong)


def test_a_purchase_becomes_an_order_at_the_sale_s_price(shop: Shop) -> None:
    """Nothing is looked up or taken from stock; its lines are the goods as they were when the sale was opened."""
    shop.goods.down = True
    event = bought(shop, ("ann", 2))
    assert shop.selling.handle([event]) == [True]
    (purchase_id,) = event.order_ids
    order = order_of(shop, purchase_id)
    assert (order.user_id, order.status, order.sale_id, order.purchase_id) == ("ann", Status.CREATED, SALE, purchase_id)
    assert (order.total_amount, order.currency, order.coupon_id) == (198, "USD", None)
    (line,) = order.lines
    assert (line.goods_id, line.name, line.quantity, line.unit_price, line.market_price) == (1, "Tea", 2, 99, 300)
    assert shop.flash.left == 8
    assert shop.flash.held_by[order.order_id].purchased_in == event.tx_id
    assert shop.state(order.order_id) is None
    assert request(shop, purchase_id).submitted_at == issued_at(purchase_id)


def test_however_often_it_comes_it_is_one_order(shop: Shop) -> None:
    """Again, in another message, and both in one batch."""
    event = bought(shop, ("ann", 1), ("bob", 1))
    assert shop.selling.handle([event, event]) == [True, True]
    assert shop.selling.handle([event]) == [True]
    assert number_of_orders(shop) == 2
    assert shop.flash.left == 8


def test_a_buyer_who_sends_a_purchase_s_id_as_a_key_keeps_nobody_else(shop: Shop) -> None:
    """Before its message is here, for another order: all of the batch become orders, and so does that one."""
    shop.sell(1, 5)
    event = bought(shop, ("eve", 1), ("ann", 1), ("bob", 1))
    key = IdempotencyKey("eve", str(event.order_ids[0]), "hash")
    (taken,) = shop.submitting.take_in([Request("eve", {1: 1}, None, key)])
    assert isinstance(taken, Submitted)
    assert shop.selling.handle([event, bought(shop, ("cy", 1))]) == [True, True]
    assert [order_of(shop, one).user_id for one in event.order_ids] == ["eve", "ann", "bob"]
    shop.working_off.rescue(grace=-1)
    assert order_of(shop, taken.request.request_id).sale_id is None


def test_who_did_not_get_pieces_gets_no_order(shop: Shop) -> None:
    """The flash service says so; the reason is told, and the others of the batch are placed."""
    shop.flash.left, shop.flash.limited = 1, {"eve"}
    event = bought(shop, ("ann", 1), ("bob", 1), ("eve", 1))
    assert shop.selling.handle([event]) == [True]
    states = [request(shop, one).state for one in event.order_ids]
    assert states == [RequestState.CREATED, RequestState.REFUSED, RequestState.REFUSED]
    slugs = [(request(shop, one).problem or {})["type"].rpartition("/")[2] for one in event.order_ids[1:]]
    assert slugs == ["sold-out", "already-bought"]


def test_while_flash_is_down_it_waits(shop: Shop) -> None:
    """Nothing is decided; what was sent meanwhile is released, and it becomes one order later."""
    shop.faults.plan("flash.deduct", PeerUnavailable())
    event = bought(shop, ("ann", 1))
    with pytest.raises(Unavailable):
        shop.selling.handle([event])
    assert request(shop, event.order_ids[0]).state is RequestState.QUEUED
    assert shop.selling.handle([event]) == [True]
    assert number_of_orders(shop) == 1


def test_an_order_that_is_closed_gives_its_pieces_back_to_the_sale(shop: Shop) -> None:
    """The rollback reaches the flash service; at stock there is nothing to release."""
    event = bought(shop, ("ann", 3))
    shop.selling.handle([event])
    order = order_of(shop, event.order_ids[0])
    assert shop.settled() == set()
    shop.closing.close([order.order_id], CloseReason.TIMEOUT)
    eventually(lambda: shop.flash.left == 10)
    assert {participant for _, participant, _ in shop.settled()} == {"flash"}


def test_other_orders_need_no_flash_service(shop: Shop) -> None:
    """It is not asked for them."""
    shop.sell(1, 5)
    order = shop.order({1: 1})
    assert (order.sale_id, shop.flash.asked, shop.state(order.order_id)) == (None, [], "deducted")


def test_another_process_notes_them_meanwhile(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found then; and where that goes on, the message comes again."""
    event = bought(shop, ("ann", 1))
    real = module.known_requests
    looks = []

    def blind(*given: Any) -> set[int]:
        looks.append(real(*given))
        return set() if len(looks) == 1 else looks[-1]

    shop.selling._take_in({one.request_id: one for one in module._requests(event)})
    monkeypatch.setattr(module, "known_requests", blind)
    assert shop.selling.handle([event]) == [True]
    assert len(looks) == 2
    monkeypatch.setattr(module, "known_requests", lambda *_: set())
    with pytest.raises(Unavailable):
        shop.selling.handle([event])


def test_a_fault_of_the_database_is_not_taken_for_that(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message comes again; nothing was noted."""

    def down(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(shop.database, "transact", down)
    with pytest.raises(Unavailable) as raised:
        shop.selling.handle([bought(shop, ("ann", 1))])
    assert not isinstance(raised.value, DuplicateRow)
    with shop.database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(order_requests)) == 0


def test_what_became_of_purchases(shop: Shop) -> None:
    """The state of each that is known, its order, and how that stands."""
    shop.flash.left = 1
    event = bought(shop, ("ann", 1), ("bob", 1))
    shop.selling.handle([event])
    created, refused = event.order_ids
    order_id = request(shop, created).order_id or 0
    assert shop.requests.states([created, refused, 5]) == {
        created: Standing(RequestState.CREATED, order_id, Status.CREATED),
        refused: Standing(RequestState.REFUSED),
    }
    shop.closing.close([order_id], CloseReason.TIMEOUT)
    assert shop.requests.states([created]) == {created: Standing(RequestState.CREATED, order_id, Status.CLOSED)}


def reader(shop: Shop, within: float = 600.0) -> PurchaseReader:
    return PurchaseReader(shop.requests, cast("FlashClient", shop.flash), within=within)


def test_a_purchase_on_its_way_is_queued(shop: Shop) -> None:
    """Until its message is here, the flash service knows it; it is told to its user and to admins."""
    purchase_id = shop.ids.next()
    shop.flash.young[purchase_id] = "ann"
    for owner in ("ann", None):
        found = reader(shop).get(purchase_id, owner=owner)
        assert (found.state, found.user_id, found.submitted_at) == (RequestState.QUEUED, "ann", issued_at(purchase_id))
        assert (found.ahead, found.order_id, found.problem) == (None, None, None)
    with pytest.raises(NotFound):
        reader(shop).get(purchase_id, owner="bob")
    with pytest.raises(NotFound):
        reader(shop).get(shop.ids.next(), owner="ann")


def test_a_purchase_is_known_though_our_clock_is_behind(shop: Shop) -> None:
    """By as much as clocks may be apart; what is far ahead is an id of nobody's."""
    ahead, far_ahead = (first_of(now_ms() + by) | 5 for by in (400, APART_MS + 60_000))
    shop.flash.young |= {ahead: "ann", far_ahead: "ann"}
    assert reader(shop).get(ahead, owner="ann").state is RequestState.QUEUED
    with pytest.raises(NotFound):
        reader(shop).get(far_ahead, owner="ann")


def test_flash_is_asked_only_about_what_may_be_on_its_way(shop: Shop) -> None:
    """Neither about what is known here, nor about ids that are old, or far ahead."""
    event = bought(shop, ("ann", 1))
    shop.selling.handle([event])
    shop.faults.plan("flash.purchase", PeerUnavailable())
    assert reader(shop).get(event.order_ids[0], owner="ann").state is RequestState.CREATED
    assert reader(shop).states(event.order_ids).keys() == set(event.order_ids)
    with pytest.raises(NotFound):
        reader(shop, within=0).get(shop.ids.next(), owner="ann")
    with pytest.raises(NotFound):
        reader(shop).get(1 << 62, owner="ann")
    with pytest.raises(PeerUnavailable):
        reader(shop).get(shop.ids.next(), owner="ann")


def test_a_sale_is_kept_with_its_request_until_that_is_decided(shop: Shop) -> None:
    """What it costs is read from the row, whichever process works it off."""
    event = bought(shop, ("ann", 2))
    shop.selling._take_in({one.request_id: one for one in module._requests(event)})
    waiting = request(shop, event.order_ids[0])
    assert waiting.wanted is not None
    shop.working_off.rescue(grace=-1)
    assert order_of(shop, event.order_ids[0]).total_amount == 198
    assert request(shop, event.order_ids[0]).wanted is None
    assert replace(waiting, wanted=None).user_id == "ann"


def test_the_timeline_tells_how_it_was_bought(shop: Shop) -> None:
    """Begun, taken, answered: by its message. Without one, of what the rows still say, at times that are not known."""
    event = bought(shop, ("ann", 2), ("bob", 1))
    message = event.to_message(PURCHASE_TOPIC)
    half = replace(message, properties={**message.properties, "deliver_if": "committed", "tx_id": str(event.tx_id)})
    producer = shop.broker.producer("flash")
    shop.selling.handle([event])
    purchase_id = event.order_ids[0]
    order = order_of(shop, purchase_id)
    about = {"sale_id": str(SALE), "purchase_id": str(purchase_id), "tx_id": str(event.tx_id)}

    def told() -> dict[str, tuple[int | None, dict[str, Any]]]:
        entries = shop.timeline.of(order.order_id, owner="ann")
        return {entry.event: (entry.at, entry.evidence) for entry in entries if entry.event.startswith("purchase ")}

    placed = (request(shop, purchase_id).decided_at, {**about, "state": "created"})
    assert told() == {
        "purchase begun": (issued_at(purchase_id), about),
        "purchase taken": (None, {**about, "quantity": 2}),
        "purchase placed": placed,
    }
    producer.resolve(producer.begin(half), Resolution.COMMIT)
    (view,) = shop.console.find(topic=PURCHASE_TOPIC)
    answered = {"purchase_id": str(purchase_id), "status": 202, "message_id": view.message_id}
    assert told()["purchase taken"] == (view.resolved_at, {**about, "quantity": 2})
    assert told()["purchase answered"] == (view.resolved_at, answered)
    with shop.database.engine.begin() as connection:
        connection.execute(delete(order_requests))
    assert told().keys() == {"purchase begun", "purchase taken", "purchase answered"}
    assert told()["purchase begun"] == (issued_at(purchase_id), about)


def test_a_purchase_of_which_only_the_order_is_left(shop: Shop) -> None:
    """Neither request nor message are kept for ever: which transaction took its pieces is not known then."""
    event = bought(shop, ("ann", 1))
    shop.selling.handle([event])
    order = order_of(shop, event.order_ids[0])
    begun, taken = of_purchase(order, None, ())
    assert begun.evidence == {"sale_id": str(SALE), "purchase_id": str(event.order_ids[0])}
    assert (taken.event, taken.at) == ("purchase taken", None)


def test_a_buyer_whose_purchase_was_checked_back_is_not_said_to_be_answered(shop: Shop) -> None:
    """The broker asked how it ended: by then it was too late for a 202."""
    event = bought(shop, ("ann", 1))
    shop.selling.handle([event])
    order = order_of(shop, event.order_ids[0])
    producer = shop.broker.producer("flash", lambda _: CheckAnswer.COMMIT, topics=[PURCHASE_TOPIC])
    producer.begin(event.to_message(PURCHASE_TOPIC))
    eventually(lambda: shop.console.find(topic=PURCHASE_TOPIC)[0].resolution is Resolution.COMMIT, within=30.0)
    told = {entry.event for entry in shop.timeline.of(order.order_id, owner="ann")}
    assert "purchase taken" in told
    assert "purchase answered" not in told
