"""Bugs in placing a batch of orders, and in forming batches."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_placing.py::"
_PLACE = "order.service.placing:Placing.place"
_BEGIN = "order.service.placing:Placing._begin"
_DEDUCT = "order.service.placing:Placing._deduct"
_COMMIT = "order.service.placing:Placing._commit"
_CLIENT = "order.clients.participant:ParticipantClient._deduction"
_SEVERAL = "tests/unit/test_order_participants.py::"

MUTANTS = (
    edited(
        "resolve-before-commit",
        "the half message is dropped before the orders are committed",
        _TESTS + "test_database_down",
        (
            _COMMIT,
            "written, is_to_be_told = self._write(",
            "tx.resolve(Outcome.COMMITTED); written, is_to_be_told = self._write(",
        ),
    ),
    edited(
        "unknown-commit-resolved",
        "a batch of which it is not known whether it was committed is rolled back",
        _TESTS + "test_connection_lost_in_commit",
        (_COMMIT, "except (AlreadyAborted, CommitOutcomeUnknown):", "except AlreadyAborted:"),
    ),
    edited(
        "failed-deduction-not-undone",
        "stock that may have deducted, but did not answer, is not told to roll back",
        _TESTS + "test_stock_does_not_answer",
        (_DEDUCT, "tx.resolve(Outcome.ABORTED)", "tx.drop()"),
    ),
    edited(
        "timeout-not-scheduled",
        "orders are placed that no message will ever close",
        _TESTS + "test_batch",
        (_BEGIN, "self._aside.start(self._schedule, event, ", "self._aside.start(max, 0, "),
    ),
    edited(
        "timeout-outlives-its-batch",
        "who was told that nothing was created may still have a timeout sent",
        _TESTS + "test_a_timeout_ends_before_its_batch_does",
        (_BEGIN, "wait([scheduling], _SCHEDULED_WITHIN)", "pass"),
    ),
    edited(
        "lost-timeout-ignored",
        "an order is placed although its timeout could not be sent",
        _TESTS + "test_timeout_not_scheduled",
        (_DEDUCT, "result(scheduling, _SCHEDULED_WITHIN)", "pass"),
    ),
    edited(
        "short-order-let-through",
        "an order that stock refused is placed",
        _TESTS + "test_one_of_a_batch_is_short",
        (_CLIENT, "return Deduction(verdict, self.refusal(item))", "return Deduction(DEDUCTED)"),
    ),
    edited(
        "tombstone-let-through",
        "an order whose stock was released before it was deducted is placed",
        _TESTS + "test_tombstone",
        (_CLIENT, "return Deduction(verdict, Unavailable(detail))", "return Deduction(DEDUCTED)"),
    ),
    edited(
        "answers-shifted-by-one",
        "each order of a batch gets its neighbour's answer",
        _TESTS + "test_one_of_a_batch_is_short",
        (
            _PLACE,
            "[written.get(order_id) or refused[order_id] for order_id in order_ids]",
            "[written.get(o) or refused[o] for o in (*order_ids[1:], order_ids[0])]",
        ),
    ),
    edited(
        "dropped-though-held",
        "a batch of which nothing stands is dropped, though a participant holds something for it",
        _SEVERAL + "test_nothing_stands_and_something_is_held",
        (_PLACE, "if in_vain:", "if False:"),
    ),
    edited(
        "held-in-vain",
        "what one participant holds for an order that another refused is kept",
        _SEVERAL + "test_one_refuses_what_the_other_holds",
        (_COMMIT, "if in_vain:", "if False:"),
    ),
    edited(
        "refused-by-one-placed",
        "an order that one participant refused is placed, as another holds what it needs",
        _SEVERAL + "test_one_refuses_what_the_other_holds",
        (
            "order.service.participants:_merged",
            "(deduction.refusal for deduction in deductions if deduction.refusal is not None), None)",
            "(d.refusal for d in deductions if d.refusal and not any(o.is_held for o in deductions)), None)",
        ),
    ),
    edited(
        "asked-in-vain",
        "a participant that no order needs is asked",
        _SEVERAL + "test_who_is_not_needed_is_not_asked",
        (
            "order.service.participants:reserve",
            "(needing := [order for order in orders if one.needs(order)])",
            "(needing := list(orders))",
        ),
    ),
    edited(
        "one-after-the-other",
        "participants are asked one after the other",
        _SEVERAL + "test_all_are_asked_at_once",
        (
            "order.service.participants:reserve",
            "[aside.start(one.deduct, tx_id, needing) for one, needing in asked[1:]]",
            "[]\n    asked = [(one, n) for one, n in asked]",
        ),
        ("order.service.participants:reserve", "in asked[:1]]", "in asked]"),
    ),
    edited(
        "free-order-not-told",
        "the coupon does not hear of an order that cost nothing and was paid at once",
        _SEVERAL + "test_an_order_that_costs_nothing_is_paid_at_once",
        ("order.service.placing:Placing._note_paid", "return bool(paid) and", "return False and"),
    ),
    edited(
        "dropped-order-not-released",
        "an order that dropped out of its batch keeps its stock",
        _TESTS + "test_key_taken_before_the_batch",
        ("order.service.placing:Placing._write", "if dropped:", "if False:"),
    ),
    edited(
        "dropped-order-comes-back",
        "an order that was dropped and released is written when the transaction runs again",
        _TESTS + "test_dropped_for_good",
        ("order.service.placing:_write_one_by_one", "if order_id in dropped:", "if False:"),
    ),
    edited(
        "keys-locked-in-any-order",
        "two batches lock each other's idempotency keys",
        _TESTS + "test_keys_are_locked_in_one_order",
        ("order.service.placing:_write_orders", "sorted(drafts, key=lambda draft: draft.key_order)", "drafts"),
    ),
    edited(
        "batch-falls-with-one-order",
        "one order that the database refuses takes its whole batch with it",
        _TESTS + "test_an_order_that_the_database_refuses",
        (
            "order.service.placing:Placing._write",
            "except (DuplicateRow, RowRefused, BelowZero):",
            "except DuplicateRow:",
        ),
    ),
    edited(
        "batcher-answers-shifted",
        "each client of a batch gets the answer of another one",
        "tests/unit/test_batch.py::test_what_comes_meanwhile_is_the_next_batch",
        (
            "halfmessage.tx.batch:_serve",
            "in zip(batch, answers,",
            "in zip(batch, [*answers[1:], answers[0]],",
        ),
    ),
    edited(
        "batcher-queue-without-bound",
        "each request waits, however many wait already",
        "tests/unit/test_batch.py::test_a_full_queue_refuses_at_once",
        (
            "halfmessage.tx.batch:Batcher._take_lane_or_queue",
            "if len(self._queue) >= self._longest_queue:",
            "if False:",
        ),
    ),
)
