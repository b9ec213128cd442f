"""Reading orders: one's own, page by page."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, insert

from common.idempotency import IdempotencyKey
from halfmessage.errors import NotFound
from order.model import Line, Order, Receiver, Status, idempotency_keys, order_lines, orders
from order.service.reading import OrderReader, place_of
from order.service.rows import key_row, line_rows, order_row
from tests.fakes import Shop
from tests.support import eventually


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(Shop(tmp_path)) as shop:
        shop.sell(1, 100)
        shop.sell(2, 100)
        yield shop


def test_owner(shop: Shop) -> None:
    """An order is shown to its owner and to admins (no owner asked for), to others it does not exist."""
    order = shop.order({1: 1, 2: 2})
    assert shop.reader.get(order.order_id, owner="ann") == shop.reader.get(order.order_id, owner=None) == order
    for wrong, owner in ((order.order_id, "bob"), (1, "ann"), (1, None)):
        with pytest.raises(NotFound):
            shop.reader.get(wrong, owner=owner)


def test_pages(shop: Shop) -> None:
    """Pages go from the newest to the oldest, complete with lines, without another user's."""
    mine = [shop.order({2: 1, 1: 2}) for _ in range(5)]
    shop.order({1: 1}, user="bob")
    newest_first = mine[::-1]
    assert shop.reader.page("ann", status=None, below=None, limit=3) == newest_first[:3]
    assert shop.reader.page("ann", status=None, below=mine[2].order_id, limit=3) == newest_first[3:]
    assert shop.reader.page("ann", status=None, below=mine[0].order_id, limit=3) == []
    assert shop.reader.page("carol", status=None, below=None, limit=3) == []


def test_pages_are_stable(shop: Shop) -> None:
    """An order that comes in between changes no later page."""
    mine = [shop.order({1: 1}) for _ in range(4)]
    first = shop.reader.page("ann", status=None, below=None, limit=2)
    shop.order({1: 1})
    rest = shop.reader.page("ann", status=None, below=first[-1].order_id, limit=10)
    assert first + rest == mine[::-1]


def test_pages_by_status(shop: Shop) -> None:
    """A status narrows the pages."""
    unpaid, paid, closed = (shop.order({1: 1}).order_id for _ in range(3))
    shop.pay(paid)
    shop.closing.cancel(closed, owner=None)
    for status, order_id in ((Status.CREATED, unpaid), (Status.PAID, paid), (Status.CLOSED, closed)):
        assert [o.order_id for o in shop.reader.page("ann", status=status, below=None, limit=9)] == [order_id]


_HARD = [
    "",
    "\"quoted\" \\ / \\u0041 \\n 'single' `back` %s {} [1, null]",
    "tab\t and\nlines \u2028 \u2029 \u0085",
    "".join(map(chr, range(0x20, 0x7F))),
    "".join(map(chr, range(0x80, 0x17F))),
    "e\u0301 \u4e2d\u6587 \ufeff \ufffd \uffff \ue000 \U0001f469\u200d\U0001f680 \U0010ffff",
    "null",
    "12345678901234567890",
    "1e400",
]


@pytest.mark.parametrize("text", _HARD)
def test_what_was_written_is_what_is_read(shop: Shop, text: str) -> None:
    """To the character and the digit, though a row comes as a text that the database makes."""
    most = 2**63 - 1
    line = Line(most, text, text, text or None, 2**31 - 1, most, most)
    free = Line(1, text, text, None, 1, 0, None)
    receiver = Receiver(text[:64], text[:32], text[:255])
    made = Order(most - 1, most, "ann", Status.PAID, None, (free, line), receiver, most, "EUR", most, most, most)
    order = replace(made, coupon_id=most, discount_amount=most - 5)
    key = IdempotencyKey("ann", "\"\\'k\u00e9y", "hash")

    def write(connection: Connection) -> None:
        connection.execute(insert(orders), order_row(order))
        connection.execute(insert(order_lines), line_rows(order))
        connection.execute(insert(idempotency_keys), key_row(key, order.order_id))

    shop.database.transact(write)
    assert shop.reader.get(order.order_id, owner="ann") == order
    assert shop.reader.page("ann", status=Status.PAID, below=None, limit=1) == [order]
    assert shop.reader.newest(status=Status.PAID, before=None, limit=1) == [order]
    assert shop.reader.first_answer("ann", key.key) == ("hash", order)


