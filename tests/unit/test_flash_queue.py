"""Who may try to buy: buckets of users and sales, and tickets of those who queue."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from common.buckets import ProcessBuckets, Rate
from common.errors import TooManyRequests
from flash.model import Ended, NoQueue, NotYourTurn, QueueFull, Sale, TicketRefused
from flash.model import pieces as tables
from flash.pieces.in_database import DatabasePieces
from flash.pieces.port import Place
from flash.service import queueing
from flash.service.admitting import Admitting
from flash.service.purchasing import Purchasing
from flash.service.queueing import LASTS, Placing, Queueing, Ticket, Tickets
from flash.service.reading import sale_of
from halfmessage.clock import now_ms
from halfmessage.errors import HalfMessageError, NotFound, Unavailable
from tests.flash import HOUR, Market

SECRET = "s" * 32


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with closing(Market(tmp_path)) as market:
        yield market


def admitting(users: str = "2/hour", sales: str = "3/hour") -> Admitting:
    return Admitting(ProcessBuckets(Rate.of(users)), ProcessBuckets(Rate.of(sales)))


def test_a_user_s_bucket_and_the_sale_s() -> None:
    """The first ones of a batch are let in; who asks too often takes nothing of the sale's, which others have."""
    who = admitting()
    answers = who.admit([(1, "eve"), (1, "eve"), (1, "eve"), (1, "eve"), (1, "ann"), (1, "bob"), (2, "bob")])
    assert [answer is None for answer in answers] == [True, True, False, False, True, False, True]
    refused = [answer.retry_after for answer in answers if answer is not None]
    assert all(1190 <= seconds <= 1800 for seconds in refused)
    assert who.admit([(1, "eve")])[0] is not None
    assert who.admit([(2, "cid")]) == [None]


class Queue:
    """A queue in front of a market."""

    def __init__(self, market: Market, per_second: int = 10, most: int = 100) -> None:
        self.pieces = DatabasePieces(market.database, tables, most_places=most)
        self.placing = Placing(self.pieces)
        self.tickets = Tickets(SECRET)
        self.queueing = Queueing(market.reader, self.tickets, self.place, per_second=per_second)
        self.purchasing = Purchasing(
            *(market.reader, market.pieces, market.ids, market._look, market._take, market.sweeping.forgotten),
            admit=lambda _: None,
            queue=self.queueing,
        )

    def place(self, asked: tuple[int, int, str]) -> Place:
        (found,) = self.placing.place([asked])
        if isinstance(found, HalfMessageError):
            raise found
        return found


def test_a_ticket_lets_its_user_buy_from_its_turn_on(market: Market) -> None:
    """Asked for again it has the same place; before its turn it is told how long to wait."""
    sale, queue = market.open(9), Queue(market, per_second=1)
    first, text = queue.purchasing.join(sale.sale_id, "ann")
    assert first.place.number == 0
    assert isinstance(queue.purchasing.buy(sale.sale_id, "ann", 1, text), int)
    queue.purchasing.join(sale.sale_id, "bob")
    third, text = queue.purchasing.join(sale.sale_id, "cid")
    again, _ = queue.purchasing.join(sale.sale_id, "cid")
    assert (again.place, again.place.number) == (third.place, 2)
    assert third.place.turn_at - first.place.turn_at >= 1999
    with pytest.raises(NotYourTurn) as raised:
        queue.purchasing.buy(sale.sale_id, "cid", 1, text)
    assert raised.value.retry_after in {1, 2}
    assert market.left(sale) == 8


def test_a_sale_says_itself_whether_and_how_fast_its_buyers_queue(market: Market) -> None:
    """Whatever is set for those that do not say; another sale beside it has its own queue, or none."""
    later = {"starts_at": now_ms() + HOUR, "ends_at": now_ms() + 2 * HOUR}  # turns then are by no clock
    slow, fast = (market.open(1, queue_rate=rate, **later) for rate in (1, 1000))
    none = market.open(1, queue_rate=0)
    plain, queue, unset = market.open(1), Queue(market, per_second=10), Queue(market, per_second=0)
    for doors, silent in ((queue, 10), (unset, 0)):
        rates = [doors.queueing.rate(market.reader.known(sale.sale_id)) for sale in (slow, fast, none, plain)]
        assert rates == [1, 1000, 0, silent]

    def apart(sale: Sale) -> int:
        """Return how many ms are between the turns of two users."""
        first, second = (unset.purchasing.join(sale.sale_id, user)[0] for user in ("ann", "bob"))
        return second.place.turn_at - first.place.turn_at

    assert (apart(slow), apart(fast)) == (1000, 1)
    for doors, sale in ((unset, slow), (queue, plain)):
        with pytest.raises(TicketRefused):
            doors.purchasing.buy(sale.sale_id, "eve", 1)
    for doors, sale in ((queue, none), (unset, plain)):
        assert isinstance(doors.purchasing.buy(sale.sale_id, "eve", 1), int)
        with pytest.raises(NoQueue):
            doors.purchasing.join(sale.sale_id, "eve")


def test_a_sale_of_an_earlier_release_does_not_say(market: Market) -> None:
    """As it was kept under its Idempotency-Key then: without the field."""
    kept = asdict(market.open(1))
    assert sale_of({name: value for name, value in kept.items() if name != "queue_rate"}).queue_rate is None


