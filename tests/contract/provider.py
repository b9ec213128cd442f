"""What holds for every provider: written once, run by a class `Test…(ProviderContract)` for each.

A new provider is a class that implements `pay.providers.port.Provider`, a `Stand` of it, and such a class.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

from common.errors import Malformed
from pay.providers.port import Asked, BadSignature, Begun, Kind, Provider, ProviderUnavailable, RefundState
from tests.contract.providers.standin import failing, silent

BOUND = 3.0  # seconds that a call may take whose limit is a sixth of it: a machine may be busy
EXPIRES_AT = 1_800_000_000_000
TOLERANCE = 300.0  # seconds

Callback = tuple[Mapping[str, str], bytes]
"""The headers, by lower-case names, and the body."""


class Stand(Protocol):
    """A provider, and the world behind it."""

    provider: Provider
    currency: str

    def at(self, url: str, *, within: float) -> Provider:
        """Return the provider where its server is at another address, and a call may take `within` seconds."""

    def pay(self, begun: Begun) -> None:
        """Have the customer pay."""

    def refunds(self) -> int:
        """Return how many refunds the server has done."""

    def callback(self, begun: Begun, *, at: float, foreign: bool = False) -> Callback:
        """Return what the server says once the customer has paid, signed at `at`, in seconds since the epoch.

        `foreign`: signed with a key that is not the provider's.
        """

    def garbage(self) -> Callback:
        """Return a callback that is signed as it should be, and says nothing."""


class ProviderContract:
    """The suite; a subclass has a fixture `stand`."""

    def asked(self, stand: Stand, attempt_id: int = 7_001) -> Asked:
        return Asked(
            payment_id=5_001, attempt_id=attempt_id, amount=1250, currency=stand.currency, expires_at=EXPIRES_AT,
            scenario="page" if stand.provider.name == "sandbox" else None,
        )  # fmt: skip

    def paid(self, stand: Stand) -> Begun:
        begun = stand.provider.begin(self.asked(stand))
        stand.pay(begun)
        return begun

    def test_a_try_is_begun_once(self, stand: Stand) -> None:
        """The same attempt again is the same try, and the customer goes to the same place."""
        first, again = (stand.provider.begin(self.asked(stand)) for _ in range(2))
        other = stand.provider.begin(self.asked(stand, 7_002))
        assert first == again
        assert first.pay_url
        assert first.event is None
        assert other.reference != first.reference

    def test_an_open_try_says_nothing(self, stand: Stand) -> None:
        """Neither at once, nor when it is asked for."""
        begun = stand.provider.begin(self.asked(stand))
        assert list(stand.provider.ask(begun.reference)) == []

    def test_asking_tells_the_money_however_often(self, stand: Stand) -> None:
        """The amount in ISO 4217's minor units, and whose it is; the same news under the same id."""
        begun = self.paid(stand)
        (event,), again = stand.provider.ask(begun.reference), stand.provider.ask(begun.reference)
        assert list(again) == [event]
        assert (event.kind, event.payment_id, event.reference) == (Kind.SUCCEEDED, 5_001, begun.reference)
        assert (event.amount, event.currency) == (1250, stand.currency)
        assert event.charge_id
        assert len(event.event_id) <= 128

    def test_a_closed_try_takes_no_money_and_closing_again_is_nothing(self, stand: Stand) -> None:
        """Whatever the customer does then; one that was paid stays paid."""
        begun = stand.provider.begin(self.asked(stand))
        for _ in range(2):
            stand.provider.close(begun.reference)
        stand.pay(begun)
        assert [event for event in stand.provider.ask(begun.reference) if event.kind is Kind.SUCCEEDED] == []

    def test_closing_what_was_paid_changes_nothing(self, stand: Stand) -> None:
        """It is told as before."""
        begun = self.paid(stand)
        before = list(stand.provider.ask(begun.reference))
        stand.provider.close(begun.reference)
        assert list(stand.provider.ask(begun.reference)) == before

    def test_a_refund_is_done_once_for_each_key(self, stand: Stand) -> None:
        """However often it is asked for."""
        (event,) = stand.provider.ask(self.paid(stand).reference)
        assert event.charge_id is not None
        answers = {stand.provider.refund(event.charge_id, 1250, stand.currency, "key-1") for _ in range(3)}
        (refund,) = answers
        assert refund.state is RefundState.DONE
        assert refund.refund_id
        assert stand.refunds() == 1

    def test_a_charge_goes_back_once_whatever_the_keys(self, stand: Stand) -> None:
        """A second key gets a refusal with the provider's words, or hears that it is done: no money moves."""
        (event,) = stand.provider.ask(self.paid(stand).reference)
        assert event.charge_id is not None
        stand.provider.refund(event.charge_id, 1250, stand.currency, "key-1")
        second = stand.provider.refund(event.charge_id, 1250, stand.currency, "key-2")
        assert second.state is RefundState.DONE or second.reason
        assert stand.refunds() == 1

    def test_a_refund_of_nothing_is_refused_with_a_reason(self, stand: Stand) -> None:
        """No money of that name was taken."""
        refund = stand.provider.refund("9999", 1250, stand.currency, "key-1")
        assert refund.state is RefundState.REFUSED
        assert refund.reason

    def test_a_callback_says_what_asking_says(self, stand: Stand) -> None:
        """The same charge, the same amount, the same payment; as often as it comes, with the bytes as they came."""
        begun = self.paid(stand)
        headers, raw = stand.callback(begun, at=time.time())
        event, again = stand.provider.read(headers, raw), stand.provider.read(headers, raw)
        (asked,) = stand.provider.ask(begun.reference)
        assert event == again
        assert event.raw == raw
        assert (event.kind, event.charge_id, event.amount, event.currency, event.payment_id, event.reference) == (
            asked.kind, asked.charge_id, asked.amount, asked.currency, asked.payment_id, asked.reference
        )  # fmt: skip

    @pytest.mark.parametrize("age", [TOLERANCE + 60, 7 * 24 * 3600.0])
    def test_an_old_callback_is_refused(self, stand: Stand, age: float) -> None:
        """However valid its signature was: that is how a replay looks."""
        headers, raw = stand.callback(self.paid(stand), at=time.time() - age)
        with pytest.raises(BadSignature):
            stand.provider.read(headers, raw)

    def test_a_callback_from_the_future_is_refused(self, stand: Stand) -> None:
        """Its signature would be good for longer than any: whose clock is wrong is found out at once."""
        headers, raw = stand.callback(self.paid(stand), at=time.time() + TOLERANCE + 60)
        with pytest.raises(BadSignature):
            stand.provider.read(headers, raw)

    def test_a_callback_within_the_tolerance_is_read(self, stand: Stand) -> None:
        """Clocks differ, and callbacks take their time."""
        headers, raw = stand.callback(self.paid(stand), at=time.time() - TOLERANCE + 60)
        assert stand.provider.read(headers, raw).kind is Kind.SUCCEEDED

    @pytest.mark.parametrize("forge", [
        lambda headers, raw: (headers, raw.replace(b"1", b"2", 1)),
        lambda headers, raw: (headers, raw[:-1]),
        lambda headers, raw: (headers, raw + b" "),
        lambda headers, _: (headers, b""),
        lambda headers, _: (headers, b"\xff\xfe"),
        lambda _, raw: ({}, raw),
        lambda headers, raw: (dict.fromkeys(headers, ""), raw),
        lambda headers, raw: (dict.fromkeys(headers, "t=1,v1=é"), raw),
        lambda headers, raw: (dict.fromkeys(headers, "t=99999999999999,v1=00"), raw),
    ], ids=["changed", "cut", "longer", "empty", "no text", "unsigned", "blank", "not ASCII", "huge"])  # fmt: skip
    def test_a_forged_callback_is_refused(self, stand: Stand, forge: Callable[..., Callback]) -> None:
        """Whatever is wrong with it, and with one error."""
        with pytest.raises(BadSignature):
            stand.provider.read(*forge(*stand.callback(self.paid(stand), at=time.time())))

    def test_a_callback_of_a_foreign_key_is_refused(self, stand: Stand) -> None:
        """All else about it is right."""
        headers, raw = stand.callback(self.paid(stand), at=time.time(), foreign=True)
        with pytest.raises(BadSignature):
            stand.provider.read(headers, raw)

    def test_signed_nonsense_is_malformed(self, stand: Stand) -> None:
        """It is the provider's, and can't be read."""
        with pytest.raises(Malformed):
            stand.provider.read(*stand.garbage())

    def test_a_callback_is_answered_with_something(self, stand: Stand) -> None:
        """A body, and its media type."""
        body, media_type = stand.provider.thanks()
        assert isinstance(body, bytes)
        assert "/" in media_type

    @pytest.mark.parametrize("server", [silent, failing], ids=["silent", "failing"])
    def test_no_answer_is_said_so_in_bounded_time(
        self, stand: Stand, server: Callable[[], AbstractContextManager[str]]
    ) -> None:
        """Of every call: it may have been done."""
        with server() as url:
            provider = stand.at(url, within=BOUND / 6)
            for call in (
                lambda: provider.begin(self.asked(stand)),
                lambda: provider.ask("1"),
                lambda: provider.close("1"),
                lambda: provider.refund("1", 1250, stand.currency, "key-1"),
            ):
                began = time.monotonic()
                with pytest.raises(ProviderUnavailable):
                    call()
                assert time.monotonic() - began < BOUND
