"""Comparisons that are run from the console: one at a time, in a process of their own, for a bounded time."""

import errno
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import console.service.reconciling
from console.service.reconciling import Reconciling, Run, RunsAlready, Standing, command_of
from halfmessage.errors import ConsoleUnavailable, DatabaseUnavailable
from tests.support import eventually

FINDING = {"gravity": "disagreement", "subject": "order", "id": "5", "what": "x", "age_seconds": None, "remedy": "y"}
CLEAN: dict[str, Any] = {
    "clean": True,
    "checked": {"orders": 3},
    "participants": ["stock", "coupon"],
    "counts": {"disagreement": 0},
    "findings": [],
    "under_way": [],
    "sent_back": {"count": 0, "newest": []},
    "swept": None,
}
Made = Callable[..., Reconciling]


@pytest.fixture
def made() -> Iterator[Made]:
    """Return what makes one whose command is some Python, closed after the test."""
    opened: list[Reconciling] = []

    def make(code: str, **options: Any) -> Reconciling:
        opened.append(Reconciling([sys.executable, "-c", code], **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def ran(reconciling: Reconciling, *, repairs: bool = False) -> Run:
    """Run it; return how it ended."""
    told: list[Run] = []
    reconciling.start("root", repairs=repairs, ended=told.append)
    (run,) = eventually(lambda: told, within=30)
    assert reconciling.now() == (None, run)
    return run


def answering(document: dict[str, Any], code: int = 0) -> str:
    return f"import sys; sys.stdout.write({json.dumps(document)!r}); sys.exit({code})"


def finding(participant: str | None, gravity: str = "disagreement") -> dict[str, Any]:
    return {**FINDING, "participant": participant, "gravity": gravity}


def found(*findings: dict[str, Any], counts: int | None = None) -> dict[str, Any]:
    number = len(findings) if counts is None else counts
    return {**CLEAN, "clean": False, "counts": {"disagreement": number}, "findings": list(findings)}


def test_what_was_not_looked_at_is_not_known(made: Made) -> None:
    """Neither green nor red, before and while the first comparison runs."""
    reconciling = made("input()")
    assert reconciling.standings(("stock",)) == [Standing("stock", None, 0, None)]
    assert reconciling.now() == (None, None)


def test_a_participant_is_green_or_red_with_when_it_was_looked_at(made: Made) -> None:
    """What is in progress is no participant's fault yet; a participant that was not compared is not known."""
    told = found(finding("stock"), finding("coupon", "in progress"), finding(None))
    run = ran(reconciling := made(answering(told, 1)))
    assert (run.failure, run.who) == ("", "root")
    assert reconciling.standings(("stock", "coupon", "pay")) == [
        Standing("stock", False, 1, run.ended_at),
        Standing("coupon", True, 0, run.ended_at),
        Standing("pay", None, 0, None),
    ]


def test_findings_that_were_cut_make_no_participant_green(made: Made) -> None:
    """The participant's own may be among those that are only counted."""
    reconciling = made(answering(found(finding("stock"), counts=5000), 1))
    ran(reconciling)
    assert [one.holds for one in reconciling.standings(("stock", "coupon"))] == [False, None]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.stderr.write('No deployment here.'); sys.exit(1)", "No deployment here."),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("print('{}')", "exit code"),
        ("print('x' * 5_000_000)", "longer than"),
        ("import time; time.sleep(60)", "not end within"),
    ],
)
def test_a_run_without_a_report_says_why(made: Made, code: str, why: str) -> None:
    """It told nothing, which is not that all is well; what was known before stays."""
    longest = 1.0 if "sleep" in code else 30.0
    run = ran(reconciling := made(code, longest=longest))
    assert run.report is None
    assert why in run.failure
    assert reconciling.standings(("stock",))[0].holds is None


def test_a_command_that_can_t_be_started(tmp_path: Path) -> None:
    """It is told as well."""
    run = ran(Reconciling([str(tmp_path / "nothing")]))
    assert "could not be started" in run.failure


def test_a_disk_that_is_full_ends_a_run(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, and the next one can begin."""

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    reconciling = made(answering(CLEAN))
    with monkeypatch.context() as patched:
        patched.setattr(console.service.reconciling, "TemporaryFile", full)
        assert "No space left" in ran(reconciling).failure
    assert ran(reconciling).report is not None


def test_one_run_at_a_time(made: Made) -> None:
    """A second one is refused while the first runs; closing ends the first, and no other can begin."""
    reconciling, ended = made("import time; time.sleep(60)"), threading.Event()
    reconciling.start("root", repairs=False, ended=lambda _: ended.set())
    with pytest.raises(RunsAlready):
        reconciling.start("anna", repairs=True, ended=lambda _: None)
    running, _ = reconciling.now()
    assert running is not None
    assert (running.who, running.ended_at) == ("root", None)
    reconciling.close()
    assert ended.is_set()
    with pytest.raises(RunsAlready):
        reconciling.start("root", repairs=False, ended=lambda _: None)


def test_a_repair_is_the_command_with_one_word_more(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none of the console's own settings are the command's."""
    monkeypatch.setenv("ORDERS_PORT", "8008")
    code = (
        f"import json, os, sys; d = json.loads({json.dumps(CLEAN)!r});"
        " d['swept'] = {'argv': sys.argv[1:], 'ours': [n for n in os.environ if n.startswith('ORDERS_')]};"
        " print(json.dumps(d))"
    )
    for repairs, words in ((False, []), (True, ["--repair"])):
        run = ran(made(code), repairs=repairs)
        assert run.report is not None
        assert run.report.told["swept"] == {"argv": words, "ours": []}
        assert run.report.is_clean


def test_the_command_is_that_of_the_command_line(tmp_path: Path) -> None:
    """There is one comparison."""
    assert command_of(tmp_path)[1:] == ["-m", "ops", "reconcile", "--json", "--data-dir", str(tmp_path)]


def test_without_a_data_directory_nothing_is_compared() -> None:
    """It says why."""
    reconciling = Reconciling(None)
    assert not reconciling.is_possible
    with pytest.raises(ConsoleUnavailable, match="data directory"):
        reconciling.start("root", repairs=False, ended=lambda _: None)


def test_a_run_goes_on_being_shown_where_its_end_can_t_be_written_down(made: Made) -> None:
    """The console's database may be away when it ends."""

    def fails(_: Run) -> None:
        raise DatabaseUnavailable

    reconciling = made(answering(CLEAN))
    reconciling.start("root", repairs=False, ended=fails)
    eventually(lambda: reconciling.now()[1], within=30)
    reconciling.close()
