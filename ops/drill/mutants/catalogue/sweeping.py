"""Bugs in the sweep."""

from ops.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_sweeping.py::"
_CONFIRM = "order.service.sweeping:Sweep._confirm_releases"
_RELEASE = 'states = self._stock.settle([(order_id, tx_id, "void") for order_id, tx_id in closed])'
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
            _CONFIRM,
            'self._stock.settle([(order_id, tx_id, "void") for order_id, tx_id in closed])',
            '{order_id: "released" for order_id, _ in closed}',
        ),
    ),
    edited(
        "sweep-confirms-first",
        "a closed order is confirmed before its stock is released, and stock fails in between",
        _TESTS + "test_confirmed_after_it_is_released",
        (
            _CONFIRM,
            _RELEASE,
            f"self._mark_confirmed([order_id for order_id, _ in closed]); {_RELEASE}",
        ),
    ),
    edited(
        "sweep-confirms-unnamed",
        "a closed order is confirmed though stock's answer does not say that it is released",
        _TESTS + "test_only_what_stock_calls_released_is_confirmed",
        (_CONFIRM, 'if states.get(order_id) == "released"]', "]"),
    ),
    edited(
        "sweep-skips-at-page-borders",
        "the first order of each further page of reservations is never looked at",
        _TESTS + "test_borders_of_pages",
        ("order.service.sweeping:_pages", "page[-1].order_id", "page[-1].order_id + 1"),
    ),
    edited(
        "sweep-skips-within-a-millisecond",
        "closed orders beyond a page that were closed in its last millisecond are never released",
        _TESTS + "test_borders_of_pages",
        (
            "order.service.sweeping:Sweep._unconfirmed",
            "(columns.closed_at == last.closed_at) & (columns.order_id > last.order_id)",
            "false()",
        ),
    ),
    edited(
        "reconcile-skips-at-page-borders",
        "the first order of each further page is never compared",
        "tests/unit/test_ops_reconcile.py::test_borders_of_pages",
        ("ops.ledgers:_pages", "after = page[-1]", "after = page[-1] + 1"),
    ),
)
