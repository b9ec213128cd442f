"""Bugs in transactional messages: the record, the fence, the checker, the database transaction."""

from lab.drill.mutants.mutant import edited

_TESTS = "tests/unit/test_transaction.py::"
_COMMIT = "halfmessage.tx.coordinator:Transaction.commit"
_ANSWER = "halfmessage.tx.coordinator:RecordChecker._answer"
_OUTCOME = "halfmessage.tx.coordinator:Checker.outcome"

_POSTGRESQL = "tests/unit/test_postgresql.py::"

MUTANTS = (
    edited(
        "record-not-written",
        "the local transaction writes its rows, but no record",
        _TESTS + "test_died_after_the_record",
        (_COMMIT, "self._records.commit(connection, self.tx_id)", "pass"),
    ),
    edited(
        "record-in-a-transaction-of-its-own",
        "the record is committed before the rows are, not with them",
        _TESTS + "test_failpoint_before_commit",
        (
            _COMMIT,
            "started = time.perf_counter()",
            "started = self._database.transact(lambda c: self._records.commit(c, self.tx_id)) or 0.0",
        ),
        (_COMMIT, "        self._records.commit(connection, self.tx_id)\n", ""),
    ),
    edited(
        "fence-missing",
        "the checker gives up on a transaction without keeping it from committing later",
        _TESTS + "test_checker_first",
        (_OUTCOME, "outcome = self._records.fence(self._database, tx_id)", "outcome = Outcome.ABORTED"),
    ),
    edited(
        "fence-ignores-who-was-first",
        "a checker that lost the race to the local transaction answers `aborted` all the same",
        _TESTS + "test_local_transaction_in_between",
        (
            "halfmessage.tx.record:Records.fence",
            "return self.find(connection, [tx_id])[tx_id]",
            "return Outcome.ABORTED",
        ),
    ),
    edited(
        "fence-too-early",
        "the checker fences transactions that are still running",
        _TESTS + "test_unknown_while_young",
        (_OUTCOME, "if abs(age) < self._deadline_ms:", "if age < 0:"),
    ),
    edited(
        "checker-trusts-memory",
        "the checker answers from what its own process remembers, not from the record",
        _TESTS + "test_died_after_the_record",
        (
            _OUTCOME,
            "outcome = self._records.find(connection, [tx_id]).get(tx_id)",
            "outcome = vars(self).get('remembered', {}).get(tx_id)",
        ),
    ),
    edited(
        "purged-record-taken-for-none",
        "a transaction so old that its record may be purged is decided as if it had none",
        _TESTS + "test_older_than_records_are_kept",
        ("halfmessage.tx.record:Records.fence", "if self._is_expired(tx_id)", "if False"),
    ),
    edited(
        "expired-never-decided",
        "a transaction older than records are kept is left undecided for ever: its pieces never come back",
        "tests/unit/test_order_sweeping.py::test_older_than_records_are_kept",
        (_OUTCOME, "outcome = self._records.fence(self._database, tx_id)", "return None"),
    ),
    edited(
        "suspended-transaction-commits",
        "a local transaction that was suspended until its fence was purged commits",
        _TESTS + "test_a_local_transaction_that_was_suspended_for_too_long_gives_up",
        ("halfmessage.tx.record:Records.commit", "if self._is_expired(tx_id):", "if False:"),
    ),
    edited(
        "records-purged-too-early",
        "records are purged while they may be asked for",
        _TESTS + "test_purge",
        ("halfmessage.tx.record:Records.purge", "now_ms() - 2 * self._retention_ms", "now_ms()"),
    ),
    edited(
        "deliver-if-flipped",
        "the check-back delivers what was to be dropped, and drops what was to be delivered",
        _TESTS + "test_died_before_the_record",
        (_ANSWER, "if outcome == deliver_if else", "if outcome != deliver_if else"),
    ),
    edited(
        "strange-half-message-dropped",
        "a half message that can't be read is rolled back instead of left to a human",
        _TESTS + "test_malformed_half_message",
        (
            _ANSWER,
            "message_id=half.message_id)\n        return CheckAnswer.UNKNOWN",
            "message_id=half.message_id)\n        return CheckAnswer.ROLLBACK",
        ),
    ),
    edited(
        "resolve-must-succeed",
        "a broker that does not answer `resolve` fails what is committed already",
        _TESTS + "test_resolve_fails",
        (
            "halfmessage.tx.opened:OpenMessage._resolve",
            "except HalfMessageError as error:",
            "except MemoryError as error:",
        ),
    ),
    edited(
        "commit-unknown-is-failure",
        "a connection lost in COMMIT counts as `nothing happened`",
        "tests/unit/test_db.py::test_lost_in_commit_is_never_repeated",
        (
            "halfmessage.db:committing",
            "raise CommitOutcomeUnknown from error\n",
            "raise DatabaseUnavailable from error\n",
        ),
    ),
    edited(
        "commit-unknown-is-success",
        "a connection lost in COMMIT counts as committed",
        "tests/unit/test_db.py::test_lost_in_commit_is_never_repeated",
        ("halfmessage.db:committing", "raise CommitOutcomeUnknown from error\n", "return\n"),
    ),
    edited(
        "commit-unknown-is-repeated",
        "a transaction whose connection was lost in COMMIT is run again, though it may stand",
        "tests/unit/test_db.py::test_lost_in_commit_is_never_repeated",
        (
            "halfmessage.db:committing",
            "raise CommitOutcomeUnknown from error\n",
            "raise _Retryable from error\n",
        ),
    ),
    edited(
        "rolled-back-is-committed",
        "a transaction of PostgreSQL in which a statement failed counts as committed, and is rolled back",
        _POSTGRESQL + "test_commit_of_a_failed_transaction_is_refused",
        ("halfmessage.postgresql:has_failed", "== _FAILED", "== -1"),
    ),
    edited(
        "rolled-back-is-unknown",
        "what a deferred constraint of PostgreSQL refuses in COMMIT leaves a client without an answer",
        _POSTGRESQL + "test_what_commit_answers[error0-DuplicateRow]",
        ("halfmessage.db:committing", "postgresql.is_rolled_back(error)", "False"),
    ),
    edited(
        "goodbye-unheard",
        "COMMIT is sent to a server that has said goodbye, and its outcome is not known",
        _POSTGRESQL + "test_a_session_is_dead_once_its_stream_ends_or_the_server_says_goodbye",
        ("halfmessage.postgresql:is_dead", 'in {b"", _GOODBYE}', 'in {b""}'),
    ),
    edited(
        "failed-work-committed",
        "what the work of a transaction wrote before it failed is committed",
        "tests/unit/test_db.py::test_rolls_back_when_work_raises",
        ("halfmessage.db:EngineTransactor._transact_once", "transaction.rollback()", "transaction.commit()"),
    ),
)
