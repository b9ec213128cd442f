"""The contract of stores of pieces: on SQLite, MariaDB, Redis, a Redis cluster of one node, and Valkey."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from flash.pieces.paging import pages_of_open
from flash.pieces.port import (
    MOST,
    MOST_PIECES,
    TAKE_WITHIN,
    Answer,
    Buyer,
    Phase,
    Pieces,
    Place,
    Purchase,
    PurchaseState,
    Verdict,
)
from flash.pieces.rebuilding import rebuild
from halfmessage import clock
from halfmessage.clock import now_ms
from halfmessage.errors import NotFound, Unavailable
from halfmessage.tx.record import Outcome
from tests.contract.pieces.shop import HOUR, Shop, buyer, new_id, verdicts
from tests.contract.pieces.steps import steps_of
from tests.contract.pieces.stores import DATABASES, REDISES, THREADS, Open, OwnServers, opened
from tests.support import SetClock, eventually

pytestmark = [pytest.mark.P1, pytest.mark.P3]

TAKEN, SOLD_OUT, ABORTED = Verdict.TAKEN, Verdict.SOLD_OUT, Verdict.ABORTED
OLD = 11.0  # seconds: no take may come that late
DAY = 24 * 3600.0


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServers]:
    """Start servers of our own."""
    servers = OwnServers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.close()


@pytest.fixture(params=(*DATABASES, *REDISES))
def open_(request: pytest.FixtureRequest, tmp_path: Path, servers: OwnServers) -> Iterator[Open]:
    """Open the same store, as often as processes would."""
    with opened(request.param, tmp_path, servers) as open_:
        yield open_


@pytest.fixture
def make(open_: Open) -> Callable[..., Shop]:
    """Make a sale."""
    return lambda *quantity, **options: Shop(open_(), open_, *quantity, **options)


MakeShop = Callable[..., Shop]


class TestTaking:
    """What buyers get."""

    def test_sells_what_there_is(self, make: MakeShop) -> None:
        """Pieces go in the order of arrival, until none is left; there is never less than none."""
        shop = make(3)
        assert [shop.buy(user)[1] for user in "abcde"] == [TAKEN, TAKEN, TAKEN, SOLD_OUT, SOLD_OUT]
        assert shop.left == 0
        assert (shop.totals.pieces, shop.totals.taken) == (3, 3)

    def test_batch(self, make: MakeShop) -> None:
        """Each buyer of a call gets a verdict of its own, in their order; one who takes nothing is in no record."""
        shop = make(3, per_user=2)
        buyers = [buyer("a", 2), buyer("b", 2), buyer("c"), buyer("d"), buyer("a")]
        answers = shop.take(*buyers)
        assert verdicts(answers) == [TAKEN, SOLD_OUT, TAKEN, SOLD_OUT, Verdict.ALREADY_BOUGHT]
        assert set(shop.pieces.find(shop.sale_id, [one.purchase_id for one in buyers])) == {
            buyers[0].purchase_id,
            buyers[2].purchase_id,
        }

    def test_one_user(self, make: MakeShop) -> None:
        """A user gets no more than one may have, in one call or several, and is told of the first purchase."""
        shop = make(10, per_user=2)
        first = buyer("a")
        answers = shop.take(first, buyer("a"), buyer("a"), buyer("A"))
        assert answers[2] == Answer(Verdict.ALREADY_BOUGHT, first.purchase_id)
        assert verdicts(answers) == [TAKEN, TAKEN, Verdict.ALREADY_BOUGHT, TAKEN]
        assert shop.take(buyer("a")) == [Answer(Verdict.ALREADY_BOUGHT, first.purchase_id)]
        assert shop.take(buyer("b", 3)) == [Answer(Verdict.OVER_LIMIT)]
        look = shop.pieces.look(shop.sale_id, ["a", "b", "A"])
        assert look is not None
        assert look.bought.keys() == {"a", "A"}
        assert look.bought["a"] == first.purchase_id

    def test_bought_before_is_told_of_a_sale_that_is_sold_out(self, make: MakeShop) -> None:
        """Who has a piece is sent to it, also when there is none left."""
        shop = make(1)
        one, _ = shop.buy("a")
        assert shop.take(buyer("a")) == [Answer(Verdict.ALREADY_BOUGHT, one.purchase_id)]

    def test_strange_names(self, make: MakeShop) -> None:
        """A user's name is any text."""
        shop = make(10)
        names = ["a|b", "|", "1|2", "名前", "t|1|2|x", " ", "a\nb", "x" * 64]
        found = [shop.buy(name)[0] for name in names]
        assert {one.user_id for one in shop.pieces.purchases(shop.sale_id)} == set(names)
        assert shop.pieces.give_back(shop.sale_id, found) == [True] * len(names)
        assert shop.left == 10

    def test_large_ids(self, make: MakeShop) -> None:
        """Ids that a float does not tell apart are told apart."""
        shop = make(5)
        ids = [(1 << 62) + 1, (1 << 62) + 2, (1 << 62) + 3]
        assert verdicts(shop.take(*(Buyer(one, str(one)) for one in ids))) == [TAKEN] * 3
        found = shop.pieces.find(shop.sale_id, [ids[1]])
        assert [one.user_id for one in found.values()] == [str(ids[1])]
        assert [one.purchase_id for one in shop.pieces.open_purchases(shop.sale_id, before=ids[2])] == ids[:2]

    def test_unknown_sale(self, make: MakeShop) -> None:
        """Of a sale that the store does not know nothing is taken, nothing is told."""
        shop, unknown = make(), new_id()
        assert shop.pieces.take(unknown, new_id(), [buyer("a")]) == [Answer(Verdict.UNKNOWN_SALE)]
        assert (shop.pieces.look(unknown), shop.pieces.totals(unknown)) == (None, None)
        assert shop.pieces.find(unknown, [1]) == {}
        with pytest.raises(NotFound):
            shop.pieces.set_ready(unknown)

    def test_no_buyer(self, make: MakeShop) -> None:
        """A call for no buyer does nothing."""
        shop = make()
        assert shop.take() == shop.pieces.hold(shop.sale_id, ()) == shop.pieces.give_back(shop.sale_id, ()) == []
        assert shop.pieces.find(shop.sale_id, ()) == {}

    def test_bounds(self, make: MakeShop) -> None:
        """A call may have so many, and they are carried out; more are refused at once."""
        shop = make(MOST)
        many = [buyer(str(number)) for number in range(MOST + 1)]
        for call in (shop.pieces.hold, shop.pieces.give_back, lambda _, some: shop.take(*some)):
            with pytest.raises(ValueError, match="at most"):
                call(shop.sale_id, many)
        with pytest.raises(ValueError, match="at most"):
            shop.pieces.find(shop.sale_id, range(MOST + 1))
        with pytest.raises(ValueError, match="at most"):
            shop.pieces.look(shop.sale_id, [str(number) for number in range(MOST + 1)])
        with pytest.raises(ValueError, match="at most"):
            shop.pieces.open_purchases(shop.sale_id, before=1, limit=MOST + 1)
        some = many[:MOST]
        assert verdicts(shop.take(*some)) == [TAKEN] * MOST
        assert shop.pieces.hold(shop.sale_id, some) == [False] * MOST
        assert shop.pieces.give_back(shop.sale_id, some) == [True] * MOST
        assert shop.left == MOST

    @pytest.mark.parametrize("quantity", [0, -1, MOST_PIECES + 1])
    def test_quantity(self, quantity: int) -> None:
        """No buyer takes less than one piece, or more than a sale has."""
        with pytest.raises(ValueError, match="pieces"):
            Buyer(1, "a", quantity)


