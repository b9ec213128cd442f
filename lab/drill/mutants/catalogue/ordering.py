"""Bugs in what a client asks for: idempotency keys, answers, prices, ids."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_order_ordering.py::"
_ORDER = "order.service.ordering:Ordering.order"
_FIRST = "order.service.ordering:Ordering.first_answer"

MUTANTS = (
    edited(
        "key-not-stored",
        "an order is placed without its idempotency key",
        _TESTS + "test_replay",
        ("order.service.placing:_write_orders", "if keys:", "if False:"),
    ),
    edited(
        "retry-without-idempotency",
        "the same key again is a new order",
        _TESTS + "test_replay",
        (_ORDER, "if first is not None:", "if False:"),
    ),
    edited(
        "replay-ignores-the-request",
        "a key that was used for another request is answered with that one's order",
        _TESTS + "test_mismatch",
        (_FIRST, "if not key.is_of(request_hash):", "if False:"),
    ),
    edited(
        "key-of-a-request-that-waits-is-another-order-s",
        "a key under which another request waits makes an order, and the request, which had a 202, is refused",
        "tests/unit/test_order_requests_http.py::test_the_same_key",
        ("order.service.reading:OrderReader._find_first", "if key in submitted else None", "if False else None"),
    ),
    edited(
        "key-of-a-refused-request-is-free",
        "the key of an order request that was refused makes another order",
        "tests/unit/test_order_requests_http.py::test_a_refused_request_keeps_its_key",
        (
            "order.service.reading:OrderReader._find_first",
            "if key in submitted else None",
            "if key in submitted and submitted[key].wanted is not None else None",
        ),
    ),
    edited(
        "replay-tells-what-is-now",
        "a repeated request is answered with the order as it is now, not as it was",
        _TESTS + "test_replay_repeats_the_first_answer",
        (_FIRST, "return order.as_created()", "return order"),
    ),
    edited(
        "keys-shared-among-users",
        "a key finds the order of the user who used it first",
        _TESTS + "test_keys_belong_to_users",
        (_FIRST, "first_answer(key.user_id, key.key)", "first_answer('ann', key.key)"),
    ),
    edited(
        "lost-race-for-a-key",
        "a request that lost its key to another process is told that it failed",
        _TESTS + "test_same_key_in_another_process",
        (_ORDER, "except (KeyTaken, Refused):", "except MemoryError:"),
    ),
    edited(
        "unknown-outcome-is-created",
        "a client is told `created` when it is not known",
        _TESTS + "test_outcome_unknown",
        (
            "order.service.ordering:Ordering._order_once",
            "raise OutcomeUnknown(order_id=order_id) from error",
            "return draft.order",
        ),
    ),
    edited(
        "prices-kept-for-ever",
        "a price that was asked for once is never asked for again",
        "tests/unit/test_order_clients.py::test_prices_are_reused_until_too_old",
        ("order.clients.lookups:LookUps._fresh", "if fetched_at < oldest:", "if fetched_at < 0:"),
    ),
    edited(
        "lease-not-renewed",
        "a process keeps its worker id in memory, but not in the database",
        "tests/unit/test_ids.py::test_renewing_is_written_down",
        (
            "halfmessage.ids:LeasedIds._extended",
            "if self._database.transact(lambda connection: connection.execute(extend, named).rowcount) != 1:",
            "if False:",
        ),
    ),
    edited(
        "lease-outlived",
        "a process issues ids after its lease ran out",
        "tests/unit/test_ids.py::test_never_at_or_after_expiry",
        ("halfmessage.ids:_Lease.check", "if max(now, self.last) >= self.expires_at:", "if False:"),
    ),
    edited(
        "lease-kept-until-the-database-fails",
        "the thread that renews the lease ends with the first renewal that fails, and ids with it",
        "tests/unit/test_ids.py::test_keeper_survives_a_broken_database",
        ("halfmessage.ids:LeasedIds._keep", "except HalfMessageError as error", "except DuplicateRow as error"),
    ),
)
