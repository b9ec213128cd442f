"""What providers say: stored as it came, handled once, whatever comes late, twice, at once, or about other money."""

import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from common.errors import Malformed
from halfmessage import failpoints
from halfmessage.chunks import ROWS
from halfmessage.clock import now_ms
from halfmessage.errors import FailpointRaised, HalfMessageError, RowRefused, Unavailable
from halfmessage.mq.port import CheckAnswer
from pay.model import Via, charges, payment_events, payments
from pay.providers.port import Kind, ProviderEvent
from pay.service import inbox, posting
from pay.service.events import Handling
from pay.service.ledger import Ledger
from pay.service.posting import Raced, Times
from tests.fakes import BROKER_DOWN
from tests.payments import TX, Till, success
from tests.support import reads_on_mysql

pytestmark = pytest.mark.P7
TIMES = Times(tell_after=1, refused_again_after=1, poll_until=1)


@pytest.fixture
def till(tmp_path: Path) -> Iterator[Till]:
    till = Till(tmp_path)
    yield till
    till.close()


def about(kind: Kind, charge_id: str | None = "c1", **fields: Any) -> ProviderEvent:
    return ProviderEvent(fields.pop("event_id", f"{kind}-{charge_id}"), kind, 1, b"raw", charge_id, **fields)


def test_a_success_pays_its_order(till: Till) -> None:
    """The payment succeeds, its charge is kept, and a message tells the order service which transaction placed it."""
    till.owe(1)
    till.hear(success("c1", 1))
    payment = till.payment(1)
    assert (payment.status, payment.provider, payment.known) == ("succeeded", "fake", False)
    (told,) = till.told()
    assert (told.order_ids, told.placed_by, told.providers) == ((1,), (TX,), ("fake",))
    (event,) = payment.events
    assert (event.effect, event.tx_id, event.reason) == ("paid", told.tx_id, None)
    assert till.charge_states() == {"c1": "kept"}
    assert till.counted() == (Counter(EUR=500), Counter())


def test_what_came_is_kept_as_it_came(till: Till) -> None:
    """The bytes are stored, and how they came; an event that is stored is not stored again."""
    event = replace(success("c1", 1), raw=b'\x00{"any": "bytes"}\xff')
    assert till.inbox.store("fake", event, Via.POLL)
    assert not till.inbox.store("fake", replace(event, raw=b"other"), Via.CALLBACK)
    with till.database.read() as connection:
        (row,) = connection.execute(select(payment_events)).all()
    assert (row.raw, row.via, row.handled_at, row.kind) == (event.raw, "poll", None, "succeeded")


def test_what_comes_at_once_shares_a_transaction(till: Till) -> None:
    """One that is known, or that the database refuses, is its own matter: the others are stored."""
    till.inbox.store("fake", success("c1", 1), Via.CALLBACK)
    events = [success(f"c{number}", 1) for number in (1, 2, 2, 3)]
    rows = [inbox._row("fake", event, Via.CALLBACK) for event in events]
    assert till.inbox._store_all([rows[0], rows[1], rows[2], rows[3] | {"raw": None}])[:3] == [False, True, False]
    (refused,) = till.inbox._store_all([rows[3] | {"raw": None}])
    assert isinstance(refused, RowRefused)
    assert till.inbox._store_all([rows[3], inbox._row("other", events[3], Via.POLL)]) == [True, True]
    assert len(till.effects()) == 3


def test_a_batch_is_full_by_its_bytes(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large events don't share one transaction, however many come at once; small ones do, up to so many rows."""
    sizes: list[int] = []
    stored = till.inbox._store_all

    def store(rows: Any) -> Any:
        sizes.append(sum(len(row["raw"]) for row in rows))
        return stored(rows)

    batches = till.inbox._batches
    monkeypatch.setattr(batches, "_run", store)
    large = [replace(success(f"c{number}", number), raw=b"x" * 400_000) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda event: till.inbox.store("fake", event, Via.CALLBACK), large))
    assert max(sizes) <= 1_000_000
    assert sum(sizes) == 8 * 400_000
    small = inbox._row("fake", success("c9", 9), Via.CALLBACK)
    assert batches._weigh(small) * ROWS == batches._heaviest