class TestTimes:
    """When a sale is on."""

    def test_not_started_and_ended(self, make: MakeShop) -> None:
        """Before and after its times nothing is sold; what is left is told all the same."""
        shop = make()
        now = now_ms()
        for phase, starts_at, ends_at in (
            (Phase.NOT_STARTED, now + HOUR, now + 2 * HOUR),
            (Phase.ENDED, now - 2 * HOUR, now - HOUR),
        ):
            shop.change(starts_at=starts_at, ends_at=ends_at)
            assert shop.buy("a")[1].value == phase.value
            look = shop.pieces.look(shop.sale_id)
            assert look is not None
            assert (look.phase, look.left) == (phase, 3)

    def test_starts_by_itself(self, make: MakeShop) -> None:
        """A sale starts when its time has come, and not before."""
        shop = make(1)
        shop.change(starts_at=now_ms() + 500)
        got = []
        eventually(lambda: got.append(shop.buy("a")[1]) or got[-1] is TAKEN)
        assert now_ms() >= shop.terms.starts_at
        assert set(got[:-1]) <= {Verdict.NOT_STARTED}

    def test_ends_by_itself(self, make: MakeShop) -> None:
        """A sale ends when its time is over, and not before."""
        shop = make(MOST_PIECES, per_user=MOST_PIECES)
        shop.change(ends_at=now_ms() + 500)
        got = []
        eventually(lambda: got.append(shop.buy("a")[1]) or got[-1] is Verdict.ENDED)
        assert now_ms() >= shop.terms.ends_at - 1  # SQLite's clock is rounded
        assert set(got[:-1]) <= {TAKEN}

    def test_the_store_s_clock(self, make: MakeShop, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process whose clock is a day off sells when the store's clock says so."""
        shop, later = make(), clock.time.time_ns() + 24 * 3600 * 10**9
        tx_id = new_id()
        monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=lambda: later))
        look = shop.pieces.look(shop.sale_id)
        assert look is not None
        assert look.phase is Phase.ON
        assert verdicts(shop.take(buyer("a"), tx_id=tx_id)) == [TAKEN]

    def test_end(self, make: MakeShop) -> None:
        """A sale that was ended is over for good, whatever terms it is told later; what was bought stays."""
        shop = make()
        one, _ = shop.buy("a")
        shop.pieces.end(shop.sale_id)
        shop.pieces.end(shop.sale_id)
        assert shop.buy("b")[1] is Verdict.ENDED
        shop.change(quantity=9)
        shop.rebuild()
        assert shop.buy("b")[1] is Verdict.ENDED
        assert shop.left == 8
        assert set(shop.pieces.find(shop.sale_id, [one.purchase_id])) == {one.purchase_id}

    def test_ended_by_its_terms(self, make: MakeShop) -> None:
        """Terms that say so end a sale, be they old; a store that forgot learns it from them."""
        shop = make()
        shop.change(quantity=5)
        shop.pieces.put(replace(shop.terms, version=1, is_ended=True))
        assert shop.buy("a")[1] is Verdict.ENDED
        assert shop.left == 5

    def test_end_of_a_sale_that_is_not_known(self, make: MakeShop) -> None:
        """A sale that is ended while the store does not know it is over when the store learns of it."""
        shop = make()
        terms = replace(shop.terms, sale_id=new_id())
        shop.pieces.end(terms.sale_id)
        assert shop.pieces.look(terms.sale_id) is None
        rebuild(shop.pieces, terms, ())
        assert shop.pieces.take(terms.sale_id, new_id(), [buyer("a")]) == [Answer(Verdict.ENDED)]

    def test_change(self, make: MakeShop) -> None:
        """Terms change by their version: more pieces or fewer, never less than none left; older ones are ignored."""
        shop = make(3)
        old = shop.terms
        for user in "ab":
            shop.buy(user)
        shop.change(quantity=1)
        assert shop.left == 0
        assert shop.buy("c")[1] is SOLD_OUT
        shop.change(quantity=4)
        shop.pieces.put(replace(old, quantity=99))
        shop.pieces.put(replace(shop.terms, quantity=99))
        assert shop.left == 2


