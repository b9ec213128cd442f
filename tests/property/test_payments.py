"""Money in any order of what may happen to it: kept once for a paid order, sent back once for any other."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from halfmessage.errors import HalfMessageError
from pay.model import Via
from pay.providers.port import Kind, ProviderEvent, RefundState
from tests.fakes import BROKER_DOWN
from tests.payments import DOWN, TX, Till

pytestmark = pytest.mark.P7

ORDERS = (1, 2)
RACES = 100
TOGETHER = 10  # orders in each race
orders = st.sampled_from(ORDERS)
whens = st.sampled_from(["before", "after"])


class Money(RuleBasedStateMachine):
    """Two orders, their payments, a provider with a ledger of its own, and an order service as simple as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.till = Till(Path(self.directory.name))
        self.provider = self.till.provider
        self.till.owe(*ORDERS)
        self.order = dict.fromkeys(ORDERS, "created")
        self.news: list[ProviderEvent] = []
        self.unreleased: set[int] = set()

    def pages(self) -> list[str]:
        return sorted(self.provider.sessions)

    @rule(order_id=orders, scenario=st.sampled_from([None, "page", "refuse"]), when=st.none() | whens)
    def pay(self, order_id: int, scenario: str | None, when: str | None) -> None:
        if when is not None:
            self.provider.faults.plan("begin", DOWN, when)
        with suppress(HalfMessageError):
            self.till.pay(order_id, scenario)
        self.provider.faults.planned.clear()

    @precondition(lambda self: self.provider.sessions)
    @rule(data=st.data(), amount=st.sampled_from([500, 500, 499]), currency=st.sampled_from(["EUR", "EUR", "USD"]))
    def money_is_taken(self, data: st.DataObject, amount: int, currency: str) -> None:
        page = data.draw(st.sampled_from(self.pages()))
        self.news.append(self.provider.take(page, amount, currency))

    @precondition(lambda self: self.provider.sessions)
    @rule(data=st.data(), kind=st.sampled_from([Kind.FAILED, Kind.EXPIRED]))
    def provider_says_no(self, data: st.DataObject, kind: Kind) -> None:
        self.news.append(self.provider.no(data.draw(st.sampled_from(self.pages())), kind))

    @precondition(lambda self: self.news)
    @rule(data=st.data(), again=st.booleans(), other_name=st.booleans())
    def callbacks(self, data: st.DataObject, again: bool, other_name: bool) -> None:
        told = data.draw(st.lists(st.sampled_from(self.news), min_size=1, max_size=3))
        events = [replace(event, event_id=f"{event.event_id}'") if other_name else event for event in told]
        self.till.hear(*events, *(events if again else ()))

    @precondition(lambda self: self.news)
    @rule(data=st.data())
    def a_callback_is_stored_and_its_process_dies(self, data: st.DataObject) -> None:
        self.till.inbox.store("fake", data.draw(st.sampled_from(self.news)), Via.CALLBACK)

    @precondition(lambda self: self.provider.returned)
    @rule(data=st.data())
    def a_refund_is_told(self, data: st.DataObject) -> None:
        charge_id = data.draw(st.sampled_from(sorted(self.provider.returned)))
        self.till.hear(ProviderEvent(f"back-{charge_id}", Kind.REFUNDED, None, b"", charge_id))

    @rule(order_id=orders)
    def order_is_closed(self, order_id: int) -> None:
        if self.order[order_id] == "created":
            self.order[order_id] = "closed"
            self.unreleased.add(order_id)

    @rule(order_id=orders)
    def rollback_arrives(self, order_id: int) -> None:
        if self.order[order_id] == "closed":
            self.till.release(order_id)
            self.unreleased.discard(order_id)

    @rule()
    def messages_arrive(self) -> None:
        for event in self.till.told():
            for order_id in event.order_ids:
                if self.order[order_id] == "created":
                    self.order[order_id] = "paid"

    @rule(order_id=orders)
    def pay_is_told(self, order_id: int) -> None:
        if self.order[order_id] == "paid":
            self.till.reservations.settle({order_id: (TX, "paid")})

    @rule(order_id=orders)
    def last_question(self, order_id: int) -> None:
        self.till.last_question.ask([order_id])

    @rule(what=st.sampled_from(["ask", "close", None]))
    def poll(self, what: str | None) -> None:
        if what is not None:
            self.provider.faults.plan(what, DOWN)
        self.till.make_due()
        self.till.polling.run()
        self.provider.faults.planned.clear()

    @rule(state=st.sampled_from(RefundState), when=st.none() | whens)
    def refund(self, state: RefundState, when: str | None) -> None:
        self.provider.refunds = lambda _: state
        if when is not None:
            self.provider.faults.plan("refund", DOWN, when)
        self.till.make_due()
        self.till.refunding.run()
        self.provider.faults.planned.clear()

    @rule(step=st.sampled_from(["begin", "resolve", None]))
    def workers(self, step: str | None) -> None:
        if step is not None:
            self.till.faults.plan(step, BROKER_DOWN)
        self.till.make_due()
        with suppress(HalfMessageError):
            self.till.handling.handle_due()
        self.till.faults.planned.clear()
        self.till.telling.run()

    @rule()
    def check_back(self) -> None:
        self.till.check_back()

    @invariant()
    def no_money_is_lost_or_made(self) -> None:
        kept: Counter[int] = Counter()
        for order_id in ORDERS:
            payment = self.till.payment(order_id)
            for charge in payment.charges:
                taken = self.provider.taken[charge.charge_id]
                assert (order_id, charge.amount, charge.currency) == taken
                returned = self.provider.returned[charge.charge_id]
                assert returned <= 1
                assert returned == 1 or charge.status != "refunded"
                assert returned == 0 or charge.status != "kept"
                if charge.status == "kept":
                    kept[order_id] += 1
                    assert taken[1:] == (payment.amount, payment.currency)
            assert kept[order_id] == (payment.status == "succeeded")
            assert self.order[order_id] != "paid" or payment.status == "succeeded"

    def teardown(self) -> None:
        try:
            self._end()
        finally:
            self.till.close()
            self.directory.cleanup()

    def _end(self) -> None:
        """Let everything be told, asked and done; then each order and its money agree."""
        self.provider.refunds = lambda _: RefundState.DONE
        for order_id in self.unreleased:
            self.till.release(order_id)
        for event in self.news:
            self.till.inbox.store("fake", event, Via.CALLBACK)
        for _ in range(3):
            self.till.make_due()
            self.till.handling.handle_due()
            self.till.polling.run()
            self.till.make_due()
            self.till.refunding.run()
            self.till.telling.run()
            self.till.check_back()
            self.messages_arrive()
        self.no_money_is_lost_or_made()
        charges = self.till.charge_states()
        assert charges.keys() == self.provider.taken.keys()
        for charge_id, (order_id, _, _) in self.provider.taken.items():
            is_kept = charges[charge_id] == "kept"
            assert self.provider.returned[charge_id] == (not is_kept)
            assert not is_kept or self.order[order_id or 0] == "paid"
        taken, refunded = self.till.counted()
        assert taken == Counter(_by_currency(self.provider.taken.values()))
        assert refunded == Counter(_by_currency(self.provider.taken[charge] for charge in self.provider.returned))


