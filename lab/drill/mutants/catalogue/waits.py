"""Bugs of waiting: without a deadline, without a bound, each for itself where one would do for all."""

from lab.drill.mutants.mutant import edited

_READINESS = "tests/unit/test_readiness.py::"
_OURS = "tests/unit/test_our_tokens.py::"
_BATCH = "tests/unit/test_batch.py::"
_CLIENTS = "tests/unit/test_order_clients.py::"
_FLIGHT = "tests/unit/test_flight.py::"

MUTANTS = (
    edited(
        "each-probe-a-run",
        "each request for readiness has every check run, some of which write",
        _READINESS + "test_many_probes_at_once_are_one_run",
        ("common.readiness:Checks.results", "time.monotonic() >= self._run.fresh_until", "True"),
    ),
    edited(
        "each-scrape-a-look",
        "each request for metrics has messages counted: a broker that hangs takes all request threads with it",
        "tests/unit/test_telemetry.py::test_scrapes_of_what_hangs_make_one_look_and_hold_few_threads",
        ("common.telemetry:_Observed.collect", 'self._looks.results()[self._description] == "ok"', "not self._look()"),
    ),
    edited(
        "timelines-without-bound",
        "timelines take all request threads while the broker is slow, and nothing is read, paid or cancelled",
        "tests/unit/test_order_timeline.py::test_timelines_of_a_slow_broker_leave_threads_to_others",
        ("order.api:_install_timeline", "Gate(most_at_once,", "Gate(99,"),
    ),
    edited(
        "unknown-is-failed",
        "a check that is slow for once makes a service unready for all who may not wait for it",
        _READINESS + "test_who_may_not_wait_is_told_what_was_found_last",
        ("common.readiness:Checks.results", "self._run.found", "{}"),
    ),
    edited(
        "hung-check-run-again",
        "a check that hangs takes one more thread with every run",
        _READINESS + "test_a_check_that_hangs_fails_alone_and_holds_one_thread",
        ("common.readiness:_OneCheck.start", "if not self._running.acquire(blocking=False):", "if False:"),
    ),
    edited(
        "all-probes-patient",
        "a check that hangs takes all request threads with it",
        _READINESS + "test_probes_of_what_hangs_leave_request_threads_free",
        ("common.readiness:_Run.wait", "if next(self._askers) < MOST_PATIENT else PATIENCE", ""),
    ),
    edited(
        "look-ups-one-after-the-other",
        "all who wait for prices repeat the look-up that failed",
        _CLIENTS + "test_goods_that_fail_at_once_fail_for_all_who_wait",
        ("common.flight:_Flight.wait", "if self._error is not None and self._whole:", "if False:"),
    ),
    edited(
        "look-up-waited-for-without-end",
        "who waits for another's look-up waits for as long as that takes",
        _CLIENTS + "test_who_waits_for_a_slow_look_up_leaves_at_its_deadline",
        ("common.flight:_Flight.wait", "self._landed.wait(seconds)", "self._landed.wait()"),
    ),
    edited(
        "last-second-failure-shared",
        "who has all its time left fails by one who had none",
        _FLIGHT + "test_the_failure_of_one_who_had_waited_is_its_own",
        ("common.flight:_Flight.wait", " and self._whole", ""),
    ),
    edited(
        "wishes-looked-up-singly",
        "who waits for a look-up makes one of its own, one after the other",
        _CLIENTS + "test_what_many_wait_for_is_looked_up_together",
        ("order.clients.lookups:LookUps._wanted", "dict.fromkeys([*ids, *others])", "dict.fromkeys(ids)"),
    ),
    edited(
        "look-up-ahead-brings-what-was-known",
        "what is looked up ahead is taken from what is shared, however old: a request waits for it all the same",
        _CLIENTS + "test_what_is_looked_up_ahead_is_not_what_others_know_already",
        ("order.clients.lookups:LookUps._share", ", oldest=oldest)", ")"),
    ),
    edited(
        "look-up-ahead-once",
        "after one look-up ahead that ends, well or not, there is no other",
        _CLIENTS + "test_a_look_up_ahead_that_fails_is_tried_again_and_fails_no_request",
        ("order.clients.lookups:LookUps._looked_ahead", "self._is_ahead = False", "pass"),
    ),
    edited(
        "shared-price-made-younger",
        "a price is as young as the moment at which it had been shared, and reused for longer than it may be",
        _CLIENTS + "test_a_shared_price_is_as_old_as_the_question",
        (
            "order.clients.lookups:LookUps._share",
            "{int(key): (asked_at, ",
            "{int(key): (time.monotonic(), ",
        ),
    ),
    edited(
        "queue-waited-in-without-end",
        "who waits for a batch waits until there is one",
        _BATCH + "test_who_waits_in_vain_for_a_batch_leaves_the_queue",
        ("halfmessage.tx.batch:Batcher._wait", "ticket.wait(self._longest_wait)", "ticket.wait()"),
    ),
    edited(
        "running-job-told-as-not-run",
        "who is in a batch is told after a while that nothing was done",
        _BATCH + "test_who_is_in_a_batch_waits_for_it",
        ("halfmessage.tx.batch:Batcher._wait", "if ticket in self._queue:\n", "if True:\n"),
        ("halfmessage.tx.batch:Batcher._wait", "self._queue.remove(ticket)", "pass"),
    ),
    edited(
        "cut-batch-told-as-not-run",
        "the followers of a thread that ended in the middle of it are told that nothing was done",
        _BATCH + "test_a_thread_that_is_told_to_end_leaves_no_other_waiting",
        ("halfmessage.tx.batch:Batcher._lead", "CommitOutcomeUnknown()", "Overloaded()"),
    ),
    edited(
        "key-waited-for-without-end",
        "who sends a key twice holds a thread for as long as the first request takes",
        "tests/unit/test_order_ordering.py::test_who_waits_in_vain_for_another_with_its_key_is_told",
        ("order.service.ordering:_Turns.of", "lock.acquire(timeout=_LONGEST_TURN)", "lock.acquire(timeout=20)"),
    ),
    edited(
        "count-waited-for-without-end",
        "orders of one user wait for Redis one after the other",
        "tests/unit/test_limits.py::test_who_waits_in_vain_for_another_count_counts_alone",
        ("common.limits:_Counter.hit", "timeout=_PATIENCE", "timeout=15"),
    ),
    edited(
        "count-that-failed-repeated",
        "each who waited for a count that failed asks Redis again",
        "tests/unit/test_redis_client.py::test_a_count_that_hangs_is_not_repeated_by_all_who_wait",
        ("common.limits:_Counter.hit", "timeout=_PATIENCE", "timeout=15"),
        ("common.redis_client:RedisClient.call", "time.monotonic() < self._silent_until", "False"),
    ),
    edited(
        "busy-redis-taken-for-down",
        "more threads than connections count each for itself for a second",
        "tests/unit/test_redis_client.py::test_many_threads_share_few_connections",
        ("common.redis_client:RedisClient.__init__", "redis.BlockingConnectionPool", "redis.ConnectionPool"),
        ("common.redis_client:RedisClient.__init__", "    timeout=timeout,\n        socket", "    socket"),
    ),
    edited(
        "locks-waited-for-singly",
        "a batch of many goods waits for as many times as long for its locks",
        "tests/unit/test_strategies.py::test_all_locks_of_a_batch_are_waited_for_together",
        ("stock.service.strategies.redis_lock:RedisLock._acquire", "blocking_timeout=within", "blocking_timeout=_WAIT"),
    ),
    edited(
        "steps-queued-without-end",
        "steps that hang pile up",
        "tests/unit/test_aside.py::test_so_many_steps_wait_and_no_more",
        ("common.aside:ThreadedAside._queue", "if self._under_way >= self._most:", "if False:"),
    ),
    edited(
        "timeout-waited-for-without-end",
        "a batch whose timeout message hangs holds its lane for ever",
        "tests/unit/test_order_placing.py::test_a_timeout_that_is_never_sent_holds_up_no_order_for_ever[None]",
        ("common.aside:result", "step.result(within)", "step.result()"),
    ),
    edited(
        "reader-waited-for-without-end",
        "who reads messages for long holds up all others who do",
        "tests/unit/test_embedded_writer.py::test_who_reads_is_waited_for_with_a_deadline",
        ("halfmessage.mq.embedded.reader:Reader._turn", "timeout=self._patience", "timeout=15"),
    ),
    edited(
        "service-token-renewed-late",
        "the other services refuse every call for half of the time",
        _OURS + "test_a_service_token_is_good_for_half_of_its_lifetime_whenever_it_is_asked_for",
        ("common.our_tokens:ServiceToken.__call__", "self._lifetime / 2", "self._lifetime * 2"),
    ),
    edited(
        "service-token-by-one-clock",
        "after a suspend the other services refuse every call",
        _OURS + "test_a_service_token_is_renewed_after_the_machine_was_suspended",
        ("common.our_tokens:ServiceToken.__call__", " or time.time() >= wall_due", ""),
    ),
    edited(
        "refused-token-not-noticed",
        "a service is ready though the others refuse its token",
        "tests/unit/test_peer.py::test_a_peer_that_refuses_our_token_is_not_ready",
        ("common.peer:_Instance.look", "if status in _REFUSES_US:", "if False:"),
    ),
    edited(
        "age-by-own-setting",
        "how old a shared price is, is reckoned by how long its reader would keep one",
        "tests/unit/test_cache.py::test_age_of_what_another_setting_wrote",
        ("common.cache:SharedCache._put", "int(self._max_age * 1000)", "500"),
    ),
    edited(
        "queue-of-one-user",
        "one user's orders keep all others out",
        "tests/unit/test_web.py::test_one_user_has_a_share_of_what_may_be_inside",
        ("common.web.gate:Gate._enter", "if self._of_users.get(user, 0) >= self._share:", "if False:"),
    ),
    edited(
        "settings-taken-as-they-come",
        "settings that contradict each other start, and fail with the first full batch",
        "tests/unit/test_config.py::test_what_contradicts_itself_is_told_in_one_line",
        ("common.config:Settings._agree", "if found:", "if False:"),
    ),
    edited(
        "service-that-calls-itself",
        "a service starts where it looks for another one",
        "tests/unit/test_process.py::test_what_contradicts_itself_for_one_service_does_not_start",
        ("common.process:run", "consistency.faults_of(name, settings)", "[]"),
    ),
    edited(
        "parked-before-decided",
        "half messages are parked before their transactions may be given up",
        "tests/unit/test_config.py::test_what_contradicts_itself_is_told_in_one_line",
        ("common.consistency:_embedded_times", "if last_check < settings.transaction_deadline:", "if False:"),
    ),
    edited(
        "body-limit-of-clients-for-services",
        "a full batch of long orders is refused by stock",
        "tests/unit/test_web.py::test_a_body_of_our_own_services_is_taken_whatever_is_set",
        ("common.web.bodies:Bodies.read", "max(self._largest, at_least)", "self._largest"),
    ),
)
