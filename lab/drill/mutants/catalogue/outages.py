"""Bugs in what says that a service is ready, and in how it comes back."""

from lab.drill.mutants.mutant import edited

_DB = "tests/unit/test_db.py::"
_PRODUCER = "tests/unit/rocketmq_grpc/test_producer.py::"
_CONSUMER = "tests/unit/rocketmq_grpc/test_consumer.py::"
_CLOCK = "tests/unit/test_embedded_clock.py::"
_IDS = "tests/unit/test_ids.py::"
_HEARTBEAT = "tests/unit/test_heartbeat.py::"

MUTANTS = (
    edited(
        "useless-connection-kept",
        "a connection whose server is read-only, or shutting down, goes back into the pool",
        _DB + "test_a_connection_that_is_useless_is_dropped",
        ("common.mysql:_drop_if_useless", "context.is_disconnect = True", "pass"),
    ),
    edited(
        "read-only-commit-unknown",
        "a COMMIT that a read-only server refused leaves a client without an answer",
        _DB + "test_read_only_in_commit_is_repeated",
        ("halfmessage.db:committing", "in _READ_ONLY", "in ()"),
    ),
    edited(
        "ready-though-read-only",
        "readiness asks the database with an empty transaction, which a read-only one commits",
        _HEARTBEAT + "test_asking_is_statements_that_write",
        ("common.heartbeat:_ask", "_try_all(connection)", "pass"),
    ),
    edited(
        "standby-writes-nothing",
        "a consumer takes messages again though nothing can be written",
        _HEARTBEAT + "test_a_beat_is_written",
        ("common.heartbeat:_beat", "if connection.execute(_BEAT).rowcount == 0:", "if False:"),
    ),
    edited(
        "alive-taken-for-ready",
        "order is ready though stock says that it is not",
        "tests/unit/test_peer.py::test_ready",
        ("common.peer:Peer.ready", "/readyz", "/healthz"),
    ),
    edited(
        "ids-wait-for-the-clock",
        "a clock set back by an hour leaves order without ids for that hour",
        _IDS + "test_clock_back_a_lot",
        ("halfmessage.ids:LeasedIds.renew", "lease = None\n", "pass\n"),
    ),
    edited(
        "lease-begins-with-the-clock",
        "ids begin at what the clock says, not at when the worker id was another's no more",
        _IDS + "test_clock_back_while_a_lease_is_taken",
        ("halfmessage.ids:LeasedIds._acquire", "last=now)", "last=now_ms())"),
    ),
    edited(
        "clock-tolerance-unbounded",
        "ids run ahead of a clock that was set back by any time",
        _IDS + "test_clock_back_a_lot",
        ("halfmessage.ids:_Lease.check", "if self.last - now > _CLOCK_TOLERANCE:", "if False:"),
    ),
    edited(
        "ids-wanted-unheard",
        "a process that finds no ids waits for the next renewal of its lease",
        _IDS + "test_who_finds_no_ids_has_a_lease_looked_for_at_once",
        ("halfmessage.ids:LeasedIds.next", "self._wanted.set()", "pass"),
    ),
    edited(
        "transaction-of-the-future-young",
        "a clock set back by an hour leaves open transactions undecided for that hour",
        "tests/unit/test_transaction.py::test_begun_under_another_clock",
        ("halfmessage.tx.coordinator:Checker.outcome", "abs(age)", "age"),
    ),
    edited(
        "clock-set-back-unseen",
        "the embedded broker delivers and checks nothing until a clock set back has caught up",
        _CLOCK + "test_half_before_it",
        ("halfmessage.clock:Watch.follow", "before - ahead > NOTICED", "False"),
    ),
    edited(
        "writing-asked-by-half",
        "a database in which rows can only be changed, not added, is called ready, and messages are burnt on it",
        "tests/unit/test_heartbeat.py::test_asking_is_statements_that_write",
        ("common.heartbeat:_try_all", "_NONE", "_NONE[:1]"),
    ),
    edited(
        "one-sale-keeps-all",
        "one flash sale that can't be given pieces back keeps those of all others",
        "tests/unit/test_flash_troubles.py::test_one_sale_that_takes_nothing_back_keeps_no_other",
        (
            "flash.service.returning:Returning._tell",
            "query = _UNTOLD_ONES.where(_ROW.sale_id.not_in(sorted(without)))",
            "turns.end()",
        ),
    ),
    edited(
        "counted-anew-refuses",
        "who holds a 202 of a flash sale that is counted anew is refused as sold out, though there are pieces",
        "tests/unit/test_flash_sales.py::test_a_purchase_of_a_sale_that_was_counted_anew_is_held",
        ("flash.service.holding:Holding._without", "issued_at(tx_id) > forgotten_till", "True"),
    ),
    edited(
        "clock-set-back-pays-late",
        "money that is to go back, or that no callback told of, waits until a clock set back has caught up",
        "tests/unit/test_pay_clock.py::test_what_was_put_off_by_seconds",
        ("pay.service.claims:Claims.take", "self._clock.follow(lambda: self._bring_near(table))", "pass"),
    ),
    edited(
        "clock-set-back-asks-all",
        "a clock set back has pay ask providers about every try of the last three days at once",
        "tests/unit/test_pay_clock.py::test_what_could_have_been_put_off_so_far",
        ("pay.service.polling:Polling.__init__", "longest=longest, but=is_rare", "longest=longest"),
    ),
    edited(
        "clock-set-back-forgotten-by-a-failure",
        "a database that is away as the clock is set back has all wait until the clock has caught up",
        "tests/unit/test_pay_clock.py::test_it_is_tried_again_where_that_fails",
        (
            "halfmessage.clock:Watch.follow",
            "before, ahead = self._ahead, now_ms() - time.monotonic() * 1000",
            "before, self._ahead = self._ahead, now_ms() - time.monotonic() * 1000; ahead = self._ahead",
        ),
    ),
    edited(
        "clock-set-back-locks-users-out",
        "one wrong password before a clock is set back by an hour keeps its user out for that hour",
        "tests/unit/test_user_accounts.py::test_a_clock_that_is_set_back_delays_no_log_in",
        ("user.service.attempts:Attempts._claim", "row.last_at - _APART <= now < row.next_at", "now < row.next_at"),
    ),
    edited(
        "sale-of-another-clock-ready",
        "a store of pieces whose clock is an hour off sells nothing, and flash says that it is ready",
        "tests/contract/test_pieces.py::TestKeeping::test_another_clock",
        ("flash.pieces.port:in_step", "abs(ahead) >= within_ms", "False"),
    ),
    edited(
        "delayed-message-early",
        "a clock set back delivers delayed messages at once",
        _CLOCK + "test_delayed_before_it",
        (
            "halfmessage.mq.embedded.clockset:bring_near",
            "(_CHECKS, _CLAIMED, _PUT_OFF, _SENT)",
            "(_CHECKS, _CLAIMED, _PUT_OFF, _SENT.replace('IS NULL)', 'IS deliver_at)'))",
        ),
    ),
    edited(
        "early-message-sent-on",
        "under a clock set back RocketMQ 5 and order pass each delayed message to and fro as fast as they can",
        _CONSUMER + "test_only_what_was_put_on_a_hop_is_sent_on",
        (
            "halfmessage.mq.rocketmq_grpc.onward:is_early",
            "hop_ends = received.own.get(wire.HOP_ENDS)",
            'hop_ends = received.own.get(wire.HOP_ENDS) or received.own.get(wire.DELIVER_AT) and "0"',
        ),
    ),
    edited(
        "hop-by-our-clock-alone",
        "under a clock set back by days a message on a hop comes back at once, over and over",
        _PRODUCER + "test_a_hop_is_as_long_under_a_clock_that_was_set_back",
        (
            "halfmessage.mq.rocketmq_grpc.producer:RocketMQProducer.send_on",
            "max(now_ms(), int(own.get(wire.HOP_ENDS, 0)))",
            "now_ms()",
        ),
    ),
    edited(
        "last-hop-marked",
        "a message that is put off until it is due is sent on by a clock that was set back",
        _PRODUCER + "test_the_last_hop_is_marked_as_none",
        (
            "halfmessage.mq.rocketmq_grpc.producer:RocketMQProducer.send_on",
            "{name: value for name, value in own.items() if name != wire.HOP_ENDS}",
            "dict(own)",
        ),
    ),
    edited(
        "closing-counts-checks",
        "check-backs that a closing process claimed and did not ask bring messages nearer to being parked",
        "tests/unit/test_embedded_broker.py::test_closing_a_producer_leaves_the_rest_to_others",
        ("halfmessage.mq.embedded.checkback:CheckBack._step", "if claimed:", "if False:"),
    ),
    edited(
        "refused-row-without-a-verdict",
        "an order whose row the stock database refuses has no answer",
        "tests/unit/test_stock_reservations.py::test_a_row_that_the_database_refuses",
        (
            "halfmessage.participant.deducting:Deducting._deduct",
            "except (BelowZero, RowRefused):",
            "except ZeroDivisionError:",
        ),
    ),
    edited(
        "route-not-refreshed",
        "a topic that takes messages again is noticed when the client asks by itself, 30 s later",
        _PRODUCER + "test_a_topic_that_takes_nothing_is_asked_about_anew",
        (
            "halfmessage.mq.rocketmq_grpc.routes:Routes.queue",
            "if not writable and self.forget(client, topic):",
            "if False:",
        ),
    ),
    edited(
        "route-asked-without-bound",
        "each refused order asks RocketMQ for the route",
        _PRODUCER + "test_a_topic_that_takes_nothing_is_asked_about_once_a_second",
        (
            "halfmessage.mq.rocketmq_grpc.routes:Routes.forget",
            'if now - self._asked_at.get(topic, float("-inf")) < self._EVERY:',
            "if False:",
        ),
    ),
    edited(
        "failed-send-keeps-its-route",
        "a topic that was made anew elsewhere is sent to where it was",
        _PRODUCER + "test_a_send_that_failed_has_its_route_asked_anew",
        (
            "halfmessage.mq.rocketmq_grpc.producer:RocketMQProducer._send",
            "self._routes.forget(client, message.topic)",
            "pass",
        ),
    ),
)
