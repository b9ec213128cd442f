"""Bugs in the sweep."""

from ops.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_sweeping.py::"
_FATES = "order.service.sweeping:Sweep._fates"

MUTANTS = (
    edited(
        "sweep-verifies-closed-orders",
        "the sweep tells stock that closed orders stand",
        _TESTS + "test_closed_orders_are_released",
        (_FATES, '"void" if known.get(r.order_id, Status.CLOSED) is Status.CLOSED else "stands"', '"stands"'),
    ),
    edited(
        "sweep-without-fence",
        "the sweep releases what has no record, which may still commit",
        _TESTS + "test_no_record_is_fenced_first",
        (_FATES, "self._checker.outcome(tx_id)", '"aborted"'),
    ),
    edited(
        "sweep-without-grace",
        "the sweep meddles with what is still under way",
        _TESTS + "test_grace",
        ("order.service.sweeping:Sweep.run", "before = now_ms() - int(grace * 1000)", "before = now_ms()"),
    ),
    edited(
        "sweep-does-not-look-again",
        "an order committed between the sweep's look at it and at its record is released",
        _TESTS + "test_committed_in_between",
        (_FATES, "known |= self._statuses([r.order_id for r in unknown])", "pass"),
    ),
    edited(
        "sweep-forgets-verified-orders",
        "a closed order is confirmed without asking stock for its release",
        _TESTS + "test_verified_orders_can_need_releasing_later",
        (
            "order.service.sweeping:Sweep._confirm_releases",
            'self._stock.settle([(order_id, tx_id, "void") for order_id, tx_id in closed])',
            "pass",
        ),
    ),
)
