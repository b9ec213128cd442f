"""Bugs in what says that a service is ready, and in how it comes back."""

from ops.drill.mutants.mutant import edited

_DB = "tests/unit/test_db.py::"
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
        ("common.db:Database._commit", "in mysql.READ_ONLY", "in ()"),
    ),
    edited(
        "ready-though-read-only",
        "readiness asks the database with an empty transaction, which a read-only one commits",
        _HEARTBEAT + "test_asking_is_a_statement_that_writes",
        ("common.heartbeat:_ask", "connection.execute(_NONE)", "pass"),
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
)
