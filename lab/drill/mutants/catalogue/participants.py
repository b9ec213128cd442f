"""Bugs in the kit that every participant is made of."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_participant.py::"
_PAY = "halfmessage.participant.reservations:Reservations._pay"

MUTANTS = (
    edited(
        "payment-not-told",
        "a participant that minds payments does not hear of them",
        _TESTS + "test_paid",
        (_PAY, "self._effect.paid(connection, live)", "pass"),
    ),
    edited(
        "payment-of-what-is-not-held",
        "a payment is noted for an order that holds nothing",
        _TESTS + "test_paid",
        (_PAY, "self._headers.live(connection, sorted(order_ids))", "sorted(order_ids)"),
    ),
    edited(
        "paid-and-not-verified",
        "the sweep asks about a paid order for ever",
        _TESTS + "test_paid",
        (_PAY, "self._headers.verify(connection, live)", "pass"),
    ),
    edited(
        "standing-taken-for-paid",
        "an order that stands counts as paid",
        _TESTS + "test_standing_is_no_payment",
        (
            "halfmessage.participant.reservations:Reservations.settle",
            '("stands", self._headers.verify)',
            '("stands", self._pay)',
        ),
    ),
    edited(
        "refused-in-a-batch-keeps-what-it-took",
        "an order of a batch that is refused half-way keeps what it had taken",
        _TESTS + "test_refused_half_way[batch]",
        ("halfmessage.participant.effect:take_or_undo", "savepoint.rollback()", "pass"),
    ),
    edited(
        "refused-alone-keeps-what-it-took",
        "an order that is refused half-way beside a known one keeps what it had taken, and its header",
        _TESTS + "test_refused_half_way[beside a known one]",
        ("halfmessage.participant.deducting:Deducting._deduct", "savepoint.rollback()", "pass"),
    ),
    edited(
        "batch-of-any-size",
        "one call takes as many rows as it names",
        "tests/unit/test_stock_reservations.py::test_deduction_of_too_many_lines",
        ("common.reservations.schema:_few_rows", "> LINES", "> 10 * LINES"),
    ),
    edited(
        "failpoints-of-stock-alone",
        "a participant other than stock can't be killed at its steps",
        _TESTS + "test_failpoints",
        ("halfmessage.failpoints:of_participant", "{name}.{step}", "stock.{step}"),
    ),
)