class TestFence:
    """Who writes the record of a transaction first, decides it."""

    def test_taken_first(self, make: MakeShop) -> None:
        """What was taken is committed, whenever the checker asks."""
        shop, tx_id = make(), new_id()
        shop.take(buyer("a"), tx_id=tx_id)
        assert shop.pieces.decide(shop.sale_id, tx_id) is Outcome.COMMITTED
        assert shop.other(take_within=0.0).decide(shop.sale_id, tx_id) is Outcome.COMMITTED

    def test_checker_first(self, make: MakeShop) -> None:
        """What the checker has decided takes nothing any more, even by a store that would let it."""
        shop, tx_id = make(), new_id(age=OLD)
        assert shop.pieces.decide(shop.sale_id, tx_id) is Outcome.ABORTED
        assert shop.pieces.decide(shop.sale_id, tx_id) is Outcome.ABORTED
        patient = shop.other(take_within=DAY)
        assert patient.take(shop.sale_id, tx_id, [buyer("a")]) == [Answer(ABORTED)]
        assert patient.take(shop.sale_id, new_id(age=OLD), [buyer("a")]) == [Answer(TAKEN)]
        assert shop.totals.aborted == 1

    @pytest.mark.parametrize("age", [OLD, -OLD])
    def test_too_late(self, make: MakeShop, age: float) -> None:
        """A transaction too old, or of another clock's future, takes nothing, with no record of it anywhere."""
        shop = make()
        assert verdicts(shop.take(buyer("a"), tx_id=new_id(age=age))) == [ABORTED]
        assert shop.left == 3

    def test_too_early_to_decide(self, make: MakeShop) -> None:
        """A transaction that may still take is left alone."""
        shop, tx_id = make(), new_id()
        assert shop.pieces.decide(shop.sale_id, tx_id) is None
        assert verdicts(shop.take(buyer("a"), tx_id=tx_id)) == [TAKEN]

    def test_no_record_of_a_call_that_took_nothing(self, make: MakeShop) -> None:
        """Where no buyer got anything, the checker aborts."""
        shop, tx_id = make(1), new_id()
        shop.buy("a")
        assert verdicts(shop.take(buyer("b"), tx_id=tx_id)) == [SOLD_OUT]
        assert shop.other(take_within=0.0).decide(shop.sale_id, tx_id) is Outcome.ABORTED

    def test_forgotten(self, make: MakeShop) -> None:
        """Older than records are kept: there is no telling, and the record that may have been is not made up."""
        shop = make()
        assert shop.other(keep=DAY).decide(shop.sale_id, new_id(age=DAY + 1)) is Outcome.EXPIRED
        assert shop.totals.aborted == 0

    def test_of_an_unknown_sale(self, make: MakeShop) -> None:
        """The checker decides also where the store has forgotten the sale, and a rebuild does not undo it."""
        shop = make()
        terms, tx_id = replace(shop.terms, sale_id=new_id()), new_id(age=OLD)
        assert shop.pieces.decide(terms.sale_id, tx_id) is Outcome.ABORTED
        rebuild(shop.pieces, terms, ())
        patient = shop.other(take_within=DAY)
        assert patient.take(terms.sale_id, tx_id, [buyer("a")]) == [Answer(ABORTED)]

    def test_taken_again(self, make: MakeShop) -> None:
        """A call that is repeated, as its answer was lost, takes nothing twice, nor for those who got nothing."""
        shop, tx_id = make(1), new_id()
        one, two = buyer("a"), buyer("b")
        assert verdicts(shop.take(one, two, tx_id=tx_id)) == [TAKEN, SOLD_OUT]
        shop.change(quantity=5)
        assert verdicts(shop.take(one, two, tx_id=tx_id)) == [TAKEN, ABORTED]
        assert shop.left == 4
        assert shop.pieces.give_back(shop.sale_id, [one]) == [True]
        assert verdicts(shop.take(one, two, tx_id=tx_id)) == [ABORTED, ABORTED]

    def test_id_of_another_purchase(self, make: MakeShop) -> None:
        """A purchase's id is of one transaction, and of one place in it."""
        shop = make()
        one, _ = shop.buy("a")
        again = Buyer(one.purchase_id, "b")
        assert verdicts(shop.take(again)) == [ABORTED]
        twice = buyer("c")
        assert verdicts(shop.take(twice, replace(twice, user_id="d"))) == [TAKEN, ABORTED]

    def test_race(self, make: MakeShop) -> None:
        """Of a call and the checker at once one wins, and both know which."""
        shop = make(1000)
        patient, checker = shop.other(take_within=DAY), shop.other()
        with ThreadPoolExecutor(2) as pool:
            for number in range(30):
                tx_id, start = new_id(age=OLD), threading.Barrier(2)

                def take(tx_id: int = tx_id, start: threading.Barrier = start, number: int = number) -> Verdict:
                    start.wait()
                    return patient.take(shop.sale_id, tx_id, [buyer(str(number))])[0].verdict

                taking = pool.submit(take)
                start.wait()
                outcome = checker.decide(shop.sale_id, tx_id)
                won = (taking.result(), outcome)
                assert won in {(TAKEN, Outcome.COMMITTED), (ABORTED, Outcome.ABORTED)}
                assert checker.decide(shop.sale_id, tx_id) is outcome


