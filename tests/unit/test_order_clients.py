"""What order asks goods and stock, and what it makes of their answers."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from common.cache import SharedCache
from common.errors import PeerUnavailable
from common.reservations.client import LiveReservation
from halfmessage.errors import NotFound
from order.clients.goods import GoodsClient
from order.clients.participant import Deduction
from order.clients.stock import StockClient
from order.model import InsufficientStock, Line, Order, Status
from tests.support import eventually
from tests.unit.test_cache import Store
from tests.unit.test_flight import waiting

Patch = pytest.MonkeyPatch


class Peer:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[Any, ...]] = []

    def call(self, *asked: Any, within: float = 0) -> tuple[int, Any]:
        del within
        self.calls.append(asked)
        return self.answers.pop(0)


def _goods(goods_id: int, **changes: Any) -> dict[str, Any]:
    return {
        "goods_id": str(goods_id),
        "name": "Tea",
        "brief": None,
        "category_id": None,
        "unit_price": 100,
        "market_price": None,
        "currency": "EUR",
        "images": [],
        "on_sale": True,
    } | changes


class Catalogue(Peer):
    """A goods service that knows these goods."""

    def __init__(self, known: Mapping[int, dict[str, Any]]) -> None:
        super().__init__()
        self.known = dict(known)

    def call(self, *asked: Any, within: float = 0) -> tuple[int, Any]:
        del within
        self.calls.append(asked)
        return 200, {"items": [self.known[int(i)] for i in asked[2]["goods_ids"] if int(i) in self.known]}

    @property
    def asked(self) -> list[list[str]]:
        return [call[2]["goods_ids"] for call in self.calls]


class Now:
    """The monotonic clock, to be set (seconds)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr("order.clients.lookups.time.monotonic", lambda: self.seconds)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    return Now(monkeypatch)


def test_goods_found() -> None:
    """Goods are looked up together; those that don't exist are left out; the first image is the one kept."""
    known = {1: _goods(1, images=["a", "b"], brief="Green", market_price=150), 2: _goods(2)}
    found = GoodsClient(Catalogue(known), max_age=1.0, timeout=5.0).find([1, 2, 3])  # type: ignore[arg-type]
    assert set(found) == {1, 2}
    assert (found[1].image, found[1].brief, found[1].market_price) == ("a", "Green", 150)
    assert (found[2].image, found[2].brief, found[2].market_price) == (None, "", None)


def test_prices_are_reused_until_too_old(now: Now) -> None:
    """A price is reused for `max_age` and not longer; goods that don't exist are remembered as well."""
    catalogue = Catalogue({1: _goods(1)})
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0)  # type: ignore[arg-type]
    client.find([1, 9])
    now.seconds += 0.5
    client.find([1, 9])
    assert len(catalogue.calls) == 1
    now.seconds += 0.01
    catalogue.known[1] = _goods(1, unit_price=200)
    assert client.find([1])[1].unit_price == 200
    assert len(catalogue.calls) == 2


