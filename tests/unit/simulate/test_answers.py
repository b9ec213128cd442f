"""What clients of a simulated run were told is compared with their orders."""

from dataclasses import replace
from typing import Any

import pytest

from lab.simulate.answers import Found, untrue
from lab.simulate.clients import Told
from lab.simulate.plan import Wish

WISH = Wish(0, 0.5, 1, 2, None, has_key=True, then="cancel", then_after=1.0)
ORDER = Found(7, "created", None, None, 1000, 998)
PAID, RETURNED = ORDER._replace(status="paid"), ORDER._replace(status="returned")
CLOSED = ORDER._replace(status="closed", close_reason="cancelled", closed_at=900)


def told(**more: Any) -> Told:
    return Told(WISH, **({"answers": [(201, 7)], "statuses": {"created"}} | more))


PAYS = Told(replace(WISH, then="pay"), answers=[(201, 7)], statuses={"created"}, has_paid=True)


@pytest.mark.parametrize(
    ("what", "orders"),
    [
        (told(), [ORDER]),
        (told(has_cancelled=True, cancelled=(200, "closed")), [CLOSED]),
        (told(has_paid=True), [ORDER._replace(status="paid")]),
        (told(has_paid=True, paid=(200, "paid")), [ORDER._replace(status="paid")]),
        (told(has_paid=True, has_cancelled=True, paid=(409, "order-closed")), [CLOSED]),
        (told(has_paid=True, paid=(202, "elsewhere")), [ORDER]),
        (told(statuses={"paid"}), [ORDER._replace(status="paid", total_amount=0)]),
        (told(answers=[(503, "unavailable")], statuses=set()), []),
        (told(answers=[(503, "outcome-unknown")], statuses=set()), [ORDER]),
        (told(answers=[(0, "ReadTimeoutError"), (503, "unavailable")], statuses=set()), [ORDER]),
        (told(answers=[(422, "idempotency-mismatch")], others=[(201, 7)], statuses={"created"}), [ORDER]),
        (told(again=[(201, 7)], others=[(422, "idempotency-mismatch")], strangers=(404, "not-found")), [ORDER]),
        (told(again=[(503, "unavailable")]), [ORDER]),
        (told(has_paid=True, paid=(200, "paid"), has_returned=True, returned=(202, "running")), [RETURNED]),
        (told(has_paid=True, has_returned=True, returned=(503, "outcome-unknown")), [RETURNED]),
        (told(has_returned=True, returned=(409, "order-not-paid"), shown_to_strangers=(404, "not-found")), [ORDER]),
        (told(has_paid=True, paid=(200, "paid"), returned=(409, "return-too-late")), [PAID]),
        (told(has_paid=True, has_returned=True, returned=(409, "return-too-late")), [RETURNED]),
        (told(has_paid=True, paid=(200, "paid"), returned=(409, "order-not-paid")), [PAID]),
    ],
)
def test_what_is_true(what: Told, orders: list[Found]) -> None:
    """Answers that agree with what is there, or that leave it open."""
    assert list(untrue(what, orders)) == []


@pytest.mark.parametrize(
    ("what", "orders", "said"),
    [
        (told(), [ORDER, ORDER._replace(order_id=8)], "2 orders for one wish"),
        (told(answers=[(201, 7), (201, 8)]), [ORDER], "told of several orders"),
        (told(answers=[(503, "unavailable")], statuses=set()), [ORDER], "nothing was created"),
        (told(others=[(201, 7)]), [ORDER], "of another request under its key"),
        (told(again=[(409, "refused")]), [ORDER], "asked again for the order that it has"),
        (told(again=[(201, 8)]), [ORDER], "told of several orders"),
        (told(again=[(500, "internal")]), [ORDER], "an error inside"),
        (told(strangers=(200, None)), [ORDER], "another user may cancel"),
        (told(shown_to_strangers=(200, None)), [ORDER], "another user may see"),
        (told(has_paid=True), [RETURNED], "not asked to be"),
        (told(has_paid=True, returned=(202, "running")), [PAID], "on its way back"),
        (told(has_paid=True, has_returned=True, returned_too=(409, "conflict")), [RETURNED], "was refused that"),
        (replace(PAYS, paid=(200, "paid"), returned=(409, "order-not-paid")), [PAID], "and then not to be"),
        (told(), [CLOSED], "not asked to be"),
        (told(), [CLOSED._replace(close_reason="timeout")], "before its time"),
        (told(cancelled=(200, "closed")), [ORDER], "said to be cancelled"),
        (told(cancelled=(409, "order-paid")), [ORDER], "said to be paid"),
        (told(), [ORDER._replace(status="paid")], "not paid for"),
        (told(has_paid=True, paid=(200, "paid")), [ORDER], "told that it is paid"),
        (told(has_paid=True, paid=(409, "order-closed")), [ORDER], "told that it is closed"),
        (told(), [ORDER._replace(total_amount=0)], "costs nothing"),
        (told(statuses={"created", "paid"}), [ORDER], "when it was created"),
    ],
)
def test_what_is_untrue(what: Told, orders: list[Found], said: str) -> None:
    """Each lie is told by its own words."""
    assert any(said in line for line in untrue(what, orders))


def test_an_order_that_must_be_had() -> None:
    """A client that asks when nothing goes wrong any more gets one."""
    late = Told(replace(WISH, must=True), answers=[(503, "unavailable")])
    assert any("got no order" in line for line in untrue(late, []))