class TestReturning:
    """Pieces that come back, and purchases that are held."""

    def test_once(self, make: MakeShop) -> None:
        """A purchase comes back once, however often and in whatever state; its user may buy again."""
        shop = make(2)
        one, _ = shop.buy("a")
        assert shop.pieces.give_back(shop.sale_id, [one, one]) == [True, False]
        assert shop.pieces.give_back(shop.sale_id, [one]) == [False]
        assert shop.left == 2
        two, verdict = shop.buy("a")
        assert verdict is TAKEN
        assert shop.pieces.hold(shop.sale_id, [two]) == [False]
        assert shop.pieces.give_back(shop.sale_id, [two]) == [True]
        assert shop.left == 2
        totals = shop.totals
        assert (totals.taken, totals.held, totals.returned, totals.pieces) == (0, 0, 2, 0)

    def test_as_many_as_were_taken(self, make: MakeShop) -> None:
        """What comes back is what was taken, whatever who gives it back says of it."""
        shop = make(9, per_user=5)
        one, _ = shop.buy("a", 3)
        two, _ = shop.buy("a", 2)
        assert shop.pieces.give_back(shop.sale_id, [replace(one, quantity=5, user_id="b")]) == [True]
        assert shop.left == 7
        assert shop.take(buyer("a", 4))[0].verdict is Verdict.ALREADY_BOUGHT
        assert shop.take(buyer("a", 3))[0].verdict is TAKEN
        assert shop.pieces.give_back(shop.sale_id, [two]) == [True]

    def test_at_once(self, make: MakeShop) -> None:
        """However many give a purchase back at the same time, it comes back once."""
        shop = make(THREADS)
        bought = [shop.buy(str(number))[0] for number in range(THREADS)]
        stores = [shop.other() for _ in range(THREADS)]
        start = threading.Barrier(THREADS)

        def give_back(number: int) -> int:
            start.wait()
            return sum(stores[number].give_back(shop.sale_id, bought))

        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(give_back, range(THREADS))) == THREADS
        assert shop.left == THREADS

    def test_before_it_was_taken(self, make: MakeShop) -> None:
        """A purchase that is given back before it is known is not taken, nor held, later."""
        shop, one = make(), buyer("a")
        assert shop.pieces.give_back(shop.sale_id, [one]) == [False]
        assert verdicts(shop.take(one, buyer("b"))) == [ABORTED, TAKEN]
        assert shop.pieces.hold(shop.sale_id, [one]) == [False]
        assert (shop.left, shop.totals.returned) == (2, 1)

    def test_after_the_end(self, make: MakeShop) -> None:
        """Pieces come back to a sale that is over, too: they are counted, and not sold."""
        shop = make()
        one, _ = shop.buy("a")
        shop.pieces.end(shop.sale_id)
        assert shop.pieces.give_back(shop.sale_id, [one]) == [True]
        assert (shop.left, shop.buy("b")[1]) == (3, Verdict.ENDED)

    def test_held(self, make: MakeShop) -> None:
        """A purchase that the store had forgotten counts once it is held, though it exceeds what there is."""
        shop = make(1)
        shop.buy("a")
        forgotten = buyer("b")
        assert shop.pieces.hold(shop.sale_id, [forgotten, forgotten]) == [True, False]
        assert shop.pieces.hold(shop.sale_id, [forgotten]) == [False]
        assert shop.left == 0
        assert shop.totals.pieces == 2
        assert shop.take(buyer("b")) == [Answer(Verdict.ALREADY_BOUGHT, forgotten.purchase_id)]
        shop.pieces.give_back(shop.sale_id, [forgotten])
        assert (shop.left, shop.totals.pieces) == (0, 1)

    def test_open_purchases(self, make: MakeShop) -> None:
        """Those that nothing is known of since they were taken are listed, lowest id first, so many, up to an id."""
        shop = make(9)
        bought = [shop.buy(user)[0] for user in "abcde"]
        shop.pieces.hold(shop.sale_id, bought[1:2])
        shop.pieces.give_back(shop.sale_id, bought[2:3])
        ids = [one.purchase_id for one in (bought[0], bought[3], bought[4])]

        def listed(before: int, limit: int = MOST) -> list[int]:
            return [one.purchase_id for one in shop.pieces.open_purchases(shop.sale_id, before=before, limit=limit)]

        assert listed(new_id()) == ids
        assert listed(new_id(), 2) == ids[:2]
        assert listed(ids[2]) == ids[:2]
        assert shop.pieces.open_purchases(new_id(), before=new_id()) == []

    def test_open_purchases_page_by_page(self, make: MakeShop) -> None:
        """As many as there are, each once, though some of a page are settled before the next one is asked for."""
        shop = make(MOST_PIECES, per_user=MOST_PIECES)
        bought = [buyer("a") for _ in range(2 * MOST + 3)]
        for first in range(0, len(bought), MOST):
            shop.take(*bought[first : first + MOST])
        pages = pages_of_open(shop.pieces, shop.sale_id)
        found = next(pages)
        shop.pieces.hold(shop.sale_id, bought[:5])
        for page in pages:
            found += page
        assert [one.purchase_id for one in found] == [one.purchase_id for one in bought]
        shop.pieces.give_back(shop.sale_id, bought[:MOST])
        after = bought[MOST + 1].purchase_id
        some = shop.pieces.open_purchases(shop.sale_id, before=new_id(), after=after, limit=2)
        assert [one.purchase_id for one in some] == [one.purchase_id for one in bought[MOST + 2 : MOST + 4]]

    def test_purchases(self, make: MakeShop) -> None:
        """All that is known can be read, more than one page of it."""
        shop, tx_id = make(MOST_PIECES), new_id()
        first = buyer("a", 1)
        shop.take(first, tx_id=tx_id)
        for part in range(3):
            shop.pieces.hold(shop.sale_id, [buyer(f"{part}.{number}") for number in range(MOST)])
        found = {one.purchase_id: one for one in shop.pieces.purchases(shop.sale_id)}
        assert len(found) == 1 + 3 * MOST
        assert found[first.purchase_id] == Purchase(first.purchase_id, "a", 1, PurchaseState.TAKEN, tx_id)