def test_price_is_as_old_as_the_question(now: Now, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow answer does not make a price younger."""
    catalogue = Catalogue({1: _goods(1)})
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0)  # type: ignore[arg-type]
    call = catalogue.call

    def slow(*asked: Any, **_: Any) -> tuple[int, Any]:
        now.seconds += 0.6
        return call(*asked)

    monkeypatch.setattr(catalogue, "call", slow)
    client.find([1])
    client.find([1])
    assert len(catalogue.calls) == 2


def test_prices_that_are_due_are_refreshed_together(now: Now) -> None:
    """One look-up refreshes what else was asked for lately, but for what is good for a while yet."""
    catalogue = Catalogue({1: _goods(1), 2: _goods(2), 3: _goods(3)})
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0)  # type: ignore[arg-type]
    client.find([1])
    now.seconds += 0.15
    client.find([2])
    now.seconds += 0.15
    client.find([3])
    assert catalogue.asked == [["1"], ["2"], ["3", "1"]]
    client.find([1, 2, 3])
    assert len(catalogue.calls) == 3


class Later:
    """Runs steps when told to."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []

    def start(self, work: Callable[..., Any], *args: Any) -> "Future[Any]":
        future: Future[Any] = Future()

        def step() -> None:
            try:
                future.set_result(work(*args))
            except Exception as error:  # noqa: BLE001 - whoever asks for the result raises it
                future.set_exception(error)

        self.steps.append(step)
        return future

    def run(self) -> None:
        while self.steps:
            self.steps.pop()()


def test_a_price_that_is_still_asked_for_is_looked_up_ahead(now: Now) -> None:
    """No request waits for it: while it is young enough, the old one is told; once for all who ask."""
    catalogue, later = Catalogue({1: _goods(1)}), Later()
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0, aside=later)  # type: ignore[arg-type]
    client.find([1])
    now.seconds += 0.34
    client.find([1])
    assert not later.steps
    now.seconds += 0.04
    catalogue.known[1] = _goods(1, unit_price=200)
    assert [client.find([1])[1].unit_price for _ in range(3)] == [100] * 3
    assert len(later.steps) == len(catalogue.calls) == 1
    later.run()
    now.seconds += 0.34
    assert client.find([1])[1].unit_price == 200
    assert (len(later.steps), len(catalogue.calls)) == (0, 2)


def test_a_look_up_ahead_that_fails_is_tried_again_and_fails_no_request(now: Now, monkeypatch: Patch) -> None:
    """Until the price is too old: then who needs it is told."""
    catalogue, later = Catalogue({1: _goods(1)}), Later()
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0, aside=later)  # type: ignore[arg-type]
    client.find([1])
    monkeypatch.setattr(catalogue, "call", lambda *asked, **_: (catalogue.calls.append(asked), (500, None))[1])
    now.seconds += 0.4
    for _ in range(2):
        assert client.find([1])[1].unit_price == 100
        later.run()
    assert len(catalogue.calls) == 3
    now.seconds += 0.2
    with pytest.raises(PeerUnavailable):
        client.find([1])


def test_what_is_looked_up_ahead_is_not_what_others_know_already(now: Now) -> None:
    """A shared price that is as old as ours would have to be looked up again just as soon."""
    catalogue, later, store = Catalogue({1: _goods(1)}), Later(), Store()
    shared = SharedCache(store, "test", max_age=0.5)  # type: ignore[arg-type]
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0, shared=shared, aside=later)  # type: ignore[arg-type]
    client.find([1])
    now.seconds, store.ms = now.seconds + 0.4, 400
    client.find([1])
    later.run()
    assert len(catalogue.calls) == 2


def test_a_shared_price_is_as_old_as_the_question(now: Now, monkeypatch: Patch) -> None:
    """The time that it takes to share it does not make it younger."""
    catalogue, store = Catalogue({1: _goods(1)}), Store()
    shared = SharedCache(store, "test", max_age=0.5)  # type: ignore[arg-type]
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0, shared=shared)  # type: ignore[arg-type]
    put = store.set

    def slow(*args: Any, **more: Any) -> None:
        put(*args, **more)
        now.seconds += 0.2
        store.ms += 200

    monkeypatch.setattr(store, "set", slow)
    client.find([1])
    asked = len(catalogue.calls)
    now.seconds += 0.4
    store.ms += 400
    client.find([1])
    assert len(catalogue.calls) == asked + 1


def test_unknown_goods_are_forgotten(now: Now) -> None:
    """Ids that don't exist are not refreshed for ever: what any user may ask must not grow."""
    catalogue = Catalogue({1: _goods(1)})
    client = GoodsClient(catalogue, max_age=0.5, timeout=5.0)  # type: ignore[arg-type]
    for unknown in range(100, 110):
        client.find([unknown])
        now.seconds += 1
    client.find([1])
    assert len(catalogue.asked[-1]) <= 2


