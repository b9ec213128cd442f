"""Bugs in closing orders."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_closing.py::"
_TIMEOUTS = "tests/unit/test_order_timeouts.py::"
_CLOSE = "order.service.closing:Closing._close_all"
_SEVERAL = "tests/unit/test_order_participants.py::"
_OPEN = " & (orders.c.status == Status.CREATED.value)"

MUTANTS = (
    edited(
        "timeout-ignores-the-status",
        "a timeout closes paid orders too",
        _TIMEOUTS + "test_paid",
        ("order.service.closing:Closing.still_open", "if status is Status.CREATED", "if status is not Status.CLOSED"),
        ("order.service.closing:Closing._close_rows", _OPEN, ""),
    ),
    edited(
        "closing-loses-to-no-payment",
        "an order that is paid between the look at it and the closing is closed",
        _TESTS + "test_close_batch_against_a_payment",
        ("order.service.closing:Closing._close_rows", _OPEN, ""),
    ),
    edited(
        "raced-closing-released",
        "a closing that lost to a payment releases the paid order's stock",
        _TESTS + "test_close_batch_against_a_payment",
        (
            _CLOSE,
            "except _Raced:\n        tx.resolve(Outcome.ABORTED)",
            "except _Raced:\n        tx.resolve(Outcome.COMMITTED)",
        ),
    ),
    edited(
        "closing-with-the-wrong-sign",
        "the release of a closed order is delivered if it was not closed",
        _TESTS + "test_cancel",
        (_CLOSE, 'Outcome.COMMITTED, name="close"', 'Outcome.ABORTED, name="close"'),
    ),
    edited(
        "unknown-closing-resolved",
        "a closing of which it is not known whether it was committed is dropped",
        _TESTS + "test_connection_lost_in_commit",
        (_CLOSE, "except (AlreadyAborted, CommitOutcomeUnknown):", "except AlreadyAborted:"),
    ),
    edited(
        "timeout-before-its-time",
        "a timeout that comes early closes an order that may still be paid",
        _TIMEOUTS + "test_too_early",
        ("order.service.timeouts:_is_due", "<= now", ">= 0"),
    ),
    edited(
        "early-timeout-swallowed",
        "a timeout that comes before its order is taken for done",
        _TIMEOUTS + "test_undecided",
        ("order.service.timeouts:Timeouts.handle", "event.tx_id not in undecided and ", ""),
    ),
    edited(
        "closing-not-noted",
        "nothing says that a closed order's participants have still to let go",
        _SEVERAL + "test_each_confirms_a_closed_order",
        ("order.service.closing:Closing._close_rows", "self._settlements.note_void(connection, order_ids)", "pass"),
    ),
    edited(
        "closing-noted-for-all",
        "a participant that a closed order never needed has to confirm it",
        _SEVERAL + "test_each_confirms_a_closed_order",
        (
            "order.service.settling:_noting",
            "(names.c.participant == one.name) & one.needed",
            "names.c.participant == one.name",
        ),
    ),
    edited(
        "ownership-not-checked",
        "any user may see, pay and cancel any order",
        _TESTS + "test_another_users_order",
        ("order.service.reading:OrderReader.get", " or owner not in {None, order.user_id}", ""),
    ),
)
