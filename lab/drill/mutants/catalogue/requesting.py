"""Bugs in taking in orders that are to be placed soon, and in placing them."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_requests.py::"
_HTTP = "tests/unit/test_order_requests_http.py::"
_STREAMS = "tests/unit/test_streams.py::"
_STORE = "order.service.submitting:Submitting._store"
_ADD = "order.service.submitting:_Sorting.add"
_WORK = "order.service.working_off:WorkingOff"

MUTANTS = (
    edited(
        "own-key-that-a-client-can-send",
        "a buyer who sends the id of a purchase as the key of another order keeps all of its message from their orders",
        "tests/unit/test_order_selling.py::test_a_buyer_who_sends_a_purchase_s_id_as_a_key_keeps_nobody_else",
        ("order.service.requests:own_key", "request {request_id}", "{request_id}"),
    ),
    edited(
        "request-message-unfenced",
        "what was not taken in is dropped, and what was taken in is never delivered",
        _TESTS + "test_a_batch_is_one_message_and_one_transaction",
        (
            _STORE,
            "event.to_message(REQUEST_TOPIC), Outcome.COMMITTED",
            "event.to_message(REQUEST_TOPIC), Outcome.ABORTED",
        ),
    ),
    edited(
        "unknown-request-dropped",
        "requests of which it is not known whether they were committed lose their message",
        _TESTS + "test_connection_lost_in_commit",
        (_STORE, "except CommitOutcomeUnknown as error:", "except CommitOutcomeUnknown as error:\n        tx.drop()"),
    ),
    edited(
        "request-decided-beside-its-order",
        "an order is written though its request was refused meanwhile",
        _TESTS + "test_refused_while_it_is_placed",
        ("order.service.requests:note_created", "raise RequestDecided", "pass"),
    ),
    edited(
        "refusal-overwrites",
        "a refusal overwrites what another delivery has decided",
        _TESTS + "test_created_by_another_process_meanwhile",
        ("order.service.requests:decide", "== one.request_id, _IS_QUEUED)", "== one.request_id)"),
        ("order.service.ordering:Ordering.order", "except (KeyTaken, Refused):", "except KeyTaken:"),
    ),
    edited(
        "undecided-request-acknowledged",
        "the message of a request that waits for a service is acknowledged",
        _TESTS + "test_what_is_down_holds_up_those_alone_that_need_it",
        (f"{_WORK}._work_off", "if answer is None or answer in failures", "if answer is None"),
    ),
    edited(
        "expired-request-placed",
        "a request is placed however old it is",
        _TESTS + "test_expired",
        (f"{_WORK}._placed", "raise RequestExpired", "return self._order(wanted)"),
    ),
    edited(
        "expired-though-its-order-stands",
        "a request that is too old is refused, whatever its client has placed under its key",
        _TESTS + "test_an_old_request_whose_order_stands",
        (f"{_WORK}._placed", "self._stands(wanted.idempotency)", "None"),
    ),
    edited(
        "requests-not-rescued",
        "a request whose message is gone waits for ever",
        _TESTS + "test_rescue",
        (f"{_WORK}.rescue", "self._work_off(page)", "pass"),
    ),
    edited(
        "request-share-unbounded",
        "one user may fill the queue of requests",
        _HTTP + "test_a_user_s_share",
        (_ADD, "self._of_users[user] >= bounds.most_of_one_user", "False"),
    ),
    edited(
        "request-of-any-user",
        "a request is told to any user",
        _HTTP + "test_others",
        ("order.service.requests:RequestReader.get", "or owner not in {None, found.user_id}", ""),
    ),
    edited(
        "request-key-ignored",
        "the same key twice takes in two requests",
        _HTTP + "test_the_same_key",
        (_ADD, "key is not None and key in self._known", "False"),
    ),
    edited(
        "waiting-request-forgotten",
        "a request is purged before it is decided",
        _TESTS + "test_old_requests_are_forgotten",
        ("order.service.requests:forget_requests", ", ~_IS_QUEUED", ""),
    ),
    edited(
        "stream-keeps-its-place",
        "a stream that ended counts as one that is open",
        _STREAMS + "test_so_many_at_once",
        ("common.web.streams:Stream.close", "self._place.close()", "pass"),
    ),
    edited(
        "stream-outlives-the-service",
        "a service that is told to stop waits for its streams",
        _STREAMS + "test_a_service_that_is_told_to_stop_waits_for_no_stream",
        ("common.web.streams:Streams._pieces", "is_last or self._ending.wait(_LOOK_EVERY)", "is_last"),
    ),
)