class TestForgetting:
    """A sale whose counts are wrong."""

    def test_until_it_is_told_anew(self, make: MakeShop) -> None:
        """It sells nothing, then what its rows leave; what only the store knew counts again once it is held."""
        shop = make(3)
        first, tx_id = buyer("a"), new_id()
        shop.take(first, tx_id=tx_id)
        kept, back = shop.buy("b")[0], shop.buy("c")[0]
        shop.pieces.hold(shop.sale_id, [kept])
        shop.pieces.give_back(shop.sale_id, [back])
        shop.pieces.forget(shop.sale_id)
        shop.pieces.forget(shop.sale_id)
        assert shop.pieces.look(shop.sale_id) is None
        assert shop.take(buyer("d")) == [Answer(Verdict.UNKNOWN_SALE)]
        assert shop.take(first, tx_id=tx_id) == [Answer(ABORTED)]
        rows = [
            Purchase(kept.purchase_id, "b", 1, PurchaseState.HELD),
            Purchase(back.purchase_id, "c", 1, PurchaseState.RETURNED),
        ]
        shop.rebuild(rows)
        assert (shop.left, shop.totals.held, shop.totals.returned) == (2, 1, 1)
        assert shop.pieces.hold(shop.sale_id, [first]) == [True]
        assert shop.left == 1
        assert shop.pieces.decide(shop.sale_id, tx_id) is Outcome.COMMITTED

    def test_it_is_known_when_that_was(self, make: MakeShop) -> None:
        """To every process, and when it is told anew; the last time counts."""
        shop, began = make(3), now_ms()
        assert shop.pieces.forgotten_till(shop.sale_id) == 0
        shop.pieces.forget(shop.sale_id)
        till = shop.other().forgotten_till(shop.sale_id)
        assert began - 1000 <= till - TAKE_WITHIN * 1000 <= now_ms() + 1000
        shop.rebuild()
        assert shop.pieces.forgotten_till(shop.sale_id) == till

        def again() -> bool:
            shop.rebuild()
            shop.pieces.forget(shop.sale_id)
            return shop.pieces.forgotten_till(shop.sale_id) > till

        eventually(again)

    def test_of_a_sale_that_is_not_known(self, make: MakeShop) -> None:
        """There is nothing to forget; the others stay."""
        shop = make(3)
        shop.pieces.forget(new_id())
        assert shop.left == 3


