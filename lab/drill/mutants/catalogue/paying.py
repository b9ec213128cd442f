"""Bugs in paying orders: what pay answers, tells later, or is asked a last time."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_paying.py::"
_SEVERAL = "tests/unit/test_order_participants.py::"
_MARK = "order.service.paying:Paying._mark_rows"
_FOUND = "orders.c.order_id.in_(paid) & _OPEN"
_MOVED = "orders.c.order_id.in_(order_ids) & _OPEN"
_HANDLE = "order.service.successes:Successes.handle"

MUTANTS = (
    edited(
        "success-reopens-a-closed-order",
        "a payment that succeeds late opens a closed order again, whose stock is gone",
        _TESTS + "test_a_closed_order_stays_closed",
        (_MARK, _FOUND, "orders.c.order_id.in_(paid)"),
        (_MARK, _MOVED, "orders.c.order_id.in_(order_ids)"),
    ),
    edited(
        "paid-through-no-provider",
        "an order does not say who took its money, so that it is taken for one that needs no payment",
        _TESTS + "test_marked_paid_with_its_provider",
        (_MARK, ', "paid_through": provider', ""),
    ),
    edited(
        "payment-not-noted",
        "a participant hears of a payment at once or never",
        _SEVERAL + "test_a_payment_that_is_not_told_at_once_is_told_by_the_sweep",
        (_MARK, "bool(held) and self._settlements.note_paid(connection, list(held.values()))", "bool(held)"),
    ),
    edited(
        "paid-twice-noted-twice",
        "a payment that changed nothing is written down as one that did",
        _SEVERAL + "test_paid_again_is_not_told_again",
        (_MARK, _FOUND, "orders.c.order_id.in_(paid)"),
    ),
    edited(
        "open-payment-taken-for-paid",
        "an order whose customer has still to go somewhere is called refused",
        _TESTS + "test_somewhere_else",
        ("order.service.paying:Paying._settle", "if attempt.pay_url is not None:", "if False:"),
    ),
    edited(
        "refusal-taken-for-trouble",
        "a card that was declined is told as a failure of ours, to be tried again for ever",
        _TESTS + "test_refused",
        ("order.service.paying:Paying._settle", "if attempt.refusal is not None:", "if False:"),
    ),
    edited(
        "payment-of-an-undecided-order-swallowed",
        "a payment that is told before its order is written is done with, and the order times out",
        _TESTS + "test_told_before_the_order_is_decided",
        (_HANDLE, " and self._checker.outcome(tx_id) is None", " and False"),
    ),
    edited(
        "payment-of-an-unheld-order-swallowed",
        "a payment of an order that lacks what it needs for a while is done with",
        _TESTS + "test_told_while_something_is_not_held",
        (_HANDLE, "waiting |= set(", "_ = set("),
    ),
    edited(
        "closed-without-the-last-question",
        "an order is closed at its timeout though its provider, asked once more, would say that it was paid",
        _TESTS + "test_the_last_question_keeps_an_order",
        ("order.service.overdue:Overdue.close", "self._ask(part)", "pass"),
    ),
    edited(
        "last-question-needs-an-answer",
        "while pay is down no order is closed by its timeout",
        _TESTS + "test_the_last_question_unanswered",
        (
            "order.service.overdue:Overdue._ask",
            "order_ids), reason=error.detail)\n        return",
            "order_ids))\n        raise",
        ),
    ),
    edited(
        "last-question-about-everything",
        "providers are asked about orders that are paid or closed already, each time that a timeout comes again",
        _TESTS + "test_the_last_question_is_about_unpaid_orders",
        ("order.service.overdue:Overdue.close", "self._closing.still_open(order_ids)", "list(order_ids)"),
    ),
    edited(
        "unpaid-order-of-before-a-violation",
        "an unpaid order of the release before counts as one that lacks its payment",
        _TESTS + "test_an_unpaid_order_of_the_release_before",
        ("order.service.auditing:Audit._lacks", "self.participant.made_when_paid", "False"),
    ),
    edited(
        "paid-order-of-before-shown-with-a-payment",
        "an order that was paid before there was a pay service tells of a payment that pay does not have",
        _TESTS + "test_a_paid_order_of_the_release_before",
        ("order.clients.pay:PayClient.needs", "order.paid_through is not None", "True"),
    ),
    edited(
        "parts-of-a-payment-message-mixed-up",
        "of a message about many orders all parts name the transactions and providers of the first",
        _TESTS + "test_a_message_in_parts",
        ("common.payments:PaymentEvent.part", "of_each[which]", "of_each[: which.stop - which.start]"),
    ),
    edited(
        "orders-unreadable-without-pay",
        "orders can't be shown while pay is down",
        _TESTS + "test_shown_while_pay_is_down",
        ("order.service.payments:Payments.of", "return shown\n    told", "raise\n    told"),
    ),
)