def test_events_that_mean_nothing_are_forgotten(till: Till) -> None:
    """Those that name neither a payment nor money, once they are old and handled; all others stay."""
    other = ProviderEvent("e-other", Kind.OTHER, None, b"{}")
    kept = [
        replace(other, event_id="e-ours", payment_id=1),
        replace(success("c1", 1), event_id="e-money", payment_id=None),
        replace(other, event_id="e-back", kind=Kind.REFUNDED, charge_id="c7"),
        replace(other, event_id="e-young"),
        replace(other, event_id="e-waits"),
    ]
    for event in [other, *kept]:
        till.inbox.store("fake", event, Via.CALLBACK)
    till.handling.handle([("fake", event.event_id) for event in [other, *kept[:-1]]])
    old = update(payment_events).where(payment_events.c.event_id != "e-young").values(received_at=1)
    till.database.transact(lambda connection: connection.execute(old))
    assert inbox.forget_strangers(till.database, 3600.0) == 1
    with till.database.read() as connection:
        left = set(connection.scalars(select(payment_events.c.event_id)))
    assert left == {event.event_id for event in kept}


def test_many_callbacks_at_once(till: Till) -> None:
    """Each is told whether it is new; one of those that are alike is."""
    with ThreadPoolExecutor(8) as pool:
        told = list(
            pool.map(lambda n: till.inbox.store("fake", success(f"c{n % 20}", n % 20), Via.CALLBACK), range(80))
        )
    assert (sum(told), len(till.effects())) == (20, 20)


@pytest.mark.parametrize(
    "odd",
    [
        {"event_id": ""},
        {"event_id": "e" * 129},
        {"event_id": "a\x00b"},
        {"charge_id": "c" * 129},
        {"amount": -1},
        {"amount": 2**63},
        {"event_id": "e "},
        {"charge_id": "c\ud800"},
        {"currency": "eur"},
        {"currency": "EURO"},
    ],
)
def test_what_no_event_has(till: Till, odd: dict[str, Any]) -> None:
    """Names, amounts and currencies that can not be are refused before they reach the database."""
    with pytest.raises(Malformed):
        till.inbox.store("fake", replace(success("c1", 1), **odd), Via.CALLBACK)
    assert till.effects() == {}


@pytest.mark.parametrize("named", [0, -1, 2**63, 10**30])
def test_a_payment_that_can_not_be(till: Till, named: int) -> None:
    """An id that is no id names no payment: its money goes back."""
    till.hear(success("c1", named))
    assert till.effects() == {"taken-c1": ("refunding", "unknown-order")}


def test_the_same_event_again_does_nothing(till: Till) -> None:
    """However often it comes, it is handled once, and told once."""
    till.owe(1)
    for _ in range(3):
        till.hear(success("c1", 1))
    assert till.charge_states() == {"c1": "kept"}
    assert len(till.told()) == 1
    assert till.counted() == (Counter(EUR=500), Counter())


def test_another_event_about_known_money_does_nothing(till: Till) -> None:
    """A callback and a poll may tell of the same charge under two names."""
    till.owe(1)
    till.hear(success("c1", 1), replace(success("c1", 1), event_id="other"))
    assert till.effects() == {"taken-c1": ("paid", None), "other": ("known", None)}
    assert till.charge_states() == {"c1": "kept"}
    assert till.counted() == (Counter(EUR=500), Counter())


def test_another_event_about_the_same_order_is_another(till: Till) -> None:
    """An event is known by its own name, not by its order's: a second charge is seen, and goes back."""
    till.owe(1)
    till.hear(success("c1", 1))
    till.hear(success("c2", 1))
    assert till.effects() == {"taken-c1": ("paid", None), "taken-c2": ("refunding", "double")}
    assert till.charge_states() == {"c1": "kept", "c2": "refunding"}
    till.provider.taken["c2"] = (1, 500, "EUR")
    till.refunding.run()
    assert till.charge_states() == {"c1": "kept", "c2": "refunded"}
    assert till.state(1) == "succeeded"


