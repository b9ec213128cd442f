"""Bugs in tracing."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_tracing.py::"

MUTANTS = (
    edited(
        "trace-ends-at-the-broker",
        "a message does not carry the trace of its sender",
        _TESTS + "test_a_message_carries_55_bytes_of_its_trace_and_no_state_of_a_client",
        ("common.tracing.messages:_Spans.send", "if TRACEPARENT in carried", "if not carried"),
    ),
    edited(
        "check-back-in-a-trace-of-its-own",
        "after a crash the trace of an order does not tell how it ended",
        _TESTS + "test_a_check_back_goes_on_with_the_trace_of_its_half_message",
        ("common.tracing.messages:_Spans.check_back", "_context_of(half.message)", "Context()"),
    ),
    edited(
        "only-the-first-message-is-linked",
        "of messages that are handled together all but one are not found from their traces",
        _TESTS + "test_messages_handled_together_are_linked_each_with_its_trace",
        ("common.tracing.messages:_Spans.process", "_links(messages)", "_links(messages[:1])"),
    ),
    edited(
        "clients-decide-what-is-sent",
        "who says that its trace is sampled has all of it recorded and sent",
        _TESTS + "test_a_client_gets_no_more_traces_sent_than_its_share",
        ("common.tracing.sampling:KeyedRatio.should_sample", "and self.takes(trace_id)", "and True"),
    ),
    edited(
        "failed-call-told-each-time",
        "while a collector is down, the log says so twice a second",
        _TESTS + "test_a_collector_that_is_down_is_told_of_once_and_slows_nothing",
        ("common.tracing.exporting:Telling.export", "if not self._lost:", "if spans:"),
    ),
    edited(
        "end-waits-for-each-call",
        "a process that ends tries to send all that waits, each call until its deadline",
        _TESTS + "test_a_collector_that_never_answers_bounds_memory_and_the_end",
        ("common.tracing.exporting:Telling.export", "if self._lost and self._ending:", "if not spans:"),
    ),
    edited(
        "traces-told-to-strangers",
        "calls to providers of payments carry our traces",
        _TESTS + "test_strangers_do_not_see_our_traces",
        ("common.tracing.on:Tracing._only_ours", 'in self._peers else ""', "in self._peers else url"),
    ),
    edited(
        "traces-end-at-discovered-instances",
        "a call to an instance that discovery found carries no trace",
        _TESTS + "test_a_call_to_an_instance_that_discovery_found_carries_the_trace",
        ("common.tracing.on:Tracing.peer", "self._peers[origin] = None", "pass"),
    ),
)