class TestQueueing:
    """Places in a sale's queue."""

    def test_in_the_order_of_arrival(self, make: MakeShop) -> None:
        """One place each, for good; turns are so far apart, and none is before its user came."""
        shop, began = make(3), now_ms()
        places = shop.pieces.queue(shop.sale_id, ["b", "a", "b"], between=50_000)
        assert places is not None
        assert [one and one.number for one in places] == [0, 1, 0]
        more = shop.other().queue(shop.sale_id, ["c", "a"], between=50_000)
        assert more is not None
        assert more[1] == places[1]
        turns = [one.turn_at for one in (*places[:2], more[0]) if one is not None]
        assert turns[0] >= began - 1000
        assert turns[1] - turns[0] >= 49
        assert turns[2] - turns[1] >= 49
        assert shop.pieces.queue(shop.sale_id, [], between=1) in ([], None)

    def test_before_it_starts(self, make: MakeShop) -> None:
        """The first turn is when it does; turns may be less than a millisecond apart."""
        shop = make(3)
        starts_at = now_ms() + HOUR
        shop.change(starts_at=starts_at, ends_at=starts_at + HOUR)
        places = shop.pieces.queue(shop.sale_id, [str(number) for number in range(11)], between=100)
        assert places is not None
        assert {one.turn_at for one in places[:10] if one is not None} == {starts_at}
        assert places[10] is not None
        assert places[10].turn_at == starts_at + 1

    def test_full(self, make: MakeShop, open_: Open) -> None:
        """There are so many places; who has one keeps it."""
        shop, pieces = make(3), open_(most_places=2)
        places = pieces.queue(shop.sale_id, ["a", "b", "c"], between=1)
        assert places is not None
        assert [one and one.number for one in places] == [0, 1, None]
        again = pieces.queue(shop.sale_id, ["c", "b"], between=1)
        assert again == [None, places[1]]

    def test_unknown_sale(self, make: MakeShop) -> None:
        """There is no queue where nothing is known of the sale; one that is told anew has its own still."""
        shop = make(3)
        assert shop.pieces.queue(new_id(), ["a"], between=1) is None
        first = shop.pieces.queue(shop.sale_id, ["a"], between=1)
        shop.pieces.forget(shop.sale_id)
        shop.rebuild()
        assert shop.pieces.queue(shop.sale_id, ["a"], between=1) == first

    def test_at_once(self, make: MakeShop) -> None:
        """Several processes give each place once."""
        shop = make(3)

        def ask(number: int) -> list[Place | None] | None:
            return shop.other().queue(shop.sale_id, [f"{number % 5}", f"u{number}"], between=1)

        with ThreadPoolExecutor(THREADS) as pool:
            found = [one for many in pool.map(ask, range(20)) for one in many or ()]
        numbers = {one.number for one in found if one is not None}
        assert numbers == set(range(25))


