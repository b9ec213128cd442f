"""Bugs in the sweep."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_sweeping.py::"
_CONFIRM = "order.service.settling:Settlements.confirm"
_SEVERAL = "tests/unit/test_order_participants.py::"
_RELEASE = "states = participant.settle([(row.order_id, row.tx_id, row.fate) for row in page])"
_FATES = "order.service.sweeping:Sweep._fates"

MUTANTS = (
    edited(
        "sweep-verifies-closed-orders",
        "the sweep tells stock that closed orders stand",
        _TESTS + "test_closed_orders_are_released",
        ("order.service.sweeping:_fate", "if not status.stands:", "if False:"),
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
        (_FATES, "known |= self._statuses(participant, [r.order_id for r in unknown])", "pass"),
    ),
    edited(
        "sweep-forgets-verified-orders",
        "a closed order is confirmed without asking stock for its release",
        _TESTS + "test_verified_orders_can_need_releasing_later",
        (
            _CONFIRM,
            "participant.settle([(row.order_id, row.tx_id, row.fate) for row in page])",
            '{row.order_id: "released" for row in page}',
        ),
    ),
    edited(
        "sweep-confirms-first",
        "a closed order is confirmed before its stock is released, and stock fails in between",
        _TESTS + "test_confirmed_after_it_is_released",
        (
            _CONFIRM,
            _RELEASE,
            f"self._delete(participant, [row.order_id for row in page]); {_RELEASE}",
        ),
    ),
    edited(
        "sweep-confirms-unnamed",
        "a closed order is confirmed though stock's answer does not say that it is released",
        _TESTS + "test_only_what_stock_calls_released_is_confirmed",
        (_CONFIRM, "if states.get(row.order_id) == _CONFIRMED[row.fate]]", "]"),
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
            "order.service.settling:Settlements._pages",
            "((columns.since == last.since) & (columns.order_id > last.order_id))",
            "(columns.since < 0)",
        ),
    ),
    edited(
        "one-confirms-for-all",
        "what one participant confirmed of an order counts for all",
        _SEVERAL + "test_one_that_is_down_confirms_nothing_for_the_other",
        (
            "order.service.settling:Settlements._delete",
            "settlements.c.order_id.in_(part) & of_participant",
            "settlements.c.order_id.in_(part)",
        ),
    ),
    edited(
        "one-down-stops-the-sweep",
        "while one participant is down, nothing of the others is swept",
        _SEVERAL + "test_one_that_is_down_holds_up_no_other",
        (
            "order.service.sweeping:Sweep._sweep_one",
            "except PeerUnavailable as error:\n        return error",
            "finally:\n        pass",
        ),
    ),
    edited(
        "paid-order-told-as-standing",
        "a participant that lost the news of a payment does not get it again",
        _SEVERAL + "test_a_participant_restored_hears_of_payments_again",
        (
            "order.service.sweeping:_fate",
            'return "paid" if status is Status.PAID and participant.hears_of_payment else "stands"',
            'return "stands"',
        ),
    ),
    edited(
        "not-needed-held-for-ever",
        "what a participant holds for an order that does not need it is called right",
        _SEVERAL + "test_held_for_an_order_that_does_not_need_it",
        ("order.service.sweeping:Sweep._statuses", "order_ids, participant.needed", "order_ids"),
    ),
    edited(
        "reconcile-skips-at-page-borders",
        "the first order of each further page is never compared",
        "tests/unit/test_ops_reconcile.py::test_borders_of_pages",
        ("ops.ledgers:pages", "after = page[-1]", "after = page[-1] + 1"),
    ),
)