def test_late_money_goes_back(till: Till) -> None:
    """A closed payment stays closed for its order: the money is refunded, and nothing is told."""
    till.owe(1)
    till.release(1)
    till.hear(success("c1", 1))
    assert till.state(1) == "refunding"
    assert till.effects() == {"taken-c1": ("refunding", "late")}
    till.hear(success("c2", 1))
    assert till.charge_states() == {"c1": "refunding", "c2": "refunding"}
    assert till.told() == []


def test_money_that_comes_once_more(till: Till) -> None:
    """A payment that was refunded is refunding again, when money comes again."""
    till.owe(1)
    till.release(1)
    till.provider.taken = {"c1": (1, 500, "EUR"), "c2": (1, 500, "EUR")}
    till.hear(success("c1", 1))
    till.refunding.run()
    assert till.state(1) == "refunded"
    till.hear(success("c2", 1))
    assert till.state(1) == "refunding"
    till.refunding.run()
    assert till.state(1) == "refunded"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (success("c1", 1, amount=499), "other-amount"),
        (success("c1", 1, amount=501), "other-amount"),
        (success("c1", 1, amount=50000), "other-amount"),
        (success("c1", 1, currency="USD"), "other-currency"),
        (success("c1", 2), "unknown-order"),
        (success("c1", None), "unknown-order"),
    ],
)
def test_money_that_is_not_what_is_owed(till: Till, event: ProviderEvent, reason: str) -> None:
    """It never pays; it goes back; and the payment stays open for what is owed."""
    till.owe(1)
    till.hear(event)
    assert till.effects() == {"taken-c1": ("refunding", reason)}
    assert (till.state(1), till.told()) == ("open", [])
    till.hear(success("c2", 1))
    assert till.state(1) == "succeeded"


def test_money_without_a_name(till: Till) -> None:
    """A success that names no charge, amount or currency pays nothing, and can't go back: it is told in the log."""
    till.owe(1)
    till.hear(
        about(Kind.SUCCEEDED, None, amount=500, currency="EUR", event_id="a"),
        about(Kind.SUCCEEDED, "c1", amount=None, currency="EUR", event_id="b"),
        about(Kind.SUCCEEDED, "c1", amount=500, event_id="c"),
        about(Kind.SUCCEEDED, "c1", amount=0, currency="EUR", event_id="d"),
        about(Kind.OTHER, None, event_id="e"),
    )
    assert set(till.effects().values()) == {("none", None)}
    assert (till.state(1), till.charge_states()) == ("open", {})


def test_a_batch_is_one_message(till: Till) -> None:
    """Successes that are handled together are told by one message; of two of one order the first is kept."""
    till.owe(1, 2, 3)
    till.release(3)
    till.hear(*(success(f"c{n}", n) for n in (1, 2, 3)), success("d1", 1))
    (told,) = till.told()
    assert told.order_ids == (1, 2)
    states = till.charge_states()
    assert states["c2"] == "kept"
    assert states["c3"] == "refunding"
    assert sorted([states["c1"], states["d1"]]) == ["kept", "refunding"]


def test_the_money_that_came_first_pays(till: Till) -> None:
    """Of two charges that are handled together, whatever their names: the other one goes back, as it is told."""
    till.owe(1)
    for at, charge_id in enumerate(("c9", "c1"), 1):
        till.inbox.store("fake", success(charge_id, 1), Via.CALLBACK)
        came = update(payment_events).where(payment_events.c.charge_id == charge_id).values(received_at=at)
        till.database.transact(lambda connection, came=came: connection.execute(came))
    till.handling.handle([("fake", "taken-c1"), ("fake", "taken-c9")])
    assert till.charge_states(1) == {"c9": "kept", "c1": "refunding"}


