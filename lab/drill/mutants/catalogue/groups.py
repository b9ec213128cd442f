"""Bugs of consumers whose group RocketMQ does not have or its library can't bear, and of upgrades of RocketMQ."""

from lab.drill.mutants.mutant import edited

_SESSION = "tests/unit/rocketmq_grpc/test_session.py::"
_CONSUMER = "tests/unit/rocketmq_grpc/test_consumer.py::"
_VERSIONS = "tests/unit/test_stack_versions.py::"

MUTANTS = (
    edited(
        "missing-group-unread",
        "why RocketMQ ends the stream of a consumer without its group is not read, so that clients are made in a loop",
        _SESSION + "test_a_missing_group_is_said_by_name_and_asked_for_with_one_client",
        ("halfmessage.mq.rocketmq_grpc.session:Session._beat", "if self._group and ", "if False and "),
    ),
    edited(
        "refused-client-thrown-away",
        "a consumer whose group is missing gets a new client at each look",
        _SESSION + "test_a_missing_group_is_said_by_name_and_asked_for_with_one_client",
        ("halfmessage.mq.rocketmq_grpc.session:Session._begin", "self._refused = client", "self._retire(client)"),
    ),
    edited(
        "group-looked-for-once",
        "a consumer whose group was made after its start gets nothing until it is restarted",
        _SESSION + "test_a_missing_group_is_said_by_name_and_asked_for_with_one_client",
        ("halfmessage.mq.rocketmq_grpc.session:Session._keep", "self._ask_again()", "pass"),
    ),
    edited(
        "refused-client-kept-for-ever",
        "a refused consumer whose connection broke as well is never made anew",
        _SESSION + "test_what_fails_otherwise_than_for_want_of_its_group_gets_a_new_client_in_the_end",
        ("halfmessage.mq.rocketmq_grpc.session:Session._ask_again", "if self._strikes < _STRIKES_REFUSED:", "if True:"),
    ),
    edited(
        "refused-consumer-ready",
        "a service whose consumer gets nothing for want of its group says that it is ready",
        _CONSUMER + "test_a_broker_that_refuses_a_group_is_not_ready",
        ("halfmessage.mq.rocketmq_grpc.broker:RocketMQBroker.ping", "if refused:", "if False:"),
    ),
    edited(
        "missing-group-makes-clients",
        "each receive that is refused for want of the group has the client looked at, and made anew",
        _CONSUMER + "test_a_group_that_is_refused_at_each_receive_is_said_by_name",
        ("halfmessage.mq.rocketmq_grpc.consumer:RocketMQConsumer._failed", "elif not missing:", "else:"),
    ),
    edited(
        "group-found-unnoticed",
        "a consumer that gets its messages by now is told as refused for ever",
        _CONSUMER + "test_a_group_that_is_refused_at_each_receive_is_said_by_name",
        ("halfmessage.mq.rocketmq_grpc.consumer:RocketMQConsumer._take", 'self._no_group = ""', "pass"),
    ),
    edited(
        "crashing-group-started",
        "a consumer of group stock crashes its process on an old librocketmq, once a message comes again",
        "tests/unit/rocketmq_remoting/test_consuming.py::test_a_group_that_crashes_an_old_library_is_refused",
        (
            "halfmessage.mq.rocketmq_remoting.library:Library.refuse_group",
            "if self._version",
            "if False and self._version",
        ),
    ),
    edited(
        "unlisted-timers-unread",
        "on RocketMQ 5.2 what consumers put off is not told as in flight",
        "tests/unit/test_stack_console.py::test_the_backlog_is_what_waits_and_what_was_not_answered_for",
        (
            "halfmessage.mq.rocketmq_console.store:Store.read",
            "yield from self._viewed(topic, queue, range(at, end), tags)",
            "pass",
        ),
    ),
    edited(
        "older-rocketmq-started",
        "a RocketMQ is started on what a newer one stored",
        _VERSIONS + "test_a_stack_keeps_the_version_it_has_until_told_a_newer_one",
        ("ops.stack.plan:StackPlan.changed", "if versions.is_older(version, self.rocketmq):", "if False:"),
    ),
    edited(
        "upgraded-while-it-runs",
        "a broker that runs is told as upgraded, and runs on as it was",
        _VERSIONS + "test_an_upgrade_wants_rocketmq_stopped_and_nothing_else",
        ("ops.stack.stack:Stack._planned", " and self.runs(_OF_ROCKETMQ)", " and False"),
    ),
)