def test_many_at_once_ask_once() -> None:
    """Requests that want the same price at the same time share one look-up."""
    may_answer, asked = threading.Event(), threading.Event()
    catalogue = Catalogue({1: _goods(1)})
    call = catalogue.call

    def slow(*args: Any, **_: Any) -> tuple[int, Any]:
        asked.set()
        assert may_answer.wait(5)
        return call(*args)

    catalogue.call = slow  # type: ignore[method-assign]
    client = GoodsClient(catalogue, max_age=60.0, timeout=5.0)  # type: ignore[arg-type]
    threads = [threading.Thread(target=client.find, args=([1],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert asked.wait(5)
    may_answer.set()
    for thread in threads:
        thread.join()
    assert len(catalogue.calls) == 1


def test_goods_refused() -> None:
    """An answer other than 200 is no answer."""
    with pytest.raises(PeerUnavailable):
        GoodsClient(Peer((403, {})), max_age=1.0, timeout=5.0).find([1])  # type: ignore[arg-type]


def _orders(wanted: dict[int, dict[int, int]]) -> list[Order]:
    """Return orders (order id → goods id → quantity)."""

    def order(order_id: int, quantities: dict[int, int]) -> Order:
        lines = tuple(Line(goods_id, "Tea", "", None, quantity, 1, None) for goods_id, quantity in quantities.items())
        return Order(order_id, 1, "ann", Status.CREATED, None, lines, None, 1, "EUR", 0, 1)

    return [order(order_id, quantities) for order_id, quantities in wanted.items()]


def test_deduct() -> None:
    """A deduction names the transaction and each order's lines, and gives a verdict for each."""
    answer = [
        {"order_id": "1", "verdict": "deducted", "short": []},
        {"order_id": "2", "verdict": "insufficient", "short": ["8", "9"]},
    ]
    peer = Peer((200, {"orders": answer}))
    verdicts = StockClient(peer, "stock").deduct(7, _orders({1: {5: 2}, 2: {8: 1, 9: 3}}))  # type: ignore[arg-type]
    assert verdicts[1] == Deduction("deducted")
    assert (verdicts[2].verdict, verdicts[2].is_held) == ("insufficient", False)
    assert isinstance(verdicts[2].refusal, InsufficientStock)
    assert verdicts[2].refusal.members == {"items": [{"goods_id": "8"}, {"goods_id": "9"}]}
    items = [{"goods_id": "8", "quantity": 1}, {"goods_id": "9", "quantity": 3}]
    orders = [{"order_id": "1", "items": [{"goods_id": "5", "quantity": 2}]}, {"order_id": "2", "items": items}]
    assert peer.calls == [("POST", "/reservations", {"tx_id": "7", "orders": orders})]


def test_unverified() -> None:
    """The sweep's list is asked for page by page."""
    peer = Peer((200, {"items": [{"order_id": "8", "tx_id": "4", "created_at": "…"}]}))
    assert StockClient(peer, "stock").unverified(older_than=5, after=6, limit=7) == [LiveReservation(8, 4)]  # type: ignore[arg-type]
    assert peer.calls[0][:2] == ("GET", "/reservations?older_than=5&after=6&limit=7")


def test_live() -> None:
    """So is the list of all that are live."""
    peer = Peer((200, {"items": [{"order_id": "8", "tx_id": "4", "created_at": "…"}]}))
    assert StockClient(peer, "stock").live(older_than=5, after=6, limit=7) == [LiveReservation(8, 4)]  # type: ignore[arg-type]
    assert peer.calls[0][:2] == ("GET", "/reservations?older_than=5&after=6&limit=7&verified=any")


def test_states() -> None:
    """States are asked for without changing them, and told for each order that was asked about."""
    told = {"orders": [{"order_id": "1", "state": "deducted"}, {"order_id": "2", "state": None}]}
    peer = Peer((200, told), (200, told))
    assert StockClient(peer, "stock").states([1, 2]) == {1: "deducted", 2: None}  # type: ignore[arg-type]
    assert peer.calls == [("POST", "/reservations/states", {"order_ids": ["1", "2"]})]
    with pytest.raises(PeerUnavailable):
        StockClient(peer, "stock").states([1])  # type: ignore[arg-type]


def test_revive() -> None:
    """Only the audit has a released order deducted again, and says so."""
    peer = Peer((200, {"orders": [{"order_id": "1", "verdict": "deducted", "short": []}]}))
    StockClient(peer, "stock").deduct(7, _orders({1: {5: 2}}), revive=True)  # type: ignore[arg-type]
    assert peer.calls[0][2]["revive"] is True


def test_settle() -> None:
    """Fates are told, states come back; an order without a reservation has none."""
    peer = Peer((200, {"orders": [{"order_id": "1", "state": "deducted"}, {"order_id": "2", "state": None}]}))
    states = StockClient(peer, "stock").settle([(1, 9, "stands"), (2, 9, "void")])  # type: ignore[arg-type]
    assert states == {1: "deducted", 2: None}
    asked = [{"order_id": "1", "tx_id": "9", "fate": "stands"}, {"order_id": "2", "tx_id": "9", "fate": "void"}]
    assert peer.calls == [("POST", "/reservations/settle", {"orders": asked})]


def test_reservation() -> None:
    """One reservation is told as it is; none is a `NotFound`."""
    told = {"order_id": "1", "state": "deducted"}
    client = StockClient(Peer((200, told), (404, {}), (200, told)), "stock")  # type: ignore[arg-type]
    assert client.reservation(1) == told
    with pytest.raises(NotFound):
        client.reservation(1)
    with pytest.raises(PeerUnavailable):  # another order's
        client.reservation(2)


@pytest.mark.parametrize("answer", [(422, {}), (200, None), (200, []), (401, {})])
def test_stock_refused(answer: tuple[int, Any]) -> None:
    """Whatever is no proper answer counts as none: maybe done."""
    with pytest.raises(PeerUnavailable):
        StockClient(Peer(answer), "stock").deduct(1, _orders({2: {3: 4}}))  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [None, [], {}, {"items": None}, {"items": [{}]}, {"items": [{"goods_id": "x"}]}])
def test_goods_that_can_not_be_read(answer: Any) -> None:
    """A 200 that is not what was agreed on is no answer, and no bug of ours."""
    with pytest.raises(PeerUnavailable, match="goods"):
        GoodsClient(Peer((200, answer)), max_age=1, timeout=5.0).find([1])  # type: ignore[arg-type]


@pytest.mark.parametrize("items", [None, [{}], [], [{"order_id": "8", "verdict": "deducted", "short": []}]])
def test_stock_that_can_not_be_read(items: Any) -> None:
    """Nor is one that says nothing about an order that was asked for: maybe deducted."""
    client = StockClient(Peer(*[(200, {"orders": items, "items": items})] * 3), "stock")  # type: ignore[arg-type]
    with pytest.raises(PeerUnavailable, match="stock"):
        client.deduct(1, _orders({7: {1: 1}}))
    if items is None or items == [{}]:
        with pytest.raises(PeerUnavailable, match="stock"):
            client.unverified(older_than=1, after=0, limit=1)
        with pytest.raises(PeerUnavailable, match="stock"):
            client.settle([(7, 1, "void")])


def _settled(*states: tuple[str, Any]) -> dict[str, Any]:
    return {"orders": [{"order_id": order_id, "state": state} for order_id, state in states]}


@pytest.mark.parametrize(
    "answer",
    [
        _settled(),
        _settled(("1", "released")),
        _settled(("1", "released"), ("1", "released")),
        _settled(("1", "released"), ("2", "released"), ("2", "deducted")),
        _settled(("1", "released"), ("2", "released"), ("3", "released")),
        _settled(("1", "released"), ("2", "gone")),
    ],
    ids=["none", "one lacks", "one instead of the other", "one twice", "one more", "unknown state"],
)
def test_settled_otherwise_than_asked(answer: Any) -> None:
    """An answer must tell of each order that was asked about, once, in words that were agreed on, and of no other."""
    with pytest.raises(PeerUnavailable, match="stock"):
        StockClient(Peer((200, answer)), "stock").settle([(1, 9, "void"), (2, 9, "void")])  # type: ignore[arg-type]


def _decided(*verdicts: tuple[str, Any]) -> dict[str, Any]:
    return {"orders": [{"order_id": order_id, "verdict": verdict, "short": []} for order_id, verdict in verdicts]}


@pytest.mark.parametrize(
    "answer",
    [
        _decided(("1", "deducted"), ("1", "deducted")),
        _decided(("1", "deducted"), ("2", "deducted"), ("2", "insufficient")),
        _decided(("1", "deducted"), ("2", "deducted"), ("3", "deducted")),
        _decided(("1", "deducted"), ("2", "taken")),
    ],
    ids=["one instead of the other", "one twice", "one more", "unknown verdict"],
)
def test_deducted_otherwise_than_asked(answer: Any) -> None:
    """So must the verdicts, or it is not known what was deducted."""
    with pytest.raises(PeerUnavailable, match="stock"):
        StockClient(Peer((200, answer)), "stock").deduct(9, _orders({1: {5: 1}, 2: {5: 1}}))  # type: ignore[arg-type]


@pytest.mark.parametrize("order_ids", [[6], [5, 7], [8, 7], [7, 7], [7, 8, 9]])
def test_a_page_that_was_not_asked_for(order_ids: list[int]) -> None:
    """A page has ids above the last one, each once, lowest first, and not more than asked for: or it never ends."""
    items = [{"order_id": str(order_id), "tx_id": "4"} for order_id in order_ids]
    with pytest.raises(PeerUnavailable, match="stock"):
        StockClient(Peer((200, {"items": items})), "stock").unverified(older_than=5, after=6, limit=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("told", [[1, 1], [1, 3]], ids=["one twice", "one more"])
def test_goods_found_otherwise_than_asked(told: list[int]) -> None:
    """Goods that were not asked for, or twice, perhaps at two prices, are no answer."""
    with pytest.raises(PeerUnavailable, match="goods"):
        GoodsClient(Peer((200, {"items": [_goods(g) for g in told]})), max_age=1, timeout=5.0).find([1, 2])  # type: ignore[arg-type]


class Hanging(Catalogue):
    """A goods service that answers when it is told to; `fails` when it does not answer at all."""

    def __init__(self, known: Mapping[int, dict[str, Any]]) -> None:
        super().__init__(known)
        self.fails = False
        self.go_on = threading.Event()

    def call(self, *asked: Any, within: float = 0) -> tuple[int, Any]:
        self.calls.append(asked)
        if not self.go_on.wait(within) or self.fails:
            raise PeerUnavailable("The goods service did not answer; nothing was changed, try again.")
        self.calls.pop()
        return super().call(*asked, within=within)


def test_goods_that_hang_keep_each_caller_for_its_deadline_once() -> None:
    """32 at once: one look-up, whose failure is that of all, when its deadline is over."""
    catalogue = Hanging({1: _goods(1)})
    client = GoodsClient(catalogue, max_age=0.5, timeout=2.0)  # type: ignore[arg-type]
    start = threading.Barrier(32)

    def find(number: int) -> float:
        start.wait()
        began = time.monotonic()
        with pytest.raises(PeerUnavailable):
            client.find([number])
        return time.monotonic() - began

    with ThreadPoolExecutor(32) as pool:
        took = list(pool.map(find, range(32)))
    assert max(took) < 2 * 2.0  # where each repeats the look-up, it takes the last one 64 s
    assert len(catalogue.calls) <= 3  # a thread that came to run late begins another


def test_goods_that_fail_at_once_fail_for_all_who_wait() -> None:
    """With the breaker open none waits; each raises an error of its own, and none asks for it again."""
    catalogue = Hanging({1: _goods(1)})
    client = GoodsClient(catalogue, max_age=0.5, timeout=30.0)  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(client.find, [1]) for _ in range(8)]
        eventually(lambda: len(catalogue.calls) == 1 and waiting(client._look_ups) == 7)
        catalogue.fails = True
        catalogue.go_on.set()
        errors = [future.exception(5) for future in futures]
    assert {type(error) for error in errors} == {PeerUnavailable}
    assert len({id(error) for error in errors}) == 8
    assert len(catalogue.calls) == 1
    catalogue.fails = False
    assert client.find([1])[1].unit_price == 100


def test_what_many_wait_for_is_looked_up_together() -> None:
    """One that comes meanwhile and wants other goods gets them from the next one, with all that came then."""
    catalogue = Hanging({i: _goods(i) for i in range(1, 9)})
    client = GoodsClient(catalogue, max_age=60.0, timeout=30.0)  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as pool:
        futures = {1: pool.submit(client.find, [1])}
        eventually(lambda: catalogue.calls)
        futures |= {i: pool.submit(client.find, [i]) for i in range(2, 9)}
        eventually(lambda: waiting(client._look_ups) == 7)
        catalogue.go_on.set()
        assert [set(future.result(5)) for future in futures.values()] == [{i} for i in futures]
    first, second = catalogue.asked
    assert first == ["1"]
    assert set(second) == {str(i) for i in futures} - {"1"}
    client.find([99])
    assert catalogue.asked[-1] == ["99"]  # nobody waits for the others any more


def test_a_look_up_takes_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others wait for beyond that goes with the next: goods refuses larger ones."""
    monkeypatch.setattr("order.clients.lookups._REFRESHED_TOGETHER", 3)
    catalogue = Hanging({i: _goods(i) for i in range(1, 9)})
    client = GoodsClient(catalogue, max_age=60.0, timeout=30.0)  # type: ignore[arg-type]
    with ThreadPoolExecutor(8) as pool:
        futures = {1: pool.submit(client.find, [1])}
        eventually(lambda: catalogue.calls)
        futures |= {i: pool.submit(client.find, [i]) for i in range(2, 9)}
        eventually(lambda: waiting(client._look_ups) == 7)
        catalogue.go_on.set()
        assert [set(future.result(5)) for future in futures.values()] == [{i} for i in futures]
    assert max(map(len, catalogue.asked)) == 3


def test_who_waits_for_a_slow_look_up_leaves_at_its_deadline() -> None:
    """The wait has the deadline too, though another's look-up goes on; that is not made to fail by it."""
    catalogue = Hanging({1: _goods(1)})
    client = GoodsClient(catalogue, max_age=60.0, timeout=0.3)  # type: ignore[arg-type]
    call = catalogue.call
    catalogue.call = lambda *asked, within=0.0: call(*asked, within=within + 30)  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.find, [1])
        eventually(lambda: catalogue.calls)
        with pytest.raises(PeerUnavailable):
            client.find([1])
        catalogue.go_on.set()
        assert first.result(5)[1].unit_price == 100


_SHARED = {
    "goods_id": 7, "name": "cup", "brief": "", "image": None, "unit_price": 100, "market_price": None,
    "currency": "EUR", "on_sale": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "is_usable"),
    [
        ("7", _SHARED, True),
        ("7", None, True),
        ("8", _SHARED, False),
        ("7", {name: value for name, value in _SHARED.items() if name != "on_sale"}, False),
        ("7", _SHARED | {"colour": "red"}, False),
        ("7", _SHARED | {"unit_price": "100"}, False),
        ("7", [], False),
    ],
)
def test_a_shared_price_is_what_this_release_makes_of_these_goods(key: str, value: object, is_usable: bool) -> None:
    """A field that lacks, is new or of another type, and the price of other goods, are a miss: never a 500."""
    assert GoodsClient.usable(key, orjson.dumps(value)) is is_usable


@pytest.mark.parametrize("value", [b"", b'{"goods_id":', b"\xff"])
def test_what_is_no_json_is_no_shared_price(value: bytes) -> None:
    """A value that was cut off, or was never ours, is a miss."""
    assert not GoodsClient.usable("7", value)