class TestRebuilding:
    """A store that has forgotten is told again, from rows."""

    def test_from_nothing(self, make: MakeShop) -> None:
        """A sale sells nothing until all its rows were told, and then what they leave."""
        shop = make()
        terms = replace(shop.terms, sale_id=new_id(), quantity=600)
        rows = [Purchase(new_id(), str(number), 1, PurchaseState.HELD) for number in range(MOST + 50)]
        rows += [Purchase(new_id(), "back", 1, PurchaseState.RETURNED)]

        def told() -> Iterator[Purchase]:
            for row in rows:
                answer = shop.pieces.take(terms.sale_id, new_id(), [buyer("early")])
                assert answer == [Answer(Verdict.UNKNOWN_SALE)]
                yield row

        assert rebuild(shop.pieces, terms, told()) == MOST + 50
        assert rebuild(shop.pieces, terms, rows) == 0
        look = shop.pieces.look(terms.sale_id, ["0", "back"])
        assert look is not None
        assert (look.left, look.is_ready, look.bought) == (600 - MOST - 50, True, {"0": rows[0].purchase_id})

    def test_undoes_nothing(self, make: MakeShop) -> None:
        """What was decided stays decided, whatever older rows say: aborted, returned, taken and not yet a row."""
        shop = make(9)
        aborted = new_id(age=OLD)
        shop.pieces.decide(shop.sale_id, aborted)
        one, two, three = (shop.buy(user)[0] for user in "abc")
        shop.pieces.give_back(shop.sale_id, [one])
        rows = [Purchase(one.purchase_id, "a", 1, PurchaseState.HELD)]
        rows += [Purchase(two.purchase_id, "b", 1, PurchaseState.RETURNED)]
        assert shop.rebuild(rows) == 1
        states = {state: number for number, state in enumerate(PurchaseState)}
        found = shop.pieces.find(shop.sale_id, [one.purchase_id, two.purchase_id, three.purchase_id])
        assert [states[item.state] for _, item in sorted(found.items())] == [2, 2, 0]
        assert shop.left == 8
        assert shop.pieces.decide(shop.sale_id, aborted) is Outcome.ABORTED
        assert shop.other(take_within=DAY).take(shop.sale_id, aborted, [buyer("d")]) == [Answer(ABORTED)]

    def test_at_once(self, make: MakeShop) -> None:
        """Several rebuild a sale that sells meanwhile: it sells exactly what there is."""
        shop = make(40)
        rows = [Purchase(new_id(), f"row {number}", 1, PurchaseState.HELD) for number in range(20)]
        stores = [shop.other() for _ in range(THREADS)]
        start = threading.Barrier(THREADS)

        def work(number: int) -> int:
            start.wait()
            if number % 2:
                return -rebuild(stores[number], shop.terms, rows)
            bought = [stores[number].take(shop.sale_id, new_id(), [buyer(f"{number}.{i}")])[0] for i in range(12)]
            return sum(one.verdict is TAKEN for one in bought)

        with ThreadPoolExecutor(THREADS) as pool:
            results = list(pool.map(work, range(THREADS)))
        assert sum(results[1::2]) == -20
        totals = shop.totals
        assert totals.pieces == sum(results[::2]) + 20
        assert (totals.held, totals.taken) == (20, sum(results[::2]))
        assert shop.left == max(0, 40 - totals.pieces)


