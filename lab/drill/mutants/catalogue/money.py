"""Bugs in the pay service: money that is kept, lost, or sent back twice."""

from lab.drill.mutants.mutant import edited

_EVENTS = "tests/unit/test_pay_events.py::"
_TRIES = "tests/unit/test_pay_attempts.py::"
_POLLS = "tests/unit/test_pay_polling.py::"
_REFUNDS = "tests/unit/test_pay_refunding.py::"
_PAYMENTS = "tests/unit/test_pay_payments.py::"
_API = "tests/unit/test_pay_api.py::"
_REASON = "pay.service.ledger:Ledger._reason"
_AFTER = "pay.service.refunding:Refunding._after"
_REFUSED = "pay.service.ledger:Ledger._refund_refused"
_ROW = "pay.service.inbox:_row"
_GIVE_BACK = "pay.service.payments:Payments.give_back"

MUTANTS = (
    edited(
        "refund-under-another-key",
        "a refund whose answer was lost is made twice",
        _REFUNDS + "test_no_answer",
        (
            "pay.service.refunding:Refunding._ask",
            "charge.currency, charge.charge_id)",
            'charge.currency, f"{charge.charge_id} {charge.tries}")',
        ),
    ),
    edited(
        "event-before-its-signature",
        "a forged callback is stored, and pays",
        _API + "test_forged_callbacks_leave_nothing",
        (
            "pay.api:_declare_callbacks",
            "event = who.read(headers, raw)",
            'event = who.read({**headers, "fake-signature": "good"}, raw)',
        ),
    ),
    edited(
        "callback-known-by-its-order",
        "a second charge of an order is taken for the first one's callback again, and kept",
        _EVENTS + "test_another_event_about_the_same_order_is_another",
        (_ROW, '"event_id": event.event_id', '"event_id": str(event.payment_id)'),
    ),
    edited(
        "late-money-pays",
        "money for a closed order is taken for its payment",
        _EVENTS + "test_late_money_goes_back",
        (_REASON, 'payment["state"] in _OVER', "False"),
    ),
    edited(
        "second-charge-kept",
        "money that comes twice is not sent back",
        _EVENTS + "test_another_event_about_the_same_order_is_another",
        (
            "pay.service.ledger:Ledger._charge",
            'None if is_kept or is_back else self.now,\n        "taken_at"',
            'None,\n        "taken_at"',
        ),
    ),
    edited(
        "second-charge-pays-again",
        "money that comes twice is told to the order service twice",
        _EVENTS + "test_another_event_about_the_same_order_is_another",
        (_REASON, 'payment["state"] == PaymentState.SUCCEEDED', "False"),
    ),
    edited(
        "other-amount-pays",
        "an order is paid with another amount than it owes",
        _EVENTS + "test_money_that_is_not_what_is_owed",
        (_REASON, 'payment["amount"] != event.amount', "False"),
    ),
    edited(
        "other-currency-pays",
        "an order is paid in another currency than it owes",
        _EVENTS + "test_money_that_is_not_what_is_owed",
        (_REASON, 'payment["currency"] != event.currency', "False"),
    ),
    edited(
        "refused-refund-is-a-refund",
        "money that a provider does not send back is called refunded",
        _REFUNDS + "test_a_refusal_is_kept_and_asked_about_again",
        (_AFTER, "refund.state is RefundState.DONE", "refund.state is not RefundState.PENDING"),
    ),
    edited(
        "pending-refund-is-a-refund",
        "money is called refunded before it is",
        _REFUNDS + "test_a_pending_refund_is_no_refund",
        (_AFTER, "refund.state is RefundState.DONE", "refund.state is not RefundState.REFUSED"),
    ),
    edited(
        "refusal-is-the-end",
        "a refund that was refused is never asked for again, though some are done all the same",
        _REFUNDS + "test_a_refusal_is_kept_and_asked_about_again",
        (_AFTER, '"next_try_at": slowly', '"next_try_at": None'),
    ),
    edited(
        "refund-undone-by-a-late-answer",
        "an answer that says less than an event did makes a refund one that is to be made",
        _REFUNDS + "test_an_event_that_says_more_than_the_answer",
        ("pay.service.refunding:Refunding._write", "if row.state in _GOING", "if True"),
    ),
    edited(
        "payment-refunded-while-some-is-left",
        "a payment is called refunded though one of its charges is not back",
        _REFUNDS + "test_the_payment_is_refunded_when_all_of_it_is",
        ("pay.service.posting:finish", "is_there & ~is_left", "is_there"),
    ),
    edited(
        "part-of-a-refund-is-one",
        "a charge of which a part went back is called refunded",
        _EVENTS + "test_a_part_that_went_back_is_no_refund",
        ("pay.service.ledger:Ledger._refunded", "if other is not None:", "if False:"),
    ),
    edited(
        "refund-in-another-currency-is-one",
        "as many minor units of another currency are taken for the money that was to go back",
        _EVENTS + "test_a_refund_in_another_currency_is_no_refund",
        ("pay.service.ledger:_other_money", 'currency not in {None, charge["currency"]}', "False"),
    ),
    edited(
        "part-sent-back-untold",
        "a provider sends back a part of what pays an order, and everything agrees",
        "tests/unit/test_ops_payments.py::test_a_provider_says_otherwise",
        ("ops.other_money:other_money", "connection.execute(_TOLD.where(which))", "()"),
    ),
    edited(
        "other-amount-forgotten-once-back",
        "nobody is told that a provider took another amount than was owed, once it has sent it back",
        "tests/unit/test_ops_payments.py::test_money_of_another_amount_is_told_when_it_is_back",
        ("ops.other_money:sent_back", "connection.execute(_BACK.limit(MOST_BACK))", "()"),
    ),
    edited(
        "refused-refunds-are-not-in-between",
        "money that a provider refuses to send back is missing in what is told to be on its way",
        _REFUNDS + "test_what_is_in_between_is_told_by_currency_and_age",
        (
            "pay.instruments:Instruments._going_back",
            ".where(_IS_GOING)",
            ".where(charges.c.state == ChargeState.REFUNDING.value)",
        ),
    ),
    edited(
        "other-charges-uncounted",
        "charges of another amount are counted as ones that pay their order",
        _REFUNDS + "test_charges_are_counted_by_why_they_go_back",
        ("pay.service.ledger:Ledger._take", "self.tally.charges[reason or PAYS]", "self.tally.charges[PAYS]"),
    ),
    edited(
        "unanswered-questions-look-answered",
        "a provider that does not answer is told as one that has nothing new to say",
        _POLLS + "test_questions_are_counted_by_provider_and_result",
        ("pay.service.polling:_result", 'return "unanswered"', 'return "nothing"'),
    ),
    edited(
        "refund-that-failed-stays-one",
        "a refund that was done, and that the customer's bank sent back, is still called one",
        _REFUNDS + "test_a_refund_that_fails_after_it_was_done_is_no_refund",
        (_REFUSED, 'charge["next_try_at"] = self.now', "pass"),
    ),
    edited(
        "payment-refunded-though-its-refund-failed",
        "money that came back to the provider is to be sent again, and its payment is called refunded",
        _REFUNDS + "test_a_refund_that_fails_after_it_was_done_is_no_refund",
        (
            "pay.service.refunding:Refunding._write",
            "move(connection, [*filter(None, undone)], PaymentState.REFUNDED, PaymentState.REFUNDING)",
            "pass",
        ),
    ),
    edited(
        "refund-done-by-an-old-event",
        "news of a refund from before it failed make it one that is done",
        _REFUNDS + "test_a_refund_that_failed_is_not_done_by_an_old_event",
        ("pay.service.ledger:Ledger._refunded", 'charge["refunded_at"] is not None', "False"),
    ),
    edited(
        "sent-back-by-itself-asked-for",
        "money of a paid order that its provider sent back, and got again, is sent back once more",
        _REFUNDS + "test_what_a_provider_sent_back_by_itself_is_not_asked_for",
        (_REFUSED, 'charge["reason"] != Reason.BY_PROVIDER', "True"),
    ),
    edited(
        "refund-before-its-charge-forgotten",
        "money that is back already pays an order, as the news came in another order",
        _EVENTS + "test_a_refund_that_is_heard_of_before_its_charge",
        (
            "pay.service.ledger:Ledger._is_sent_back",
            "any(_other_money(money, taken) is None for money in self.sent_back.get(_key(event), ()))",
            "False",
        ),
    ),
    edited(
        "closing-leaves-the-money",
        "an order is closed, and what paid it stays",
        _REFUNDS + "test_a_closed_order_gives_back_what_paid_it",
        (_GIVE_BACK, "send_back_kept(connection, is_paid, Reason.ORDER_CLOSED, now)", "pass"),
    ),
    edited(
        "closing-leaves-pages-open",
        "a page of a closed order takes money, and pay does not ask about it",
        _POLLS + "test_open_tries_are_closed_when_the_payment_is",
        (_GIVE_BACK, "close_tries(connection, part, now, now + self._poll_until)", "pass"),
    ),
    edited(
        "event-lost-between-store-and-handle",
        "an event whose process died after it was stored is never handled",
        _EVENTS + "test_what_its_process_did_not_handle_is_handled_by_another",
        (_ROW, '"handle_at": now + MOMENT', '"handle_at": None'),
    ),
    edited(
        "raced-success-sent",
        "the order service is told of a payment that was closed meanwhile",
        _EVENTS + "test_a_race_with_a_closing",
        (
            "pay.service.events:Handling._succeed",
            "except Raced:\n        tx.resolve(Outcome.ABORTED)",
            "except Raced:\n        tx.resolve(Outcome.COMMITTED)",
        ),
    ),
    edited(
        "success-told-once",
        "a message that the broker gave up on is the last word on a payment",
        _PAYMENTS + "test_a_success_that_is_not_known_is_told_again",
        ("pay.service.posting:Posting._write_payments", "else_=now + self._times.tell_after", "else_=null()"),
    ),
    edited(
        "known-payment-told-for-ever",
        "a payment that the order service has confirmed is told again and again",
        _PAYMENTS + "test_paid_is_known",
        ("pay.service.payments:Payments.paid", 'connection.execute(_KNOWN, {"order_ids": order_ids})', "pass"),
    ),
    edited(
        "no-ends-every-try",
        "an old try's end is taken for the end of all",
        _EVENTS + "test_a_no_ends_its_own_try_only",
        (
            "pay.service.tries:_move",
            "(attempts.c.provider == provider) & (attempts.c.reference == reference)",
            "attempts.c.reference.is_not(None)",
        ),
    ),
    edited(
        "lost-answer-tried-anew",
        "a customer whose first try was not answered pays twice",
        _TRIES + "test_a_provider_that_does_not_answer",
        (
            "pay.service.attempts:Attempts._open",
            "self._store(connection, request) if found is None else found.attempt_id",
            "self._store(connection, request)",
        ),
    ),
    edited(
        "last-question-not-heard",
        "what a provider says before an order is closed is stored, and the order closed all the same",
        _TRIES + "test_the_last_question",
        ("pay.service.asking:LastQuestion.ask", "self._handle(keys)", "pass"),
    ),
    edited(
        "paid-try-not-asked-again",
        "a page on which a user pays twice has the second payment",
        _POLLS + "test_a_try_that_takes_the_money_twice",
        ("pay.service.tries:took", "now + (LOOK_BACK if at_once else 0)", "None"),
    ),
    edited(
        "given-up-for-our-absence",
        "what a provider took while pay was down for days is not heard of, as the first question failed",
        _POLLS + "test_a_try_is_not_given_up_for_our_own_absence",
        ("pay.service.polling:Polling._next", "is_left and row.polls < OFTEN", "False"),
    ),
    edited(
        "closed-and-forgotten",
        "money that was under way when a page was closed, days late, is not heard of",
        _POLLS + "test_a_try_is_not_given_up_for_our_own_absence",
        ("pay.service.polling:Polling._next", "look.was_closed:", "False:"),
    ),
    edited(
        "polls-without-a-bound",
        "a provider is asked as fast as we can",
        _POLLS + "test_so_many_calls_a_second",
        ("pay.service.polling:Polling.run", "min(self._allowance.left(), VALUES)", "VALUES"),
    ),
    edited(
        "work-claimed-by-all",
        "several processes ask for the same refund at once",
        _POLLS + "test_two_processes_share_the_work",
        ("pay.service.claims:Claims.take", ".values({self._due.name: until})", ".values({self._due.name: self._due})"),
    ),
    edited(
        "money-forgotten",
        "a payment that money was taken for is deleted with old ones",
        _PAYMENTS + "test_money_is_never_forgotten",
        (
            "pay.service.payments:Payments.keeps",
            "for query in _WITH_MONEY",
            "for query in ()",
        ),
    ),
    edited(
        "payment-shown-to-others",
        "users see each other's payments",
        _PAYMENTS + "test_another_users_payment_is_not_there",
        ("pay.service.reading:read", "owner not in {None, row.user_id}", "False"),
    ),
    edited(
        "payments-listed-for-users",
        "users list all payments",
        "tests/unit/test_pay_api.py::test_admins_list_payments",
        ("pay.api:_declare_reading", 'if "admin" not in current_identity().scopes:', "if False:"),
    ),
    edited(
        "unanswered-call-is-no-try",
        "a provider that hangs is asked again every 20 s, before all others that are due",
        _REFUNDS + "test_a_provider_that_does_not_answer_in_time",
        ("pay.service.crew:Crew.each", "for at in tried.copy()]", "for at in tried.copy() if at in answers]"),
    ),
)
