"""Bugs in what makes topics and groups on RocketMQ, and in what looks at its messages."""

from lab.drill.mutants.mutant import edited

_CONSOLE = "tests/unit/test_stack_console.py::"
_PROVISION = "tests/unit/test_stack_provision.py::"

MUTANTS = (
    edited(
        "group-not-made",
        "topics are made before consumers start, their groups are not",
        _PROVISION + "test_a_deployment_gets_its_topics_with_kinds_its_groups_and_a_topic_beside_each",
        ("ops.stack.provision:make", "for group in made.groups:", "for group in ():"),
    ),
    edited(
        "no-topic-beside-a-group",
        "consumerProgress finds no route of %RETRY%<group>, and fails on a healthy system",
        _PROVISION + "test_a_deployment_gets_its_topics_with_kinds_its_groups_and_a_topic_beside_each",
        ("ops.stack.provision:missing", "supplies.all_topics.items()", "supplies.topics.items()"),
    ),
    edited(
        "topic-of-another-kind-taken",
        "a topic that refuses our messages counts as provisioned",
        _PROVISION + "test_a_topic_of_another_kind_is_told_before_anything_is_made",
        ("ops.stack.provision:missing", "not in {kind, _ANY_KIND}", "is None"),
    ),
    edited(
        "delivered-message-counts-as-half",
        "totals count what was committed while a check stored it anew",
        _CONSOLE + "test_what_was_committed_is_neither_half_nor_parked",
        (
            "halfmessage.mq.rocketmq_console.console:RocketMQConsole.stats",
            "if message.message_id not in given",
            "",
        ),
    ),
    edited(
        "answers-by-arrival",
        "a broker's answers are taken in the order in which they come, not for what was asked",
        "tests/unit/test_stack_connections.py::test_answers_are_told_apart_whatever_their_order",
        (
            "halfmessage.mq.rocketmq_console.connections:_Connection.ask",
            "map(found.__getitem__, numbered)",
            "iter(found.values())",
        ),
    ),
    edited(
        "late-copy-hides-newer",
        "a page trusts that the oldest message of a piece tells how old the unread ones are",
        _CONSOLE + "test_a_late_copy_does_not_hide_newer_messages",
        (
            "halfmessage.mq.rocketmq_console.newest:newest",
            "max(map(age, piece[: max(1, len(piece) // 4)]), default=_FOR_EVER)",
            "min(map(age, piece), default=_FOR_EVER)",
        ),
    ),
    edited(
        "pages-end-at-the-newest",
        "every page of messages is looked for among the newest of each queue",
        _CONSOLE + "test_pages_lead_to_the_oldest_message",
        (
            "halfmessage.mq.rocketmq_console.newest:newest",
            "last = _born_before(store, until, first, last)",
            "pass",
        ),
    ),
    edited(
        "delivered-message-resumed",
        "a parked copy of a message that was delivered is resumed, and delivered once more",
        _CONSOLE + "test_what_was_committed_is_neither_half_nor_parked",
        ("halfmessage.mq.rocketmq_console.views:Copies.left_behind", "spot is Spot.PARKED and self.given", "False"),
    ),
    edited(
        "second-commit-not-counted",
        "a message that lies twice in its topic counts as delivered once",
        _CONSOLE + "test_a_message_that_was_committed_twice_was_delivered_twice",
        ("halfmessage.mq.rocketmq_console.views:_group", "passed = sum(", "passed = any("),
    ),
    edited(
        "acknowledged-counts-as-in-flight",
        "the backlog holds what was answered for",
        _CONSOLE + "test_the_backlog_is_what_waits_and_what_was_not_answered_for",
        ("halfmessage.mq.rocketmq_console.inflight:InFlight.__init__", "offsets - answered[pop]", "offsets"),
    ),
    edited(
        "page-begins-with-the-last-one",
        "the message that a page ended with comes again on the next one",
        _CONSOLE + "test_pages_go_on_where_one_ended",
        ("halfmessage.mq.rocketmq_console.wanted:Wanted._was_born", "cursor < self.before", "cursor <= self.before"),
    ),
    edited(
        "downgrade-allowed",
        "an older RocketMQ opens what a newer one stored",
        "tests/unit/test_stack_versions.py::test_a_stack_keeps_the_version_it_has_until_told_a_newer_one",
        ("ops.stack.plan:StackPlan.changed", "if versions.is_older(version, self.rocketmq):", "if False:"),
    ),
)