class TestTogether:
    """Many threads and processes."""

    @pytest.mark.parametrize("per_call", [1, 7])
    def test_exactly_what_there_is(self, make: MakeShop, per_call: int) -> None:
        """However many buy at once, exactly the quantity is sold."""
        shop = make(50)
        stores = [shop.other() for _ in range(THREADS)]
        start = threading.Barrier(THREADS)

        def work(number: int) -> Counter[Verdict]:
            start.wait()
            got: Counter[Verdict] = Counter()
            for call in range(28 // per_call):
                buyers = [buyer(f"{number}.{call}.{i}") for i in range(per_call)]
                got.update(verdicts(stores[number].take(shop.sale_id, new_id(), buyers)))
            return got

        with ThreadPoolExecutor(THREADS) as pool:
            got = sum(pool.map(work, range(THREADS)), Counter())
        assert got == Counter({TAKEN: 50, SOLD_OUT: THREADS * 28 - 50})
        assert (shop.left, shop.totals.pieces, shop.totals.taken) == (0, 50, 50)

    def test_one_user_in_many_places(self, make: MakeShop) -> None:
        """A user who buys everywhere at once gets what one may have."""
        shop = make(50, per_user=2)
        stores = [shop.other() for _ in range(THREADS)]
        start = threading.Barrier(THREADS)

        def work(number: int) -> list[Verdict]:
            start.wait()
            return [stores[number].take(shop.sale_id, new_id(), [buyer("a")])[0].verdict for _ in range(3)]

        with ThreadPoolExecutor(THREADS) as pool:
            got = Counter(verdict for some in pool.map(work, range(THREADS)) for verdict in some)
        assert got == {TAKEN: 2, Verdict.ALREADY_BOUGHT: 3 * THREADS - 2}
        assert shop.left == 48

    @pytest.mark.timeout(600)  # its transactions are real ones
    def test_any_interleaving(self, make: MakeShop) -> None:
        """After every step, in any order of steps: what is left, counted and told is as the model says."""
        steps = settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        )
        run_state_machine_as_test(lambda: steps_of(make(4, per_user=2)), settings=steps)  # type: ignore[no-untyped-call]


class TestKeeping:
    """What is old is forgotten."""

    def test_purge(self, make: MakeShop, open_: Open) -> None:
        """A sale is forgotten some time after its end, with all that was bought in it, and not before."""
        short = open_(keep=1.0)
        shop, kept = make(), make(2)
        for one in (shop, kept):
            one.buy("a")
            one.pieces.hold(one.sale_id, [buyer(f"{number}") for number in range(MOST)])
        now = now_ms()
        short.put(replace(shop.terms, version=9, starts_at=now - HOUR, ends_at=now - 1))
        short.decide(shop.sale_id, new_id(age=OLD))
        eventually(lambda: _is_forgotten(short, shop.sale_id))
        assert list(short.purchases(shop.sale_id)) == []
        assert kept.left == 0
        assert kept.totals.held == MOST

    def test_record(self, make: MakeShop, open_: Open) -> None:
        """A record is kept for its time, and no longer than some time after it."""
        shop, short, tx_id = make(), open_(keep=3.0), new_id()
        assert short.take(shop.sale_id, tx_id, [buyer("a")]) == [Answer(TAKEN)]
        impatient = open_(take_within=0.0)
        assert impatient.decide(shop.sale_id, tx_id) is Outcome.COMMITTED

        def is_forgotten() -> bool:
            short.purge()
            return impatient.decide(shop.sale_id, tx_id) is Outcome.ABORTED

        eventually(is_forgotten, within=30.0)

    def test_answers(self, make: MakeShop) -> None:
        """A store that is there says so, and that it is the same as before."""
        shop = make()
        shop.pieces.ping()
        assert shop.pieces.incarnation() == shop.other().incarnation()

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_another_clock(self, make: MakeShop, set_clock: SetClock, hours: int) -> None:
        """A store whose clock is an hour from ours sells nothing, and says that it is not ready; until it is right."""
        shop = make()
        set_clock(hours * 3600)
        assert shop.buy("a")[1] is ABORTED
        with pytest.raises(Unavailable, match=f"3600 s {'ahead of' if hours < 0 else 'behind'} ours"):
            shop.pieces.ping()
        set_clock(0)
        shop.pieces.ping()
        assert shop.buy("a")[1] is TAKEN


def _is_forgotten(pieces: Pieces, sale_id: int) -> bool:
    pieces.purge()
    return pieces.totals(sale_id) is None
