"""Money that comes late, twice, wrong or unheard of, and providers that do not answer: by the provider's own books."""

from collections.abc import Mapping
from typing import Any

from common.registry import SANDBOX
from lab.drill.drill import Drill
from lab.drill.drill_run import DrillRun
from lab.drill.provider import asked_back_twice, doing_wrong, still_has, taken
from ops.client import Answer

_OK, _ACCEPTED = 200, 202
_PAY_TIMEOUT = 1.5  # seconds
_COMES_AFTER = 3  # seconds, of money that is late


def _hold(run: DrillRun, order_id: str, *, kept: int, back: int) -> None:
    """Hold, at rest, how many charges the provider keeps for an order, and how many it sent back: whole, and once."""
    charges = taken(run)[order_id]
    standing = still_has(charges)
    order = run.shown(order_id)
    run.same("what the provider keeps for the order", standing, [(order["total_amount"], order["currency"])] * kept)
    run.same("charges that it sent back", len(charges) - len(standing), back)
    run.same("charges asked back by several keys, or sent back twice", asked_back_twice(charges), 0)


def _payment(run: DrillRun, order_id: str) -> Mapping[str, Any]:
    """Return the payment of an order, as an admin sees it."""
    return dict(run.sut.admin.get("pay", f"/payments/{order_id}"))


def _pay(run: DrillRun, order_id: str, scenario: str) -> Answer | None:
    return run.change(order_id, "pay", {"provider": SANDBOX, "scenario": scenario})


def _is(run: DrillRun, order_id: str, status: str) -> None:
    run.wait(f"the order to be {status}", lambda: run.shown(order_id)["status"] == status or None)


def _paid_late(run: DrillRun) -> None:
    run.arm("order", "", pay_timeout=_PAY_TIMEOUT)
    order_id = run.placed()
    answer = _pay(run, order_id, f"late:{_COMES_AFTER}")
    run.same("HTTP status of the answer", answer and answer.status, _ACCEPTED)
    _is(run, order_id, "closed")
    run.wait("the provider to take the money all the same", lambda: taken(run)[order_id] or None)
    run.fault("the money was taken after the order was closed by its timeout")
    run.settle()
    run.stands("closed")
    _hold(run, order_id, kept=0, back=1)
    run.same("why it went back", [one["reason"] for one in _payment(run, order_id)["charges"]], ["late"])


def _paid_twice(run: DrillRun) -> None:
    order_id = run.placed()
    _pay(run, order_id, "twice")
    run.fault("the provider took the money twice")
    _is(run, order_id, "paid")
    run.settle()
    run.stands("paid")
    _hold(run, order_id, kept=1, back=1)


def _wrong_money(run: DrillRun) -> None:
    order_id = run.placed()
    for fault in ("wrong_amount", "wrong_currency"):
        with doing_wrong(run, f"the provider takes money of another kind: {fault}", **{fault: 1.0}):
            answer = _pay(run, order_id, "card")
            run.claim("the client is not told that the order is paid", answer is None or answer.status != _OK)
    run.settle()
    run.stands("created")
    _hold(run, order_id, kept=0, back=2)
    reasons = sorted(one["reason"] for one in _payment(run, order_id)["charges"])
    run.same("why it went back", reasons, ["other-amount", "other-currency"])
    answer = _pay(run, order_id, "card")
    run.same("HTTP status of a payment of what is owed", answer and answer.status, _OK)
    run.settle()
    _hold(run, order_id, kept=1, back=2)


def _callbacks_lost(run: DrillRun) -> None:
    order_id = run.placed()
    with doing_wrong(run, "every callback of the provider's is lost", lost=1.0):
        answer = _pay(run, order_id, "callback")
        run.same("HTTP status of the answer", answer and answer.status, _ACCEPTED)
        _is(run, order_id, "paid")
    run.settle()
    run.stands("paid")
    _hold(run, order_id, kept=1, back=0)
    heard = {event["via"] for event in _payment(run, order_id)["events"] if event["kind"] == "succeeded"}
    run.same("how pay heard of the money", heard, {"poll"})