def test_what_is_decided_was_read_locked(till: Till) -> None:
    """Payments, then charges, by each process in the order of their keys: none decides on what another moves."""
    till.owe(1)
    reads = reads_on_mysql(till.database)
    till.hear(success("c1", 1))
    of_payments, of_charges = (read for read in reads if read.endswith("FOR UPDATE"))
    assert of_payments.endswith("ORDER BY payments.order_id FOR UPDATE")
    assert of_charges.endswith("ORDER BY charges.charge_id FOR UPDATE")


def test_money_of_no_try_holds_up_no_try(till: Till) -> None:
    """Of successes that are handled together, one that names no try leaves the next one's to be noted all the same."""
    till.owe(1, 2)
    till.page(1)
    till.hear(success("a1", 1), till.provider.take(till.page(2)))
    assert [(row.state, row.to_close) for row in till.tries(2)] == [("over", True)]
    (other,) = till.tries(1)
    assert (other.state, other.to_close) == ("open", True)
    assert other.asked_until > now_ms() + 3_500_000  # money may still come: as long as after a closing


def test_a_race_with_a_closing(till: Till) -> None:
    """An order that is closed after the half message was sent: the message is dropped, its money goes back."""
    till.owe(1, 2)
    till.faults.hooks["begin"] = lambda: till.release(1)
    till.hear(success("c1", 1), success("c2", 2))
    assert till.charge_states() == {"c1": "refunding", "c2": "kept"}
    assert [event.order_ids for event in till.told()] == [(2,)]
    assert till.halves() == []


def test_a_race_with_another_process(till: Till) -> None:
    """Another process that handles the same event first is the one that tells of it."""
    till.owe(1)
    till.faults.hooks["begin"] = lambda: till.hear(success("c1", 1))
    till.hear(success("c1", 1))
    assert len(till.told()) == 1
    assert till.charge_states() == {"c1": "kept"}


