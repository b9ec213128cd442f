"""Bugs at the doors: tokens, scopes, limits, requests, calls to other services."""

from lab.drill.mutants.mutant import edited

_AUTH = "tests/unit/test_auth.py::"
_WEB = "tests/unit/test_web.py::"
_PEER = "tests/unit/test_peer.py::"

MUTANTS = (
    edited(
        "signature-not-checked",
        "any client makes tokens",
        _AUTH + "test_anything_else_is_refused",
        ("common.auth:Verifier._of_secret", '"verify_iat": False', '"verify_iat": False, "verify_signature": False'),
    ),
    edited(
        "remembered-token-never-expires",
        "a token that was verified once is good for ever",
        _AUTH + "test_a_remembered_token_expires",
        ("common.auth:Verifier.verify", "time.time() < known[1]", "known[1]"),
    ),
    edited(
        "scope-not-checked",
        "every valid token may call everything",
        _WEB + "test_a_token_without_the_scope_is_403",
        ("common.web.api:Api._authorise", "identity.scopes.isdisjoint(scopes)", "False"),
    ),
    edited(
        "method-in-any-case",
        "what refuses POST before a service is passed by post",
        _WEB + "test_a_method_in_small_letters_is_none",
        (
            "common.web.flask_app:App.create_url_adapter",
            'request.environ["REQUEST_METHOD"] == request.method',
            "True",
        ),
    ),
    edited(
        "rate-limit-off",
        "no client is ever asked to wait",
        _WEB + "test_too_many_requests_of_one_user_are_429",
        ("common.web.api:Api._limit", "if wait:", "if False:"),
    ),
    edited(
        "limit-of-all-together",
        "one user uses up what others may",
        "tests/unit/test_limits.py::test_users_have_shares_of_their_own",
        ("common.limits:_Counter.hit", "self._share(limit, *of)", "self._share(limit)"),
        ("common.limits:_Counter._count", "share.counted(1, parsed, now)", "share.counted(50, parsed, now)"),
    ),
    edited(
        "unwanted-bodies-drained",
        "a client that announces a body and sends none holds a thread",
        _WEB + "test_a_body_that_is_not_wanted_is_not_read",
        (
            "common.web.api:_part_over_unread_body",
            "if has_unread_body(current_request()):",
            "if has_unread_body(current_request()) and current_request().stream.read():",
        ),
    ),
    edited(
        "bodies-without-a-deadline",
        "a client that drips holds a thread as long as it likes",
        "tests/unit/test_bodies.py::test_a_slow_body_is_cut_and_a_busy_connection_kept",
        ("common.web.bodies:Bodies.cut_overdue", "if overdue:", "if not overdue:"),
    ),
    edited(
        "repeated-header-taken",
        "a key that a proxy doubled is another key, and makes another order",
        _WEB + "test_a_header_that_comes_twice_is_400",
        ("common.web.requests:refuse_repeated_headers", 'if "," in', 'if "\\n" in'),
    ),
    edited(
        "key-row-not-written",
        "what is added under a key is added again under it",
        "tests/unit/test_stock_levels.py::test_restock_under_a_key",
        ("common.idempotency:Keys.once", "connection.execute(insert(self._table).values(_row(key, answer)))", "pass"),
    ),
    edited(
        "password-of-a-url-told",
        "a URL of Redis that can't be read is printed with its password",
        "tests/unit/test_hidden.py::test_a_url_that_can_not_be_read_is_not_told",
        ("common.redis_client:RedisClient.__init__", "_refuse_unreadable(url)", "pass"),
    ),
    edited(
        "older-hash-forgotten",
        "an order asked for again after an upgrade is refused",
        "tests/unit/test_order_ordering.py::test_an_order_asked_for_again_after_an_upgrade",
        ("order.api:_request", ", body.older_hashes", ""),
    ),
    edited(
        "defaults-hashed",
        "a field that is new in a release makes another request of each under its key",
        "tests/unit/test_idempotency.py::test_a_field_that_a_later_release_has_makes_no_other_request",
        ("common.idempotency:key_of", "exclude_unset=True, ", ""),
    ),
    edited(
        "what-it-tells-of-itself-takes-anything",
        "a parameter of /readyz is ignored",
        _WEB + "test_a_parameter_of_what_a_service_tells_of_itself_is_422",
        ("common.web.requests:refuse_parameters", "read_query(request, NoQuery)", "pass"),
    ),
    edited(
        "unwanted-body-ignored",
        "a call that takes no body answers as if it had done what one says",
        "tests/unit/test_unwanted_bodies.py::test_a_body_that_says_something_is_refused",
        ("common.web.api:Api._handler", "read_optional_body(asked, NoBody, self.bodies)", "pass"),
    ),
    edited(
        "empty-body-refused",
        "a client that sends an empty body out of habit can't cancel",
        "tests/unit/test_unwanted_bodies.py::test_a_body_that_says_nothing_passes",
        (
            "common.web.requests:read_optional_body",
            "(raw := bodies.read(request))",
            "(raw := bodies.read(request)) is not None",
        ),
    ),
    edited(
        "body-without-token-read",
        "a client holds a thread of /healthz by dripping",
        _WEB + "test_a_body_that_is_not_wanted_is_not_read",
        ("common.web.requests:refuse_unread_body", "if has_unread_body(request):", "if request.stream.read():"),
    ),
    edited(
        "callbacks-hold-all-threads",
        "a client holds every thread of pay by dripping callbacks",
        "tests/unit/test_bodies.py::test_strangers_hold_few_threads",
        ("common.web.bodies:Bodies.read_of_stranger", "if not self._strangers.acquire(blocking=False):", "if False:"),
        ("common.web.bodies:Bodies.read_of_stranger", "self._strangers.release()", "pass"),
    ),
    edited(
        "idempotency-key-ignored",
        "a call takes a key, and does the same again under it",
        _WEB + "test_a_header_that_a_write_would_ignore_is_422",
        ("common.web.api:Api._handler", "refuse(asked, refused)", "pass"),
    ),
    edited(
        "any-json-taken",
        "duplicate keys, NaN and deep nesting get in",
        _WEB + "test_what_is_no_json_is_400",
        ("common.web.requests:_check_json", "if not _is_plain(raw):", "if False:"),
    ),
    edited(
        "duplicate-keys-overlooked",
        "the fast look at a body does not count its keys",
        "tests/property/test_json.py::test_the_fast_look_lets_nothing_through_that_the_thorough_one_refuses",
        ("common.web.requests:_is_plain", "return len(_END_OF_KEY.findall(raw)) == keys", "return True"),
    ),
    edited(
        "refusal-taken-for-an-answer",
        "a 5xx of another service is taken for its answer",
        _PEER + "test_server_error",
        ("common.peer:_Instance._ask", "if response.status >= _SERVER_ERROR:", "if False:"),
    ),
    edited(
        "timed-out-call-repeated",
        "a call that got no answer in time is made again, beyond its deadline",
        _PEER + "test_no_answer_in_time",
        (
            "common.peer:Peer._send",
            "except ReadTimeoutError:\n            instance.avoid()",
            "except ReadTimeoutError:\n            waiting.append(instance); continue",
        ),
    ),
    edited(
        "refusal-counts-as-failure",
        "a service that refuses orders is left alone as if it had failed",
        _PEER + "test_refusals_are_no_failures",
        ("common.peer:_Instance._ask", ">= _SERVER_ERROR", ">= 400"),
    ),
    edited(
        "breaker-never-opens",
        "a service that is down is asked by all requests, which all wait",
        _PEER + "test_left_alone_after_failures_in_a_row",
        ("common.breaker:Breaker.call", "self._tell(_fail)", "pass"),
    ),
    edited(
        "breaker-never-closes",
        "a service that failed once too often is never asked again",
        "tests/unit/test_breaker.py::test_closes_by_itself",
        ("common.breaker:Breaker.call", "return self._probe(work)", "raise BreakerOpen"),
    ),
    edited(
        "dripping-answer-waited-for",
        "the time limit of a call is one for each piece of the answer",
        _PEER + "test_an_answer_that_drips",
        ("common.peer:_Instance._read", "> call.deadline", "> float('inf')"),
    ),
    edited(
        "gate-without-bound",
        "however many orders are waiting, one more is let in",
        _WEB + "test_more_than_may_be_inside_are_refused_at_once",
        ("common.web.gate:Gate._enter", "if self._inside >= self._most:", "if False:"),
    ),
    edited(
        "gate-never-left",
        "who was inside once holds its place for ever",
        _WEB + "test_more_than_may_be_inside_are_refused_at_once",
        ("common.web.gate:Gate._leave", "self._inside -= 1", "pass"),
    ),
    edited(
        "cache-takes-any-form",
        "a shared price of another release's form is used as it is",
        "tests/unit/test_cache.py::test_a_value_that_is_not_usable_is_a_miss",
        ("common.cache:SharedCache._read", " and self._usable(key, aged[0])", ""),
    ),
    edited(
        "keys-purged-while-young",
        "a key of restocking is forgotten before its time, so that a retry adds again",
        "tests/unit/test_stock_levels.py::test_keys_are_purged_by_age",
        ("common.purging:purge", "where(age < before,", "where(age >= 0,"),
    ),
)