def _refund_refused(run: DrillRun) -> None:
    refused, done_later = run.placed(), run.placed()
    with doing_wrong(run, "the provider refuses refunds", refund_refused=1.0):
        _late_and_cancelled(run, refused)
        run.wait("the refund to be refused", lambda: _charge_is(run, refused, "refused"))
        run.same("payment of the order", run.shown(refused)["payment"]["status"], "refunding")
    with doing_wrong(run, "the provider refuses refunds, and does them all the same", refund_refused_done=1.0):
        _late_and_cancelled(run, done_later)
        run.wait("the refund to be refused or done", lambda: _refunded_or_refused(run, done_later))
    run.settle()
    run.stands("closed", "closed")
    for order_id in (refused, done_later):
        _hold(run, order_id, kept=0, back=1)
        run.same("payment of the order", run.shown(order_id)["payment"]["status"], "refunded")


def _late_and_cancelled(run: DrillRun, order_id: str) -> None:
    """Cancel an order whose money comes a second later."""
    _pay(run, order_id, "late:1")
    run.change(order_id, "cancel")


def _charge_is(run: DrillRun, order_id: str, *states: str) -> bool | None:
    return any(one["status"] in states for one in _payment(run, order_id)["charges"]) or None


def _refunded_or_refused(run: DrillRun, order_id: str) -> bool | None:
    return _charge_is(run, order_id, "refused", "refunded")


def _down_while_paying(run: DrillRun) -> None:
    order_id = run.placed()
    run.take_down(SANDBOX)
    answer = _pay(run, order_id, "card")
    run.claim("the client is not told that the order is paid", answer is None or answer.status != _OK)
    run.same("the order", run.shown(order_id)["status"], "created")
    run.bring_back(SANDBOX)
    run.supervisor.wait_ready(SANDBOX)
    _is(run, order_id, "paid")  # the try whose answer was lost is begun again, under its own key
    again = _pay(run, order_id, "card")
    run.same("HTTP status of another payment", again and again.status, _OK)
    run.settle()
    run.stands("paid")
    _hold(run, order_id, kept=1, back=0)


def _down_while_refunding(run: DrillRun) -> None:
    order_id = run.placed()
    _pay(run, order_id, "card")
    _is(run, order_id, "paid")
    run.take_down(SANDBOX)
    answer = run.change(order_id, "return", {"reason": "broken"})
    run.same("HTTP status of the return", answer and answer.status, _ACCEPTED)
    run.wait("the refund to be tried", lambda: _tries(run, order_id))
    run.same("payment of the order", run.shown(order_id)["payment"]["status"], "refunding")
    run.bring_back(SANDBOX)
    run.supervisor.wait_ready(SANDBOX)
    run.wait("the money to go back", lambda: _charge_is(run, order_id, "refunded"))
    run.settle()
    run.stands("returned")
    _hold(run, order_id, kept=0, back=1)


def _tries(run: DrillRun, order_id: str) -> bool | None:
    return any(one["tries"] for one in _payment(run, order_id)["charges"]) or None


DRILLS = (
    Drill(
        "money-late",
        "the money is taken after the order was closed",
        "at the provider, after the timeout",
        "the order stays closed; the money goes back once",
        _paid_late,
    ),
    Drill(
        "money-twice",
        "the provider takes the money twice",
        "while an order is paid",
        "the order is paid once; one charge is kept, the other goes back once",
        _paid_twice,
    ),
    Drill(
        "money-of-another-kind",
        "the provider takes another amount, and another currency",
        "while an order is paid",
        "neither pays; both go back once and say why; what is owed can be paid then",
        _wrong_money,
    ),
    Drill(
        "callbacks-lost",
        "every callback of the provider's is lost",
        "while an order is paid",
        "a question finds the money: the order is paid once",
        _callbacks_lost,
    ),
    Drill(
        "refund-refused",
        "the provider refuses refunds, and later does them; or does them while it says no",
        "with money of cancelled orders",
        "a refusal is no refund; both go back once, under one key",
        _refund_refused,
    ),
    Drill(
        "provider-down-while-paying",
        "the provider is killed (kill -9), and started again",
        "while an order is paid",
        "the client is told that it is not paid; the same try goes on: money is taken once",
        _down_while_paying,
    ),
    Drill(
        "provider-down-while-refunding",
        "the provider is killed (kill -9), and started again",
        "while an order is returned",
        "the refund is tried on, and goes back once",
        _down_while_refunding,
    ),
)
