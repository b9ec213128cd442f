"""Readiness: one run for all who ask, and a check that hangs fails alone."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from common.auth import Verifier
from common.readiness import Checks
from common.telemetry import Metrics
from common.web import Api
from halfmessage.errors import Unavailable
from tests.support import eventually


class Counted:
    """A check that counts how often it was run, and at most how often at once; `go_on` lets it come back."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.count = 0
        self.running = 0
        self.most = 0
        self.go_on = threading.Event()
        self._guard = threading.Lock()
        if not hangs:
            self.go_on.set()

    def __call__(self) -> None:
        with self._guard:
            self.count += 1
            self.running += 1
            self.most = max(self.most, self.running)
        self.go_on.wait(30)
        with self._guard:
            self.running -= 1


@contextmanager
def hanging() -> Iterator[Counted]:
    check = Counted(hangs=True)
    try:
        yield check
    finally:
        check.go_on.set()


def test_many_probes_at_once_are_one_run() -> None:
    """A caller that asks during a run, or within a second of its end, gets its results."""
    check = Counted()
    checks = Checks({"database": check})
    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(lambda _: checks.results(), range(200)))
    assert results == [{"database": "ok"}] * 200
    assert check.count == 1


def test_results_are_found_anew_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing older is told: what came back is ready, what went away is not."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    down = iter([False, True, False])

    def check() -> None:
        if next(down):
            raise Unavailable

    checks = Checks({"database": check})
    assert checks.results() == {"database": "ok"}
    now[0] += 0.99
    assert checks.results() == {"database": "ok"}
    now[0] += 0.02
    assert checks.results() == {"database": "failed"}
    now[0] += 1.01
    assert checks.results() == {"database": "ok"}


def test_a_check_that_hangs_fails_alone_and_holds_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked for: the others are run by threads of their own, again and again."""
    monkeypatch.setattr("common.readiness.READY_WITHIN", 0.05)
    monkeypatch.setattr("common.readiness.SHARED_FOR", 0.0)
    sound = Counted()
    with hanging() as hung:
        checks = Checks({"broker": hung, "database": sound})
        with capture_logs() as lines:
            results = [checks.results() for _ in range(10)]
        assert all(result == {"broker": "failed", "database": "ok"} for result in results)
        assert (hung.count, hung.most) == (1, 1)
        assert {line["reason"] for line in lines} == {"no answer within 0.05 s", "the last check has not come back"}
        assert len([thread for thread in threading.enumerate() if thread.name == "ready-broker"]) == 1
    eventually(lambda: checks.results() == {"broker": "ok", "database": "ok"})
    assert hung.most == 1


def test_what_is_known_to_hang_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the run that it began to hang in takes as long as a check may."""
    monkeypatch.setattr("common.readiness.READY_WITHIN", 0.05)
    monkeypatch.setattr("common.readiness.SHARED_FOR", 0.0)
    with hanging() as hung:
        checks = Checks({"broker": hung, "database": lambda: None})
        checks.results()
        monkeypatch.setattr("common.readiness.READY_WITHIN", 30.0)
        began = time.monotonic()
        assert checks.results() == {"broker": "failed", "database": "ok"}
        assert time.monotonic() - began < 10


def test_probes_of_what_hangs_leave_request_threads_free() -> None:
    """64 probes on 8 threads: four wait for the check, and the others have served their share long before that ends."""
    with hanging() as hung:
        api = Api(
            "toy",
            title="T",
            description="",
            max_body=1,
            metrics=Metrics("t"),
            verifier=Verifier("s" * 32),
            checks={"broker": hung, "database": lambda: None},
        )

        def get(path: str) -> int:
            with api.app.test_client() as client:
                return client.get(path).status_code

        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            probes = [pool.submit(get, "/readyz") for _ in range(64)]
            assert pool.submit(get, "/healthz").result(10) == 200
            eventually(lambda: sum(not probe.done() for probe in probes) == 4)
            took = time.monotonic() - began
            assert {probe.result(10) for probe in probes} == {503}
    assert took < 1.5  # of the two seconds that a check has
    assert hung.count == 1


def test_who_may_not_wait_is_told_what_was_found_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that is slow for once makes no process unready; its own run's time over, it has failed for all."""
    monkeypatch.setattr("common.readiness.SHARED_FOR", 0.0)
    monkeypatch.setattr("common.readiness.PATIENCE", 0.05)
    monkeypatch.setattr("common.readiness.READY_WITHIN", 30.0)
    with hanging() as check:
        check.go_on.set()
        checks = Checks({"broker": check, "database": lambda: None})
        assert checks.results() == {"broker": "ok", "database": "ok"}
        check.go_on.clear()
        with ThreadPoolExecutor(4) as pool:
            patient = [pool.submit(checks.results) for _ in range(4)]
            eventually(lambda: check.running == 1 and next(checks._run._askers) >= 4)
            assert checks.results() == {"broker": "ok", "database": "ok"}
            run, now = checks._run, time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now + 3.9)
            assert run.results == {"broker": "ok", "database": "ok"}
            monkeypatch.setattr(time, "monotonic", lambda: now + 4.1)
            assert run.results["broker"] == "failed"
            monkeypatch.setattr(time, "monotonic", lambda: now + 30.1)
            assert run.results == {"broker": "failed", "database": "failed"}
            monkeypatch.undo()
            check.go_on.set()
            assert [asked.result(10) for asked in patient] == [{"broker": "ok", "database": "ok"}] * 4


def test_what_hangs_for_longer_than_a_check_has_failed_whatever_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result before stands in only for as long as the next one may take."""
    monkeypatch.setattr("common.readiness.SHARED_FOR", 0.0)
    monkeypatch.setattr("common.readiness.READY_WITHIN", 0.05)
    with hanging() as check:
        check.go_on.set()
        checks = Checks({"broker": check})
        eventually(lambda: checks.results() == {"broker": "ok"})
        check.go_on.clear()
        assert checks.results() == {"broker": "failed"}


def test_a_check_that_is_wrong_in_itself_has_failed() -> None:
    """With its traceback in the log; the others are told all the same."""
    with capture_logs() as lines:
        results = Checks({"database": [].pop, "broker": lambda: None}).results()
    assert results == {"database": "failed", "broker": "ok"}
    assert [(line["log_level"], line["check"]) for line in lines] == [("error", "database")]


def test_a_check_without_a_thread_has_failed_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may have none to give for a while."""
    monkeypatch.setattr("common.readiness.SHARED_FOR", 0.0)
    checks = Checks({"database": lambda: None})

    def refuse_to_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse_to_start)
        assert checks.results() == {"database": "failed"}
    eventually(lambda: checks.results() == {"database": "ok"})