def test_tickets_that_are_refused(market: Market) -> None:
    """None, another user's, another sale's, one that was changed, is signed by another key, or has expired."""
    sale, other, queue = market.open(1), market.open(1), Queue(market)
    ticket, text = queue.purchasing.join(sale.sale_id, "ann")
    late = replace(ticket, expires_at=now_ms() - 2000)
    head, claims, signature = text.split(".")
    wrong = [
        None,
        "x",
        f"{head}.{claims[:-2]}{'A' if claims[-2] != 'A' else 'B'}{claims[-1]}.{signature}",
        Tickets("t" * 32).write(ticket),
        queue.tickets.write(late),
        queue.purchasing.join(sale.sale_id, "bob")[1],
        queue.purchasing.join(other.sale_id, "ann")[1],
        jwt.encode({"aud": "orders", "sub": "ann", "sale": str(sale.sale_id)}, SECRET, algorithm="HS256"),
        jwt.encode({"aud": "orders/flash-queue", "sub": "ann"}, None, algorithm="none"),
    ]
    for one in wrong:
        with pytest.raises(TicketRefused):
            queue.purchasing.buy(sale.sale_id, "ann", 1, one)
    assert isinstance(queue.purchasing.buy(sale.sale_id, "ann", 1, text), int)


def test_a_ticket_is_good_for_a_while_after_its_turn(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its turn on, or from when it was asked for, where that is later."""
    now = now_ms()
    sale, queue = market.open(1, starts_at=now + HOUR, ends_at=now + 2 * HOUR), Queue(market)
    early, _ = queue.purchasing.join(sale.sale_id, "ann")
    assert early.expires_at == sale.starts_at + LASTS * 1000
    monkeypatch.setattr(queueing, "now_ms", lambda: sale.starts_at + 60_000)
    later, _ = queue.purchasing.join(sale.sale_id, "ann")
    assert (later.place, later.expires_at) == (early.place, sale.starts_at + 60_000 + LASTS * 1000)


def test_who_gets_no_ticket(market: Market) -> None:
    """Where no user queues, for a sale that there is not or that is over, and when the queue is full."""
    sale, queue = market.open(1), Queue(market, most=1)
    with pytest.raises(NoQueue):
        market.purchasing.join(sale.sale_id, "ann")
    with pytest.raises(NotFound):
        queue.purchasing.join(5, "ann")
    queue.purchasing.join(sale.sale_id, "ann")
    with pytest.raises(QueueFull):
        queue.purchasing.join(sale.sale_id, "bob")
    over = market.open(1, ends_at=now_ms() + 1)
    with pytest.raises(Ended):
        queueing_at(queue, over.ends_at, over.sale_id)


def test_a_sale_with_a_queue_that_the_store_does_not_know(market: Market) -> None:
    """Who joins has it told: no user gets as far as to buy. Once it is over, that is what is answered."""
    sale, queue = market.open(1), Queue(market)
    market.sweeping.often()
    market.pieces.forget(sale.sale_id)
    with pytest.raises(Unavailable):
        queue.purchasing.join(sale.sale_id, "ann")
    market.sweeping.often()
    assert queue.purchasing.join(sale.sale_id, "ann")[0].place.number == 0
    market.selling.close(sale.sale_id)
    market.pieces.forget(sale.sale_id)
    with pytest.raises(Ended):
        queue.purchasing.join(sale.sale_id, "bob")


def queueing_at(queue: Queue, at: int, sale_id: int) -> Ticket:
    """Join at a time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(queueing, "now_ms", lambda: at)
        return queue.purchasing.join(sale_id, "ann")[0]


def test_those_who_join_at_once(market: Market) -> None:
    """Each of their sale, in their order; a sale that the store does not know has none for now."""
    first, second, queue = market.open(1), market.open(1), Queue(market)
    market.pieces.forget(second.sale_id)
    asked = [
        *((first.sale_id, 10, "a"), (second.sale_id, 10, "a")),
        *((first.sale_id, 10, "b"), (first.sale_id, 10, "a")),
    ]
    places = queue.placing.place(asked)
    numbers = [one.number for one in places if isinstance(one, Place)]
    assert numbers == [0, 1, 0]
    assert isinstance(places[1], Unavailable)


def test_too_many_tries(market: Market) -> None:
    """Neither the sale's row nor the store is asked; tickets count as tries."""
    sale, who = market.open(9), admitting("2/hour")

    def admit(asked: tuple[int, str]) -> None:
        (refusal,) = who.admit([asked])
        if refusal is not None:
            raise refusal

    nothing: Any = None
    limited = Purchasing(nothing, nothing, nothing, nothing, nothing, nothing, admit=admit, queue=nothing)
    admit((sale.sale_id, "ann"))
    admit((sale.sale_id, "ann"))
    with pytest.raises(TooManyRequests):
        limited.buy(sale.sale_id, "ann", 1)
    queued = Purchasing(nothing, nothing, nothing, nothing, nothing, nothing, admit=admit, queue=Queue(market).queueing)
    with pytest.raises(TooManyRequests):
        queued.join(sale.sale_id, "ann")
