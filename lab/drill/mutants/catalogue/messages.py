"""Bugs in consumers and in the embedded broker."""

from lab.drill.mutants.mutant import edited

_CONTRACT = "tests/contract/test_broker.py::"
_EMBEDDED = "[embedded]"

MUTANTS = (
    edited(
        "ack-before-commit",
        "a rollback that could not be written is acknowledged",
        "tests/unit/test_stock_consumer.py::test_database_down",
        ("halfmessage.participant.consumer:RollbackConsumer._release", "return None", "return refused"),
    ),
    edited(
        "batch-ends-after-its-first-message",
        "of a batch of rollbacks the first is done, and all are acknowledged",
        "tests/unit/test_stock_consumer.py::test_batch",
        (
            "halfmessage.participant.consumer:RollbackConsumer._failing",
            "for _, event in part]",
            "for _, event in part][:1]",
        ),
    ),
    edited(
        "transaction-of-a-whole-message",
        "one transaction takes all orders of a message, however many it names",
        "tests/unit/test_stock_consumer.py::test_transactions_are_bounded_by_what_they_write",
        ("halfmessage.participant.event:in_parts", "len(event.order_ids), largest)", "1)"),
        ("halfmessage.participant.event:in_parts", "slice(start, start + largest)", "slice(None)"),
        (
            "halfmessage.participant.reservations:Reservations._parts",
            "chunks(sorted(orders), ROWS)",
            "[sorted(orders)]",
        ),
    ),
    edited(
        "message-kept-at-its-end-only",
        "a rollback of many orders is given to another before it is done with",
        "tests/unit/test_stock_consumer.py::test_what_is_worked_on_is_kept",
        ("halfmessage.participant.event:in_parts", "len(event.order_ids), largest)", "1)"),
        ("halfmessage.participant.event:in_parts", "slice(start, start + largest)", "slice(None)"),
    ),
    edited(
        "statement-of-all-keys",
        "one statement names as many keys as a caller sends",
        "tests/unit/test_chunks.py::test_rows_in",
        ("halfmessage.chunks:rows_in", "chunks(values, VALUES)", "[values]"),
    ),
    edited(
        "release-without-regard-to-lines",
        "one transaction gives back all lines of 500 orders",
        "tests/unit/test_stock_reservations.py::test_release_is_bounded_by_lines",
        ("halfmessage.participant.reservations:Reservations._parts", "weights.__getitem__", "lambda _: 0"),
    ),
    edited(
        "long-work-not-kept",
        "messages that are worked on for longer than the invisible time are given to others as well",
        "tests/unit/test_stock_consumer.py::test_what_is_worked_on_is_kept",
        ("halfmessage.participant.consumer:RollbackConsumer._failing", "keep()", "pass"),
    ),
    edited(
        "keeping-extends-nothing",
        "a handler that says that it gets on is not heard",
        _CONTRACT + "test_long_work_that_gets_on_keeps_its_messages" + _EMBEDDED,
        ("halfmessage.mq.embedded.deliveries:extend", "now_ms() + in_ms(options.invisible_for)", "now_ms()"),
    ),
    edited(
        "claim-of-any-size",
        "a consumer takes as many bytes as 256 messages have",
        "tests/unit/test_embedded_broker.py::test_claim_is_bounded_by_bytes",
        ("halfmessage.mq.embedded.deliveries:claim", "by_weight(due, _weight, _HEAVIEST)", "iter([due.fetchall()])"),
    ),
    edited(
        "forgetting-leaves-what-is-done",
        "what a forgotten group had done stays in the file for ever",
        "tests/unit/test_embedded_broker.py::test_forgetting_goes_so_many_messages_at_a_time",
        (
            "halfmessage.mq.embedded.deliveries:forget_chunk",
            "connection.execute(_FORGET, (subscription, after, numbers[-1]))",
            "pass",
        ),
    ),
    edited(
        "subscription-number-given-again",
        "an idle consumer of a forgotten group takes the messages of the next new one",
        "tests/unit/test_embedded_broker.py::test_a_forgotten_group_s_consumer_takes_nothing_from_a_later_group",
        (
            "halfmessage.mq.embedded.deliveries:subscribe",
            "connection.execute(_HIGHEST)",
            'connection.execute("SELECT coalesce(max(id), 0) FROM subscriptions")',
        ),
    ),
    edited(
        "consumer-never-stands-by",
        "a consumer takes messages although its database is down: retries grow long, messages die",
        "tests/unit/test_standby.py::test_the_probe_is_asked_only_after_a_failure",
        ("common.standby:Standby.ready", "return False", "return True"),
    ),
    edited(
        "standby-ignored",
        "messages are handed to a consumer that is not ready",
        _CONTRACT + "test_nothing_is_taken_while_the_consumer_is_not_ready" + _EMBEDDED,
        ("halfmessage.mq.embedded.consumer:EmbeddedConsumer._take", "if not self._ready():", "if False:"),
    ),
    edited(
        "unreadable-message-acknowledged",
        "a timeout that can't be read is dropped without a word",
        "tests/unit/test_order_timeouts.py::test_consumer",
        ("order.consumer:EventConsumer.__call__", '"retried") for', '"handled") for'),
    ),
    edited(
        "failed-timeout-acknowledged",
        "timeouts that could not be handled are acknowledged",
        "tests/unit/test_order_timeouts.py::test_consumer",
        ("order.consumer:EventConsumer._handle", 'return ["retried"]', 'return ["handled"]'),
    ),
    edited(
        "failing-handler-acknowledged",
        "what a handler raised on is not delivered again",
        _CONTRACT + "test_handler_that_raises_gets_all_again" + _EMBEDDED,
        (
            "halfmessage.mq.embedded.consumer:EmbeddedConsumer._ask",
            "[Verdict.RETRY] * expected",
            "[Verdict.ACK] * expected",
        ),
    ),
    edited(
        "dead-letter-dropped",
        "a message that keeps failing is dropped, not kept for an operator to look at",
        _CONTRACT + "test_dead_letter_then_resent" + _EMBEDDED,
        ("halfmessage.mq.embedded.deliveries:settle", '"dead" if', '"done" if'),
    ),
    edited(
        "late-acknowledgement-counts",
        "the ACK of a handler that was too slow ends the delivery that another one has",
        _CONTRACT + "test_slow_handler_and_its_late_acknowledgement" + _EMBEDDED,
        ("halfmessage.mq.embedded.deliveries:claim", "secrets.randbits(62)", "1"),
    ),
)