def _by_currency(charges: Any) -> dict[str, int]:
    found: Counter[str] = Counter()
    for _, amount, currency in charges:
        found[currency] += amount
    return found


@pytest.mark.timeout(600)  # its transactions are real ones
def test_money_in_any_order() -> None:
    """After every step, doubled or not: one kept charge at most; at the end every other one went back exactly once."""
    steps = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Money, settings=steps)  # type: ignore[no-untyped-call]


@pytest.mark.timeout(600)
def test_a_thousand_races(tmp_path: Path) -> None:
    """Callbacks, one copied, against closing, polling and refunding, each on its thread: then the money agrees."""
    till = Till(tmp_path)
    with ThreadPoolExecutor(6) as pool:
        for race in range(RACES):
            _race(till, pool, [1 + race * TOGETHER + n for n in range(TOGETHER)], closes=race % 2 == 0)
    till.close()


def _race(till: Till, pool: ThreadPoolExecutor, order_ids: list[int], *, closes: bool) -> None:
    till.owe(*order_ids)
    pages = [till.page(order_id) for order_id in order_ids]
    others = [till.pay(order_id, "other-page").pay_url for order_id in order_ids]
    first = [till.provider.take(page) for page in pages]
    second = [till.provider.take(str(url).rpartition("/")[2]) for url in others]
    till.make_due()
    works: list[Callable[[], object]] = [
        partial(till.hear, *first),
        partial(till.hear, *second, *(replace(event, event_id=f"{event.event_id}'") for event in first)),
        till.polling.run,
        till.refunding.run,
        partial(till.release, *order_ids) if closes else partial(till.last_question.ask, order_ids),
    ]
    _at_once(pool, works)
    for _ in range(2):
        till.make_due()
        till.handling.handle_due()
        till.polling.run()
        till.refunding.run()
    for order_id in order_ids:
        states = Counter(till.charge_states(order_id).values())
        assert states == (Counter(refunded=2) if closes else Counter(kept=1, refunded=1))
        for charge_id, state in till.charge_states(order_id).items():
            assert till.provider.returned[charge_id] == (state == "refunded")


def _at_once(pool: ThreadPoolExecutor, works: list[Callable[[], object]]) -> None:
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        gate.wait()
        with suppress(HalfMessageError):  # a loser leaves it to the workers
            work()

    for done in [pool.submit(run, work) for work in works]:
        done.result()
