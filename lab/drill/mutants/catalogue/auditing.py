"""Bugs in the audit, and in the repair after a restore."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_auditing.py::"
_SWEEP = "order.service.sweeping:Sweep._sweep_one"

MUTANTS = (
    edited(
        "repair-passes-over-verified",
        "the repair looks at unverified reservations alone: what a restored database holds for no order stays so",
        _TESTS + "test_orders_restored_lack_orders",
        (_SWEEP, "participant.live if full else participant.unverified", "participant.unverified"),
    ),
    edited(
        "violations-of-the-audit-not-counted",
        "an order without stock is found, and not told",
        _TESTS + "test_stock_restored_lacks_reservations",
        (_SWEEP, "findings.violations += audit.look(before)", "audit.look(before)"),
    ),
    edited(
        "paid-without-stock",
        "an order that is known to have no stock is paid",
        _TESTS + "test_stock_restored_lacks_reservations",
        ("order.service.paying:Paying._mark_rows", "bool(row[1])", "False"),
    ),
    edited(
        "first-payment-not-checked",
        "until the first sweep after a restore an order without stock is paid",
        _TESTS + "test_orders_restored_are_open_again",
        ("order.service.auditing:Audit.is_held", "if self._has_looked or not", "if True or not"),
    ),
    edited(
        "audit-skips-at-page-borders",
        "the first order of each further page is never looked at",
        _TESTS + "test_borders_of_pages",
        ("order.service.auditing:Audit._pages", "after = page[-1]", "after = page[-1] + 1"),
    ),
    edited(
        "audit-looks-at-the-newest-alone",
        "what few orders need, and a restored participant lacks, is never missed",
        _TESTS + "test_looks_come_to_older_orders_too",
        (
            "order.service.auditing:Audit._newest_and_older",
            "self._walked_to = page[-1] if page else None",
            "self._walked_to = None",
        ),
    ),
    edited(
        "unpaid-order-revived",
        "an order that was closed in the hours that are lost takes its stock again",
        _TESTS + "test_orders_restored_are_open_again",
        ("order.service.auditing:Audit._reserve", "revive=is_paid", "revive=True"),
    ),
    edited(
        "paid-order-s-coupon-free-again",
        "a coupon that a repair takes anew for a paid order is not used up",
        "tests/unit/test_order_participants.py::test_what_a_repair_reserves_for_a_paid_order_is_used_up",
        ("order.service.auditing:Audit._reserve", "if is_paid and held and", "if False and"),
    ),
    edited(
        "closed-order-taken-for-a-violation",
        "an order that is closed while stock is asked counts as one that stands without stock",
        _TESTS + "test_closed_between_the_looks",
        (
            "order.service.auditing:Audit._unheld",
            "still = self._standing(suspects)",
            "still = {order_id: standing[order_id] for order_id in suspects}",
        ),
    ),
    edited(
        "only-a-page-of-unheld-told",
        "of the orders that stand unheld only a page is told, and after a repair the others can't be paid for a while",
        _TESTS + "test_borders_of_pages",
        ("order.service.auditing:Audit._written_down", "after = page[-1]", "return"),
    ),
)