def test_a_race_for_a_charge_of_no_order(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is locked for an order that is unknown: who writes the charge first has it, the other finds it."""
    first = replace(success("c1", 9), event_id="first")
    till.inbox.store("fake", first, Via.CALLBACK)
    read, times = posting.read_charges, iter(range(99))

    def meanwhile(*args: Any, **options: Any) -> list[Any]:
        found = read(*args, **options)
        if next(times) == 1:  # the lock of the local transaction has found nothing
            monkeypatch.undo()
            till.hear(replace(first, event_id="second"))
        return found

    monkeypatch.setattr(posting, "read_charges", meanwhile)
    till.handling.handle([("fake", "first")])
    assert sorted(till.effects().values(), key=str) == [("known", None), ("refunding", "unknown-order")]
    assert till.charge_states() == {"c1": "refunding"}


def test_a_payment_that_is_opened_meanwhile(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money of an order that was unknown at the first look, and is not any more when it is locked, pays it."""
    real = Handling._looked_at

    def looked_at(self: Handling, keys: Any) -> Any:
        found = real(self, keys)
        monkeypatch.undo()
        till.owe(1)
        return found

    monkeypatch.setattr(Handling, "_looked_at", looked_at)
    till.hear(success("c1", 1))
    assert till.charge_states() == {"c1": "kept"}


@pytest.mark.parametrize("moved", ["payment", "charge", "event"])
def test_nothing_is_decided_by_a_read_alone(till: Till, moved: str) -> None:
    """Each move names the state that it was decided on: what was moved meanwhile is looked at again."""
    till.owe(1)
    till.hear(success("c1", 1))
    back = about(Kind.REFUNDED)
    till.inbox.store("fake", back, Via.CALLBACK)
    changes = {
        "payment": update(payments).values(state="closed"),
        "charge": update(charges).values(state="refunding", kept_for=None),
        "event": update(payment_events).values(handled_at=1),
    }

    def work(connection: Connection) -> None:
        events = connection.execute(select(payment_events).where(payment_events.c.kind == "refunded")).all()
        made = posting.Posting(connection, events, TIMES, lock=False)
        made.ledger.handle(events[0])
        connection.execute(changes[moved])
        made.write()

    with pytest.raises(Raced):
        till.database.transact(work)
    till.handling.handle([("fake", back.event_id)])
    assert till.charge_states() == {"c1": "refunded"}


def test_a_charge_that_comes_while_its_refund_is_looked_at(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its payment is not locked then: it is looked at again, at once."""
    till.owe(1)
    till.hear(success("c1", 1))
    real, looks = posting.read_charges, itertools.count(1)

    def not_yet(*args: Any, **options: Any) -> list[Any]:
        return [] if next(looks) == 3 else real(*args, **options)  # the first of the transaction, without locks

    monkeypatch.setattr(posting, "read_charges", not_yet)
    till.hear(replace(about(Kind.REFUNDED), payment_id=None))
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")


def test_others_change_it_all_the_time(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many rounds it is left to later: nothing is half done."""

    def raced(*_: Any) -> None:
        raise Raced

    till.owe(1)
    monkeypatch.setattr(Handling, "_keep", raced)
    with pytest.raises(Unavailable):
        till.hear(success("c1", 1))
    assert (till.state(1), till.halves(), till.told()) == ("open", [], [])


POINTS = sorted(point for point in ("half_sent", "before_commit", "committed", "before_resolve", "resolved"))


@pytest.mark.parametrize("point", [*(f"success.{point}" for point in POINTS), "event.stored", "event.handled"])
def test_a_fault_after_each_step(till: Till, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Whatever step it fails after: in the end money is kept once, told once, and late money goes back."""
    hits: list[str] = []

    def fail(passed: str) -> None:
        hits.append(passed)
        if passed == point and hits.count(point) == 1:
            raise FailpointRaised

    till.owe(1, 2)
    till.release(2)
    monkeypatch.setattr(failpoints, "hit", fail)
    for event in (success("c1", 1), success("c2", 2)):
        try:
            till.hear(event)
        except HalfMessageError:
            till.inbox.store("fake", event, Via.CALLBACK)  # the provider calls again
    till.make_due()
    till.handling.handle_due()
    assert point in hits
    till.ids.age = 0
    till.check_back()
    assert till.charge_states() == {"c1": "kept", "c2": "refunding"}
    assert till.state(1) == "succeeded"
    assert [event.order_ids for event in till.told()] == [(1,)] or point == "success.half_sent"


def test_a_half_message_that_was_left(till: Till) -> None:
    """Its check-back decides by the record: of a transaction that never was, it is dropped."""
    till.owe(1)
    till.faults.plan("resolve", BROKER_DOWN)
    till.hear(success("c1", 1))
    assert till.told() == []
    assert till.check_back() == [CheckAnswer.COMMIT]
    assert len(till.told()) == 1


def test_a_database_that_fails(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is dropped, the event is handled later."""

    def refused(*_: Any) -> None:
        raise RowRefused

    till.owe(1)
    with monkeypatch.context() as patch:
        patch.setattr(Handling, "_keep", refused)
        with pytest.raises(RowRefused):
            till.hear(success("c1", 1))
    assert till.halves() == []
    till.make_due()
    assert till.handling.handle_due() == 1
    assert till.state(1) == "succeeded"


def test_what_its_process_did_not_handle_is_handled_by_another(till: Till) -> None:
    """An event is stored before anything is done: the worker of any process finds it once its moment is over."""
    till.owe(1)
    till.inbox.store("fake", success("c1", 1), Via.CALLBACK)
    assert till.handling.handle_due() == 0
    till.make_due()
    assert till.handling.handle_due() == 1
    assert till.state(1) == "succeeded"
    assert till.handling.handle_due() == 0


def test_an_event_that_always_fails_holds_up_no_other(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one transaction can't do for all is done for each; it stays unhandled, and is tried again later."""
    real = Ledger.handle

    def handle(self: Ledger, event: Any, *args: Any) -> None:
        if event.charge_id == "c1":
            raise RowRefused
        real(self, event, *args)

    monkeypatch.setattr(Ledger, "handle", handle)
    till.owe(2)
    for event in (success("c1", 1), success("c2", 2)):
        till.inbox.store("fake", event, Via.CALLBACK)
    till.make_due()
    till.handling.handle_due()
    assert till.effects() == {"taken-c1": (None, None), "taken-c2": ("paid", None)}
    assert till.handling.handle_due() == 0  # not at once


def test_a_no_ends_its_own_try_only(till: Till) -> None:
    """An old try's `expired` does nothing to another try, nor to a payment that succeeded."""
    till.owe(1)
    old = till.page(1)
    new = till.page(1, provider="other")
    expired = till.provider.no(old, Kind.EXPIRED)
    till.hear(expired)
    assert [(row.state, row.refusal) for row in till.tries(1)] == [("over", "expired"), ("open", None)]
    till.hear(till.other.take(new), provider="other")
    till.hear(till.provider.no(old, Kind.FAILED, "too late"))
    assert till.state(1) == "succeeded"


def test_a_no_that_names_no_try_ends_none(till: Till) -> None:
    """There is no telling which; the polling finds out."""
    till.owe(1)
    till.page(1)
    till.hear(about(Kind.EXPIRED, None))
    assert [row.state for row in till.tries(1)] == ["open"]
    assert till.effects() == {"expired-None": ("none", None)}


def _is_done_with(till: Till) -> bool:
    """Whether the charge c1 says when it went back, pays no order, and is asked about no more."""
    with till.database.read() as connection:
        row = connection.execute(select(charges).where(charges.c.charge_id == "c1")).one()
    return row.refunded_at is not None and row.kept_for is None and row.next_try_at is None


def test_a_refund_that_is_heard_of(till: Till) -> None:
    """It ends the refund, once, and of money that was on its way alone."""
    till.owe(1)
    till.release(1)
    till.hear(success("c1", 1))
    back = about(Kind.REFUNDED, amount=500, currency="EUR")
    till.hear(back, replace(back, event_id="again"))
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    assert till.effects()["again"] == ("known", None)
    assert till.counted() == (Counter(EUR=500), Counter(EUR=500))
    assert _is_done_with(till)


def test_a_part_that_went_back_is_no_refund(till: Till) -> None:
    """A charge goes back whole, or it did not."""
    till.owe(1)
    till.release(1)
    till.hear(success("c1", 1), about(Kind.REFUNDED, amount=499, currency="EUR"))
    assert till.effects()["refunded-c1"] == ("none", "other-amount")
    assert till.charge_states() == {"c1": "refunding"}


@pytest.mark.parametrize("currency", ["USD", "JPY"])
def test_a_refund_in_another_currency_is_no_refund(till: Till, currency: str) -> None:
    """As many minor units of another currency are other money, whether the refund is heard of first or last."""
    till.owe(1, 2)
    till.release(1)
    early = replace(about(Kind.REFUNDED, "c2", amount=500, currency=currency), payment_id=2)
    till.hear(success("c1", 1), about(Kind.REFUNDED, amount=500, currency=currency), early)
    till.hear(success("c2", 2))
    assert till.effects()["refunded-c1"] == ("none", "other-currency")
    assert (till.charge_states(1), till.state(1)) == ({"c1": "refunding"}, "refunding")
    assert (till.charge_states(2), till.state(2)) == ({"c2": "kept"}, "succeeded")
    assert till.counted()[1] == Counter()


def test_a_provider_sends_back_what_pays_an_order(till: Till) -> None:
    """Then the payment is refunded, which is the truth, and an operator has to see to the order."""
    till.owe(1)
    till.hear(success("c1", 1))
    till.hear(about(Kind.REFUNDED))
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    assert till.payment(1).charges[0].reason == "by-provider"
    assert _is_done_with(till)
    assert till.unasked() == 1


def test_a_part_of_what_pays_an_order_goes_back(till: Till) -> None:
    """The order stays paid, its charge whole as it was taken; that a part went is counted, and found by reconcile."""
    till.owe(1)
    till.hear(success("c1", 1), about(Kind.REFUNDED, amount=200, currency="EUR"))
    assert till.effects()["refunded-c1"] == ("none", "other-amount")
    assert (till.charge_states(), till.state(1)) == ({"c1": "kept"}, "succeeded")
    assert till.unasked() == 1


@pytest.mark.parametrize(("other", "why"), [({"amount": 499}, "other-amount"), ({"currency": "USD"}, "other-currency")])
def test_known_money_is_told_of_otherwise(till: Till, other: dict[str, Any], why: str) -> None:
    """What was taken is what was said first; that the provider says otherwise is seen at the event."""
    till.owe(1)
    till.hear(success("c1", 1), replace(success("c1", 1), event_id="again", **other))
    assert till.effects()["again"] == ("none", why)
    assert (till.charge_states(), till.state(1)) == ({"c1": "kept"}, "succeeded")
    assert till.counted() == (Counter(EUR=500), Counter())


@pytest.mark.parametrize("together", [True, False])
def test_a_refund_that_is_heard_of_before_its_charge(till: Till, *, together: bool) -> None:
    """Money that is back already never pays, in whatever order its events come; of another amount it says nothing."""
    till.owe(1, 2)
    other = replace(about(Kind.REFUNDED, "c2", amount=1, currency="EUR"), payment_id=2)
    early = [about(Kind.REFUNDED, amount=500, currency="EUR"), other]
    late = [success("c1", 1), success("c2", 2)]
    if together:
        till.hear(*early, *late)
    else:
        till.hear(*early)
        till.hear(*late)
    assert till.effects()["taken-c1"] == ("refunded", "by-provider")
    assert (till.charge_states(1), till.state(1)) == ({"c1": "refunded"}, "open")
    assert till.state(2) == "succeeded"
    assert till.counted()[1] == Counter(EUR=500)
    assert _is_done_with(till)


@pytest.mark.parametrize(("other", "why"), [({"amount": 499}, "other-amount"), ({"currency": "USD"}, "other-currency")])
def test_a_refund_of_other_money_that_is_refused(till: Till, other: dict[str, Any], why: str) -> None:
    """Of a part, made by hand: it says nothing of the refund that is under way, which is of all."""
    till.owe(1)
    till.release(1)
    till.hear(success("c1", 1), about(Kind.REFUND_REFUSED, **{"amount": 500, "currency": "EUR", **other}))
    assert till.effects()["refund-refused-c1"] == ("none", why)
    assert till.charge_states() == {"c1": "refunding"}


def test_a_refund_by_hand_that_fails_later(till: Till) -> None:
    """The money was to go back in any case: the provider is asked for it at once."""
    till.owe(1)
    till.release(1)
    till.hear(success("c1", 1))
    till.hear(about(Kind.REFUNDED, amount=500, currency="EUR"))
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")
    till.provider.taken["c1"] = (1, 500, "EUR")
    till.hear(about(Kind.REFUND_REFUSED, amount=500, currency="EUR"))
    assert till.refunding.run() == 1
    assert till.provider.returned == Counter(c1=1)


def test_money_of_a_closed_order_that_is_back_already(till: Till) -> None:
    """Its payment is refunded: whoever waits for the money need not wait any more."""
    till.owe(1)
    till.release(1)
    till.hear(about(Kind.REFUNDED, amount=500, currency="EUR"), success("c1", 1))
    assert (till.charge_states(), till.state(1)) == ({"c1": "refunded"}, "refunded")


def test_a_refund_that_is_refused_is_no_refund(till: Till) -> None:
    """It stays to be done, with the provider's words; of money that is not on its way it means nothing."""
    till.owe(1, 2)
    till.release(1)
    till.hear(success("c1", 1), success("c2", 2))
    no = about(Kind.REFUND_REFUSED, reason="account closed")
    till.hear(no, replace(no, event_id="kept", charge_id="c2"), replace(no, event_id="unknown", charge_id="c9"))
    assert till.charge_states() == {"c1": "refused", "c2": "kept"}
    assert (till.state(1), till.payment(1).charges[0].refusal) == ("refunding", "account closed")
    assert till.effects()["kept"][0] == till.effects()["unknown"][0] == "none"
    assert sum(tally.refused for tally in till.tallies) == 1
    till.hear(about(Kind.REFUNDED))
    assert till.charge_states(1) == {"c1": "refunded"}
