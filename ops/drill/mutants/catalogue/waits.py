"""Bugs of waiting: without a deadline, without a bound, each for itself where one would do for all."""

from ops.drill.mutants.mutant import edited

_READINESS = "tests/unit/test_readiness.py::"

MUTANTS = (
    edited(
        "each-probe-a-run",
        "whoever asks for readiness has every check run, some of which write",
        _READINESS + "test_a_thousand_probes_at_once_are_one_run",
        ("common.web.readiness:Checks.results", "time.monotonic() >= self._run.fresh_until", "True"),
    ),
    edited(
        "hung-check-run-again",
        "a check that hangs takes one more thread with every run",
        _READINESS + "test_a_check_that_hangs_fails_alone_and_holds_one_thread",
        ("common.web.readiness:_OneCheck.start", "if not self._running.acquire(blocking=False):", "if False:"),
    ),
    edited(
        "all-probes-patient",
        "a check that hangs takes all request threads with it",
        _READINESS + "test_probes_of_what_hangs_leave_request_threads_free",
        ("common.web.readiness:_Run.wait", "if next(self._askers) < MOST_PATIENT else PATIENCE", ""),
    ),
)
