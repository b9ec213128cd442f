"""What order asks the pay service, and what it makes of its answers."""

from dataclasses import replace
from typing import Any

import pytest

from common.errors import Invalid, PeerUnavailable
from halfmessage.errors import NotFound
from order.clients.pay import Attempt, PayClient, Payment, PaymentStatus
from order.model import Order, Status, UnknownProvider
from tests.unit.test_order_clients import Peer

ORDER = Order(7, 1, "ann", Status.CREATED, None, (), None, 250, "EUR", 0, 99)
TRIED = {"payment_id": "7", "status": "open", "provider": "sandbox", "pay_url": None, "refusal": None}


class Links(Peer):
    """A peer with another link beside it, which has its own answers."""

    def __init__(self, answers: Any, beside: Any) -> None:
        super().__init__(*answers)
        self._other = Peer(*beside)

    def beside(self, what: str, *, timeout: float) -> Peer:
        assert (what, timeout) == ("providers", 32.0)
        return self._other


def _client(*answers: Any, providers: Any = ()) -> PayClient:
    return PayClient(Links(answers, providers), "pay")  # type: ignore[arg-type]


def _standing(order_id: int, status: str = "open", provider: str | None = None) -> dict[str, Any]:
    return {"order_id": str(order_id), "status": status, "provider": provider}


def test_who_needs_it() -> None:
    """Every order that costs something, unless it was paid before there was a pay service."""
    client = _client()
    assert client.needs(ORDER)
    assert not client.needs(replace(ORDER, discount_amount=250))
    assert not client.needs(replace(ORDER, status=Status.PAID))
    assert client.needs(replace(ORDER, status=Status.PAID, paid_through="sandbox"))
    assert client.needs(replace(ORDER, status=Status.CLOSED))


def test_reserved() -> None:
    """A payment is asked for with what it has to hold."""
    client = _client((200, {"orders": [{"order_id": "7", "verdict": "deducted"}]}))
    assert client.deduct(1, [ORDER])[7].is_held
    (call,) = client._peer.calls  # type: ignore[attr-defined]
    want = {"order_id": "7", "user_id": "ann", "amount": 250, "currency": "EUR", "expires_at": 99}
    assert call == ("POST", "/reservations", {"tx_id": "1", "orders": [want]})


def test_refused() -> None:
    """What pay takes no payment of is the order's matter alone."""
    client = _client((200, {"orders": [{"order_id": "7", "verdict": "refused"}]}))
    assert isinstance(client.deduct(1, [ORDER])[7].refusal, Invalid)


def test_a_lost_payment_is_opened_anew() -> None:
    """Of a paid order too, so that what the provider tells again is not sent back; what was released stays so."""
    client = _client((200, {"orders": [{"order_id": "7", "verdict": "deducted"}]}))
    assert client.deduct(1, [ORDER], revive=True)[7].is_held
    (call,) = client._peer.calls  # type: ignore[attr-defined]
    assert "revive" not in call[2]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({}, Attempt(Payment(PaymentStatus.OPEN, "sandbox"))),
        ({"pay_url": "http://x"}, Attempt(Payment(PaymentStatus.OPEN, "sandbox"), pay_url="http://x")),
        ({"refusal": "no"}, Attempt(Payment(PaymentStatus.OPEN, "sandbox"), refusal="no")),
        ({"status": "succeeded"}, Attempt(Payment(PaymentStatus.SUCCEEDED, "sandbox"))),
    ],
)
def test_attempt(answer: dict[str, Any], expected: Attempt) -> None:
    """A try goes over the connections that wait for providers, with all that a payment would be made of."""
    client = _client(providers=[(200, TRIED | answer)])
    assert client.attempt(ORDER, "sandbox", "page") == expected
    (call,) = client._providers.calls  # type: ignore[attr-defined]
    assert call[:2] == ("POST", "/payments/7/attempts")
    assert call[2] == {
        "provider": "sandbox", "scenario": "page", "tx_id": "1", "user_id": "ann", "amount": 250, "currency": "EUR",
        "expires_at": 99,
    }  # fmt: skip


def test_attempt_at_a_stranger() -> None:
    """A provider that pay does not know."""
    with pytest.raises(UnknownProvider) as refused:
        _client(providers=[(422, {"type": "/problems/unknown-provider"})]).attempt(ORDER, "nobody", None)
    assert [error["pointer"] for error in refused.value.members["errors"]] == ["/provider"]


def test_attempt_by_a_scenario_that_is_not_known() -> None:
    """The client is told which member is wrong."""
    with pytest.raises(Invalid) as refused:
        _client(providers=[(422, {"type": "/problems/invalid"})]).attempt(ORDER, "sandbox", "dance")
    assert refused.value.members["errors"][0]["pointer"] == "/scenario"


@pytest.mark.parametrize(
    "answer",
    [
        (422, {}),
        (404, {"type": "/problems/not-found"}),
        (200, TRIED | {"payment_id": "8"}),
        (200, TRIED | {"status": "unheard of"}),
        (200, TRIED | {"status": "succeeded", "provider": None}),
        (200, TRIED | {"pay_url": 5}),
        (200, {}),
        (200, None),
    ],
)
def test_attempt_that_can_not_be_understood(answer: Any) -> None:
    """The money may have been taken, which the answer says."""
    with pytest.raises(PeerUnavailable, match="not known whether the money was taken"):
        _client(providers=[answer]).attempt(ORDER, "sandbox", None)


def test_asked_and_looked_up() -> None:
    """The last question goes over the connections that wait for providers, a look-up does not."""
    answer = (200, {"payments": [_standing(7, "succeeded", "stripe")]})
    client = _client(answer, providers=[answer])
    expected = {7: Payment(PaymentStatus.SUCCEEDED, "stripe")}
    assert client.ask([7, 8], 2.0) == expected
    assert client.look_up([7, 8]) == expected
    asked = {"order_ids": ["7", "8"]}
    assert client._providers.calls == [("POST", "/payments/ask", asked)]  # type: ignore[attr-defined]
    assert client._peer.calls == [("POST", "/payments/lookup", asked)]  # type: ignore[attr-defined]


def test_one_payment() -> None:
    """As pay tells it; one that does not exist is not found."""
    assert _client((200, {"payment_id": "7"})).payment(7) == {"payment_id": "7"}
    with pytest.raises(NotFound):
        _client((404, {})).payment(7)
    with pytest.raises(PeerUnavailable):
        _client((403, {})).payment(7)


@pytest.mark.parametrize(
    "payments",
    [[_standing(9)], [_standing(7), _standing(7)], [_standing(7, "paid")], [_standing(7, "succeeded")], None, [{}]],
)
def test_answers_that_can_not_be_understood(payments: Any) -> None:
    """They are none."""
    with pytest.raises(PeerUnavailable):
        _client((200, {"payments": payments})).look_up([7, 8])