class _Held:
    """Holds the first query of a database up until it is let go, and counts them all."""

    def __init__(self, shop: Shop) -> None:
        self.queries, self.go_on = 0, threading.Event()
        event.listen(shop.database.engine, "before_cursor_execute", self._query)

    def _query(self, _connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            self.queries += 1
            assert self.go_on.wait(10)


def _waiting(reader: OrderReader) -> int:
    return len(reader._by_id._queue) + len(reader._by_key._queue)


def test_who_asks_during_a_query_shares_the_next_one(shop: Shop) -> None:
    """Nine reads at once are two queries; each gets its own order, with its lines as they were, or none."""
    ids = [shop.order({2: 1, 1: 2}).order_id for _ in range(4)]
    expected = [shop.reader.get(order_id, owner=None) for order_id in ids]
    held = _Held(shop)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(shop.reader.get, ids[0], owner=None)
        eventually(lambda: held.queries == 1)
        others = [pool.submit(shop.reader.get, order_id, owner=None) for order_id in [*ids, *ids[:3]]]
        none = pool.submit(shop.reader.get, 1, owner=None)
        eventually(lambda: _waiting(shop.reader) == 8)
        held.go_on.set()
        assert [one.result(10) for one in (first, *others)] == [expected[0], *expected, *expected[:3]]
        with pytest.raises(NotFound):
            none.result(10)
    assert held.queries == 2


def test_keys_that_are_asked_for_together(shop: Shop) -> None:
    """Each user gets what was made under a key of theirs, and no user what another made under the same one."""
    mine = shop.order({2: 1, 1: 2}, key="a")
    theirs = shop.order({1: 1}, key="a", user="bob")
    held = _Held(shop)
    asked = [("ann", "a"), ("bob", "a"), ("ann", "b"), ("carol", "a"), ("ann", "a")]
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(shop.reader.first_answer, "nobody", "a")
        eventually(lambda: held.queries == 1)
        found = [pool.submit(shop.reader.first_answer, *key) for key in asked]
        eventually(lambda: _waiting(shop.reader) == 5)
        held.go_on.set()
        answers = [one.result(10) for one in found]
    assert [answer and answer[1] for answer in answers] == [mine, theirs, None, None, mine]
    assert (first.result(), held.queries) == (None, 4), "of orders and of requests, for both batches"


def test_orders_of_all_users(shop: Shop) -> None:
    """Page by page, newest first, of all users; of one status by when they expire."""
    orders = [shop.order({1: 1}, user=("ann", "bob")[number % 2]) for number in range(5)]
    newest_first = orders[::-1]
    first = shop.reader.newest(status=None, before=None, limit=3)
    assert first == newest_first[:3]
    assert shop.reader.newest(status=None, before=place_of(first[-1], None), limit=3) == newest_first[3:]
    shop.pay(orders[2].order_id)
    unpaid = [order for order in newest_first if order != orders[2]]
    first = shop.reader.newest(status=Status.CREATED, before=None, limit=3)
    assert first == unpaid[:3]
    rest = shop.reader.newest(status=Status.CREATED, before=place_of(first[-1], Status.CREATED), limit=3)
    assert rest == unpaid[3:]


def test_what_was_looked_for_is_found_by_each_of_its_names(shop: Shop) -> None:
    """Its id, its transaction's, its Idempotency-Key, whose user need not be known, its call's id, and its user."""
    order = shop.order({1: 1}, key="first-try", asked_as="call-1")
    shop.order({1: 1}, user="bob", key="second-try", asked_as="call-2")
    shop.order({1: 1}, user="cy")
    for text, way in (
        (str(order.order_id), "order"), (str(order.tx_id), "transaction"), ("first-try", "idempotency-key"),
        ("call-1", "x-request-id"), ("ann", "user"),
    ):  # fmt: skip
        found = {name: those for name, those in shop.reader.found(text, limit=5).items() if those}
        assert found == {way: [order]}


def test_of_much_that_was_found_the_newest_is_told(shop: Shop) -> None:
    """As many as were asked for."""
    mine = [shop.order({1: 1}) for _ in range(4)]
    assert shop.reader.found("ann", limit=2)["user"] == mine[:1:-1]
    again = [shop.order({1: 1}, asked_as="always-the-same") for _ in range(3)]
    assert shop.reader.found("always-the-same", limit=2)["x-request-id"] == again[:0:-1]
    assert shop.reader.found("", limit=2)["x-request-id"] == []
    assert not any(shop.reader.found("<script>", limit=2).values())
